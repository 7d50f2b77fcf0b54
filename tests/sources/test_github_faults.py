"""Bad answers and bad input: retried where that helps, else one clear error with the fix."""

from __future__ import annotations

import logging
import threading

import pytest

from millstream.errors import (
    SourceAuthError,
    SourceDataError,
    SourceError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from millstream.sources.github.client import Client
from millstream.sources.http.retry_budget import RetryBudget
from services.github import Fault, GitHubServer
from sources.github_kit import FakeClock, causes, issue, issues, rows, source

TOKEN = "ghp_" + "s3cret" * 6


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    return TOKEN


def failure(caught: pytest.ExceptionInfo[BaseException]) -> SourceError:
    """The source's own error; and no error of the chain may show the token."""
    chain = causes(caught.value)
    assert TOKEN not in "".join(repr(error) + str(error) for error in chain)
    return next(error for error in chain if isinstance(error, SourceError))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500, times=2),
        Fault(status=502, times=2, body="<html>Bad gateway</html>"),
        Fault(kind="reset", times=2),
        Fault(kind="truncated", times=2),
    ],
    ids=["500", "502", "reset", "truncated"],
)
def test_passing_faults_are_retried(clock: FakeClock, fault: Fault) -> None:
    with GitHubServer(issues(25), clock=clock.now) as server:
        server.faults.add(fault)
        found = rows(source(server, clock=clock, parallel=2))
    assert [row["number"] for row in found] == list(range(1, 26))
    assert clock.waits == [1.0, 2.0]


def test_a_fault_on_a_later_page_loses_and_doubles_nothing(clock: FakeClock) -> None:
    with GitHubServer(issues(100), clock=clock.now) as server:
        for page in (3, 5, 7):
            server.faults.add(Fault(match=f"page={page}$", kind="truncated"))
        found = rows(source(server, clock=clock))
    assert [row["number"] for row in found] == list(range(1, 101))


