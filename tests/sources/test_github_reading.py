"""One run: every row once, in order, several pages at a time, and no more than asked for."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import get_args

import pytest

from millstream.config import GitHubConfig, GitHubStream
from millstream.demo.generated import generate
from millstream.demo.github_server import GitHubServer
from millstream.errors import ConfigError
from millstream.sources import create
from sources.github_kit import FakeClock, Warehouse, issues, rows, source


def test_tables_and_what_issues_carry(warehouse: Warehouse, clock: FakeClock) -> None:
    data = generate("octo/hello", issues=30)
    with GitHubServer({"octo/hello": data}, clock=clock.now) as server:
        warehouse.load(source(server, clock=clock))
    assert warehouse.column("number") == list(range(1, 31))
    assert warehouse.column("number", where="is_pull_request") == [5, 10, 15, 20, 25, 30]
    labels = warehouse.query(
        "select i.number, l.name from issues i join issues__labels l "
        "on l._dlt_parent_id = i._dlt_id"
    )
    assert sorted(labels) == sorted(
        (row["number"], label["name"]) for row in data["issues"] for label in row["labels"]
    )


class Gathering(GitHubServer):
    """Answers only once `gathers` requests are there at the same time.

    The repository, and the first and the last page, come alone.
    """

    gathers = 1

    def enter(self) -> None:
        super().enter()
        patience = time.monotonic() + 10
        while (
            len(self.asked) > 2
            and self.max_concurrency < self.gathers
            and time.monotonic() < patience
        ):
            time.sleep(0.005)


@pytest.mark.parametrize("parallel", [1, 2, 8])
def test_pages_in_order_and_never_more_at_once(clock: FakeClock, parallel: int) -> None:
    with Gathering(issues(160), latency=0.02, clock=clock.now) as server:
        server.gathers = parallel
        found = rows(source(server, clock=clock, parallel=parallel))
    assert [row["number"] for row in found] == list(range(1, 161))
    assert server.max_concurrency == parallel
    # each page once; several at a time are checked at the end with two that cost nothing
    checked = 2 if parallel > 1 else 0
    # as is the one behind the last, which is full
    assert [asked.status for asked in server.requests("/issues")].count(200) == 17
    assert [asked.status for asked in server.asked].count(304) == checked


def test_follows_next_where_the_last_page_is_not_named(clock: FakeClock) -> None:
    with GitHubServer(issues(55), clock=clock.now) as server:
        server.names_last = False
        found = rows(source(server, clock=clock))
    assert [row["number"] for row in found] == list(range(1, 56))
    assert server.max_concurrency == 1


def test_etags_are_not_kept_where_pages_have_no_numbers(
    warehouse: Warehouse, clock: FakeClock
) -> None:
    stars = [
        {"starred_at": "2022-01-01T00:00:00Z", "user": {"id": n, "login": "x"}} for n in range(35)
    ]
    with GitHubServer({"octo/hello": {"stargazers": stars}}, clock=clock.now) as server:
        server.names_last = False
        for _ in range(2):
            warehouse.load(source(server, streams=["stargazers"], clock=clock), "stargazers")
        assert [asked.status for asked in server.requests("/stargazers")] == [200] * 8
    assert warehouse.column("user_id", "stargazers") == list(range(35))


def test_reads_ahead_by_a_bounded_number_of_pages(clock: FakeClock) -> None:
    with GitHubServer(issues(1000), clock=clock.now) as server:
        pages = iter(source(server, clock=clock, parallel=2).open("issues"))
        for _ in range(30):  # three of a hundred pages
            next(pages)
        # the repository, those pages, the last one, and the window
        assert len(server.asked) <= 1 + 3 + 1 + 2 * 2


@pytest.mark.parametrize("stream", get_args(GitHubStream))
def test_every_stream_is_complete(clock: FakeClock, stream: str) -> None:
    data = generate("octo/hello", issues=45)
    with GitHubServer({"octo/hello": data}, clock=clock.now) as server:
        found = rows(source(server, streams=[stream], clock=clock), stream)
    assert len(found) == len(data[stream]) > 0
    assert {row["repository"] for row in found} == {"octo/hello"}
    if stream == "stargazers":
        assert all("starred_at" in row and row["user_id"] == row["user"]["id"] for row in found)


def test_an_organisation_is_all_of_its_repositories(clock: FakeClock) -> None:
    data = {f"octo/r{n}": {"issues": issues(2)} for n in range(105)}
    with GitHubServer({**data, "other/x": {"issues": issues(2)}}, clock=clock.now) as server:
        found = rows(source(server, organization="octo", clock=clock, repositories=["other/x"]))
    assert {row["repository"] for row in found} == {*data, "other/x"}
    assert len(found) == 2 * 106


def test_a_stream_that_is_not_configured(clock: FakeClock) -> None:
    with GitHubServer([]) as server, pytest.raises(ConfigError, match="no stream 'labels'"):
        source(server, clock=clock).open("labels")


def test_creating_a_source_imports_neither_dlt_nor_requests() -> None:
    code = """
import sys
from millstream.config import GitHubConfig
from millstream.sources import create
create(GitHubConfig(repositories=("a/b",), streams=("issues", "labels"))).streams()
heavy = {"dlt", "requests", "dagster", "pyarrow", "pandas"} & sys.modules.keys()
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_streams_are_known_without_connecting() -> None:
    streams = create(GitHubConfig(repositories=("a/b",), streams=get_args(GitHubStream))).streams()
    assert [stream.name for stream in streams] == list(get_args(GitHubStream))
    keys = {stream.name: stream.primary_key for stream in streams}
    assert keys["issues"] == ("id",)
    assert keys["commits"] == ("repository", "sha")
    assert keys["stargazers"] == ("repository", "user_id")


def test_check_names_what_is_wrong(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_x")
    with GitHubServer(issues(3), clock=clock.now, token="ghp_x") as server:
        good, bad = source(server, "octo/hello", "octo/helo", clock=clock), None
        api, hello, helo = good.check()
        server.token = "other"
        (bad,) = good.check()
        server.counts, server.token = False, None
        unlimited = good.check()[0]
    assert (api.ok, hello.ok, helo.ok) == (True, True, False)
    assert "token accepted, 5,000 of 5,000 requests left until 23:13 UTC" in api.detail
    assert "octo/helo" in helo.detail
    assert "spelling" in str(helo.hint)
    assert not bad.ok
    assert "refused the token" in bad.detail
    assert unlimited.detail.endswith("without a rate limit")


def test_check_of_an_organisation(clock: FakeClock) -> None:
    with GitHubServer(issues(3), clock=clock.now) as server:
        checks = source(server, organization="octo", clock=clock).check()
    assert [(check.name, check.ok) for check in checks] == [
        ("github", True),
        ("organisation octo", True),
    ]
    assert checks[1].detail == "1 repositories"
    assert not source(server, clock=clock).check()[0].ok  # the server is gone
