"""The fixture server: what it answers must be what GitHub would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from millstream.demo import recordings
from millstream.demo.generated import generate
from services import CACHE, missing
from services.github import Fault, GitHubServer

ISSUES = "/repos/octo/hello/issues"


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    with GitHubServer({"octo/hello": generate("octo/hello", issues=45)}) as server:
        yield server


def get(server: GitHubServer, path: str, **options: object) -> requests.Response:
    return requests.get(server.url + path, timeout=10, **options)  # type: ignore[arg-type]


def test_pages_and_links(server: GitHubServer) -> None:
    url = f"{ISSUES}?state=all&sort=created&direction=asc&per_page=20"
    first = get(server, url)
    assert [row["number"] for row in first.json()] == list(range(1, 21))
    assert first.links["next"]["url"].endswith("&page=2")
    assert first.links["last"]["url"].endswith("&page=3")
    # as on GitHub, links name the repository by its number
    assert f"{server.url}/repositories/" in first.links["next"]["url"]
    last = requests.get(first.links["last"]["url"], timeout=10)
    assert [row["number"] for row in last.json()] == list(range(41, 46))
    assert set(last.links) == {"prev", "first"}
    assert get(server, f"{url}&page=4").json() == []


def test_state_since_and_order(server: GitHubServer) -> None:
    everything = get(server, f"{ISSUES}?state=all&per_page=100").json()
    created = [row["created_at"] for row in everything]
    assert created == sorted(created, reverse=True)
    opened = get(server, f"{ISSUES}?per_page=100").json()
    assert [row["id"] for row in opened] == [r["id"] for r in everything if r["state"] == "open"]
    updated = sorted(row["updated_at"] for row in everything)
    since = updated[30]
    found = get(
        server, f"{ISSUES}?state=all&per_page=100&since={since}&sort=updated&direction=asc"
    ).json()
    assert [row["updated_at"] for row in found] == updated[updated.index(since) :]


def test_an_unchanged_page_costs_nothing(server: GitHubServer) -> None:
    first = get(server, ISSUES)
    assert first.headers["X-RateLimit-Remaining"] == "4999"
    again = get(server, ISSUES, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["X-RateLimit-Remaining"] == "4999"
    changed = {**first.json()[0], "title": "changed"}
    server.hub.put("octo/hello", "issues", changed)
    assert get(server, ISSUES, headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_rate_limit() -> None:
    now = 1000.0
    with GitHubServer([], rate_limit=1, clock=lambda: now) as server:
        assert get(server, ISSUES).headers["X-RateLimit-Reset"] == "4600"
        refused = get(server, ISSUES)
        assert (refused.status_code, refused.headers["X-RateLimit-Remaining"]) == (403, "0")
        assert get(server, "/rate_limit").json()["rate"]["remaining"] == 0
        now = 4600.0
        assert get(server, ISSUES).status_code == 200
    assert server.refused == 1


def test_tokens_and_unknown_places() -> None:
    with GitHubServer([], token="right") as server:
        wrong = get(server, ISSUES, headers={"Authorization": "Bearer wrong"})
        assert (wrong.status_code, wrong.json()["message"]) == (401, "Bad credentials")
        assert get(server, ISSUES, headers={"Authorization": "Bearer right"}).status_code == 200
        assert get(server, "/repos/octo/nothing").status_code == 404
        assert get(server, "/orgs/nobody/repos").status_code == 404
        assert [row["full_name"] for row in get(server, "/orgs/octo/repos").json()] == [
            "octo/hello"
        ]


def test_stars_have_a_time_only_in_their_media_type(server: GitHubServer) -> None:
    path = "/repos/octo/hello/stargazers"
    assert "starred_at" not in get(server, path).json()[0]
    star = get(server, path, headers={"Accept": "application/vnd.github.star+json"})
    assert "starred_at" in star.json()[0]


def test_faults_hit_as_often_as_they_say(server: GitHubServer) -> None:
    server.faults.add(Fault(match="issues", skip=1, times=2, status=502))
    assert [get(server, ISSUES).status_code for _ in range(4)] == [200, 502, 502, 200]
    server.faults.add(Fault(kind="reset"))
    with pytest.raises(requests.ConnectionError):
        get(server, ISSUES)
    server.faults.clear()
    server.faults.add(Fault(kind="truncated"))
    with pytest.raises(ValueError):
        get(server, ISSUES).json()


def test_as_of_shows_rows_and_fields_as_they_were() -> None:
    old = {"id": 1, "title": "old", "updated_at": "2015-01-01T00:00:00Z"}
    new = {"id": 1, "title": "new", "updated_at": "2020-01-01T00:00:00Z", "node_id": "x"}
    other = {"id": 2, "title": "other", "updated_at": "2014-01-01T00:00:00Z", "node_id": "y"}
    rows = [
        {**old, "_recorded_at": "2015-06-01"},
        {**new, "_recorded_at": "2021-01-01"},
        {**other, "_recorded_at": "2021-01-01"},
    ]
    with GitHubServer([{**row, "state": "open"} for row in rows]) as server:
        found = {row["id"]: row for row in get(server, ISSUES).json()}
        assert (found[1]["title"], found[2]["node_id"]) == ("new", "y")
        assert "_recorded_at" not in found[1]
        requests.post(f"{server.url}/_fixture/as-of", json={"as_of": "2016-01-01"}, timeout=10)
        found = {row["id"]: row for row in get(server, ISSUES).json()}
        assert found[1]["title"] == "old"
        assert "node_id" not in found[2]  # nothing recorded by then had it
        requests.post(f"{server.url}/_fixture/as-of", json={"as_of": "2014-06-01"}, timeout=10)
        assert [row["id"] for row in get(server, ISSUES).json()] == [2]


def test_as_a_process() -> None:
    command = [sys.executable, "-m", "millstream.demo.github_server", "--generate", "12"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert process.stdout.readline().startswith("serving 12 generated issues")
        found = requests.get(f"{url}{ISSUES}?state=all&per_page=100", timeout=10).json()
        stats = requests.post(f"{url}/_fixture/stats", timeout=10).json()
        process.terminate()
    assert len(found) == 12
    assert stats == {"requests": 1, "refused": 0, "max_concurrency": 1}


def test_generated_rows_are_the_same_each_time() -> None:
    assert generate("a/b", issues=20) == generate("a/b", issues=20)
    assert generate("a/b", issues=20) != generate("a/b", issues=20, seed=1)


def test_without_the_recordings_it_generates_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    loaded = recordings.load(tmp_path)
    assert "could not be fetched" in loaded.origin
    assert set(loaded.dataset) == set(recordings.REPOSITORIES)
    assert all(loaded.dataset[name]["issues"] for name in loaded.dataset)


@pytest.mark.xdist_group("recordings")
def test_the_recordings() -> None:
    cache = CACHE / "github3.py"
    if not list(cache.glob("github3*.tar.gz")):
        if not os.environ.get("CI"):
            missing("github3.py's source package is not in .cache; `make demo` fetches it")
        recordings.fetch(cache)
    dataset = recordings.load(cache).dataset
    rows = [row for streams in dataset.values() for row in streams.get("issues", [])]
    assert len({row["id"] for row in rows}) == 393
    assert len(rows) == 535
    with GitHubServer(dataset, as_of=recordings.AS_OF) as server:
        path = "/repos/sigmavirus24/github3.py/issues?state=all&per_page=100"
        before = get(server, path).json()
        server.hub.as_of = None
        now = get(server, path).json()
    assert len(before) == 40
    assert len(now) == 89
    assert not any("node_id" in row for row in before)
    assert any("node_id" in row for row in now)