def test_slow_answers_time_out_and_are_retried(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(Fault(kind="slow", seconds=1.0))
        client = Client(
            server.url,
            None,
            clock=clock,
            cancelled=threading.Event(),
            connections=1,
            timeout=(1.0, 0.1),
        )
        answer = client.get("/repos/octo/hello/issues", about="it")
        client.close()
    assert len(answer.document) == 3  # the open ones
    assert clock.waits == [1.0]


def test_a_half_read_answer_blocks_no_connection(clock: FakeClock) -> None:
    """Its text is no gzip, and longer than what is read at once."""
    fault = Fault(status=200, headers={"Content-Encoding": "gzip"}, body="x" * 500_000)
    found: list[int] = []

    def read() -> None:
        found.extend(row["number"] for row in rows(source(server, clock=clock, parallel=1)))

    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(fault)
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        thread.join(20)
    assert found == [1, 2, 3, 4, 5]


def test_waits_as_long_as_a_failing_server_asks(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(Fault(status=503, headers={"Retry-After": "20"}))
        rows(source(server, clock=clock))
    assert clock.waits == [20.0]


def test_a_flaky_server_is_given_up_in_the_end(clock: FakeClock, token: str) -> None:
    """Each page comes at its second attempt, an hour later."""
    with GitHubServer(issues(100), clock=clock.now, token=token) as server:
        for page in range(2, 11):
            server.faults.add(
                Fault(match=f"page={page}$", status=503, headers={"Retry-After": "3600"})
            )
        with pytest.raises(Exception) as caught:
            rows(source(server, clock=clock, parallel=1))
    error = failure(caught)
    assert isinstance(error, SourceUnavailableError)
    assert error.message.startswith("GitHub keeps failing: 503 ")
    assert "waited for it for 4.0 h, and is asked to wait 1.0 h more: " in error.message
    assert sum(clock.waits) == 4 * 3600
    assert f": {server.url}/repositories/1000/issues?" in error.message
    assert "a later run goes on" in str(error.hint)


def test_waits_side_by_side_count_once(clock: FakeClock) -> None:
    patience = RetryBudget(clock, 100)
    assert all(patience.spend(60) for _ in range(8))
    clock.wait(50, threading.Event())
    assert patience.spend(40)  # 30 s of it after the others
    assert patience.spent == 90
    assert not patience.spend(60)
    assert patience.spend(50)
    assert patience.spent == 100


def test_a_lasting_fault_names_the_url_and_not_the_token(
    clock: FakeClock, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    with GitHubServer(issues(5), clock=clock.now, token=token) as server:
        server.faults.add(Fault(status=503, times=None))
        with caplog.at_level(logging.DEBUG), pytest.raises(Exception) as caught:
            rows(source(server, clock=clock))
    error = failure(caught)
    assert isinstance(error, SourceUnavailableError)
    assert error.message.startswith("GitHub failed 5 times in a row: 503 ")
    assert f"{server.url}/repos/octo/hello" in error.message
    assert clock.waits == [1.0, 2.0, 4.0, 8.0]
    assert token not in caplog.text


def test_nobody_there(clock: FakeClock) -> None:
    with GitHubServer(issues(1)) as server:
        pass  # gone again; its port is closed
    with pytest.raises(Exception) as caught:
        rows(source(server, clock=clock))
    assert isinstance(failure(caught), SourceUnavailableError)
    assert server.url in failure(caught).message
    assert "nothing listens at 127.0.0.1" in str(failure(caught).hint)


@pytest.mark.parametrize(
    ("base_url", "hint"),
    [
        ("https://api.github.invalid", "network and DNS, and the name api.github.invalid"),
        ("http://127.0.0.1:9", "nothing listens at 127.0.0.1: check `base_url`"),
    ],
)
def test_a_network_that_fails_is_not_githubs_fault(
    clock: FakeClock, base_url: str, hint: str
) -> None:
    client = Client(base_url, None, clock=clock, cancelled=threading.Event(), connections=1)
    try:
        with pytest.raises(SourceUnavailableError) as caught:
            client.get("/rate_limit", about="the token")
    finally:
        client.close()
    assert hint in str(caught.value.hint)
    assert "githubstatus" not in str(caught.value)


@pytest.mark.parametrize("relation", ["next", "last"])
def test_links_to_another_host_are_refused(clock: FakeClock, token: str, relation: str) -> None:
    with (
        GitHubServer(issues(5), clock=clock.now) as evil,
        GitHubServer(issues(5), clock=clock.now, token=token) as server,
    ):
        link = f'<{evil.url}/repos/octo/hello/issues?page=2>; rel="{relation}"'
        server.faults.add(Fault(status=200, headers={"Link": link}, body="[]"))
        with pytest.raises(Exception) as caught:
            rows(source(server, clock=clock))
    error = failure(caught)
    assert f"links to another host, {evil.url}" in error.message
    assert "base_url" in str(error.hint)
    assert evil.asked == []


def test_redirects_to_another_host_are_refused(clock: FakeClock, token: str) -> None:
    with (
        GitHubServer(issues(5), clock=clock.now) as evil,
        GitHubServer(issues(5), clock=clock.now, token=token) as server,
    ):
        headers = {"Location": f"{evil.url}/repos/octo/hello/issues"}
        server.faults.add(Fault(status=302, headers=headers, body=""))
        with pytest.raises(Exception) as caught:
            rows(source(server, clock=clock))
    assert f"redirects to another host, {evil.url}" in failure(caught).message
    assert evil.asked == []


def test_a_redirect_to_what_is_no_address(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(Fault(status=301, headers={"Location": "http://["}, body=""))
        with pytest.raises(Exception) as caught:
            rows(source(server, clock=clock))
    assert "redirects to 'http://['" in failure(caught).message
    assert failure(caught).hint


def test_another_port_or_scheme_is_another_host(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        headers = {"Location": server.url.replace("http:", "https:") + "/x"}
        server.faults.add(Fault(status=302, headers=headers, body=""))
        with pytest.raises(Exception) as caught:
            rows(source(server, clock=clock))
    assert "another host" in failure(caught).message


def test_a_renamed_repository_is_followed(clock: FakeClock, token: str) -> None:
    moved = {"octo/old": "octo/hello"}
    with GitHubServer(issues(35), clock=clock.now, moved=moved, token=token) as server:
        found = rows(source(server, "octo/old", clock=clock))
    assert [row["number"] for row in found] == list(range(1, 36))
    assert {(row["repository"], row["repository_id"]) for row in found} == {("octo/hello", 1000)}


def test_redirects_in_a_circle_end(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        headers = {"Location": "/repos/octo/hello/issues"}
        server.faults.add(Fault(status=301, headers=headers, body="", times=None))
        with pytest.raises(Exception) as caught:
            rows(source(server, clock=clock))
    assert "redirects more than 5 times" in failure(caught).message


def test_unknown_repository(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server, pytest.raises(Exception) as caught:
        rows(source(server, "octo/helo", clock=clock))
    error = failure(caught)
    assert isinstance(error, SourceNotFoundError)
    assert "repository octo/helo" in error.message
    assert "spelling" in str(error.hint)
    assert "private" in str(error.hint)
    assert "GITHUB_TOKEN" in str(error.hint)


def test_one_bad_repository_fails_before_anything_is_extracted(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        bad = ("octo/hello", "octo/helo", "octo/wrold")
        with pytest.raises(Exception) as caught:
            rows(source(server, *bad, clock=clock))
    error = failure(caught)
    assert "octo/helo" in error.message
    assert "octo/wrold" in error.message
    assert server.requests("/issues") == []


def test_bad_token(clock: FakeClock, token: str) -> None:
    with (
        GitHubServer(issues(5), clock=clock.now, token="another") as server,
        pytest.raises(Exception) as caught,
    ):
        rows(source(server, clock=clock))
    error = failure(caught)
    assert isinstance(error, SourceAuthError)
    assert "refused the token (401 Bad credentials)" in error.message
    assert "GITHUB_TOKEN" in str(error.hint)


def test_a_token_that_is_none(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "Bearer s3cret")
    with GitHubServer(issues(5), clock=clock.now) as server, pytest.raises(Exception) as caught:
        rows(source(server, clock=clock))
    assert isinstance(failure(caught), SourceAuthError)
    assert "s3cret" not in str(failure(caught))
    assert server.asked == []


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        (
            {"X-OAuth-Scopes": "gist", "X-Accepted-OAuth-Scopes": "repo"},
            "the token's scopes are gist; it needs one of repo",
        ),
        ({"X-Accepted-GitHub-Permissions": "issues=read"}, "the permission issues: read"),
        ({"X-GitHub-SSO": "required; url=https://github.com/orgs/x/sso?a=s3cret"}, "single sign"),
    ],
)
def test_a_token_without_scope(
    clock: FakeClock, token: str, headers: dict[str, str], hint: str
) -> None:
    body = '{"message": "Resource not accessible by personal access token"}'
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(Fault(status=403, headers=headers, body=body))
        with pytest.raises(Exception) as caught:
            rows(source(server, clock=clock))
    error = failure(caught)
    assert isinstance(error, SourceAuthError)
    assert hint in str(error.hint)
    assert clock.waits == []  # no rate limit


def test_issues_switched_off(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.hub.without_issues.add("octo/hello")
        with pytest.raises(Exception) as caught:
            rows(source(server, clock=clock))
    error = failure(caught)
    assert "switched off (410 Issues has been disabled in this repository.)" in error.message
    assert "`repositories`" in str(error.hint)


def test_of_an_organisation_those_with_issues_off_are_left_out(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = {f"octo/{name}": {"issues": [issue(n)]} for n, name in enumerate("abc", start=1)}
    with GitHubServer(dataset, clock=clock.now) as server:
        server.hub.without_issues.add("octo/b")
        with caplog.at_level(logging.WARNING, logger="millstream"):
            found = rows(source(server, organization="octo", clock=clock))
    assert [row["repository"] for row in found] == ["octo/a", "octo/c"]
    assert "octo/b: skipped" in caplog.text


def test_unknown_organisation(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server, pytest.raises(Exception) as caught:
        rows(source(server, organization="otco", clock=clock))
    assert "organisation otco" in failure(caught).message


@pytest.mark.parametrize("body", ['{"items": []}', "[1, 2]", '"no"'])
def test_something_else_than_rows(clock: FakeClock, body: str) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(Fault("/issues", status=200, body=body))
        with pytest.raises(Exception) as caught:
            rows(source(server, clock=clock))
    assert isinstance(failure(caught), SourceDataError)


def test_a_key_twice(clock: FakeClock) -> None:
    """One more than parsers keep: whatever answers so is not GitHub."""
    with GitHubServer(issues(5), clock=clock.now) as server:
        body = '[{"number": 1, "user": {"id": 1, "id": 2}}]'
        server.faults.add(Fault("/issues", status=200, body=body))
        with pytest.raises(Exception) as caught:
            rows(source(server, clock=clock))
    assert "duplicate key `id`" in failure(caught).message
    assert "base_url" in str(failure(caught).hint)


def test_a_row_without_its_key(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(Fault("/issues", status=200, body='[{"title": "no id"}]'))
        (row,) = rows(source(server, clock=clock))
    assert row["id"] is None  # which puts it into quarantine
