"""Rate limits: the exact waits, and that the server's count is never exceeded."""

from __future__ import annotations

import logging
from email.utils import formatdate

import pytest

from millstream.errors import SourceUnavailableError
from services.github import Fault, GitHubServer
from sources.github_kit import NOW, FakeClock, causes, issues, rows, source


def test_waits_for_the_reset_when_none_is_left(clock: FakeClock) -> None:
    with GitHubServer(issues(40), rate_limit=2, clock=clock.now) as server:
        server.reset = int(NOW) + 600
        found = rows(source(server, clock=clock, parallel=1))
    assert [row["number"] for row in found] == list(range(1, 41))
    # the repository, four pages, and one behind the last, which is full: two an hour. Waits to the
    # second, and no request that was refused
    assert clock.waits == [600.0, 3600.0]
    assert server.refused == 0
    assert [asked.status for asked in server.asked] == [200] * 6


def test_parallel_requests_never_exceed_the_limit(clock: FakeClock) -> None:
    with GitHubServer(issues(400), rate_limit=7, latency=0.002, clock=clock.now) as server:
        found = rows(source(server, clock=clock, parallel=8))
    assert [row["number"] for row in found] == list(range(1, 401))
    assert server.refused == 0
    assert server.max_concurrency <= 8
    assert len(clock.waits) == 5  # the repository, 40 pages and one behind them, 7 an hour


def test_waits_by_the_servers_clock_when_ours_is_wrong(clock: FakeClock) -> None:
    with GitHubServer(issues(15), rate_limit=1, clock=lambda: clock.now() + 86_400) as server:
        server.reset = int(NOW) + 86_400 + 90
        rows(source(server, clock=clock, parallel=1))
    assert clock.waits == [90.0, 3600.0]


@pytest.mark.parametrize("status", [403, 429])
def test_primary_limit_refused(clock: FakeClock, status: int) -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) + 42)}
    body = '{"message": "API rate limit exceeded for user ID 1."}'
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(Fault(status=status, headers=headers, body=body))
        assert len(rows(source(server, clock=clock))) == 5
    assert clock.waits == [42.0]


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize(
    ("retry_after", "waits"),
    [("7", [7.0]), ("0", []), (formatdate(NOW + 30, usegmt=True), [30.0]), (None, [60.0])],
)
def test_secondary_limit(
    clock: FakeClock, status: int, retry_after: str | None, waits: list[float]
) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(Fault.secondary(retry_after, status))
        assert len(rows(source(server, clock=clock))) == 5
    assert clock.waits == waits
    assert len(server.asked) == 3


def test_secondary_limit_without_a_time_waits_longer_each_time(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(Fault.secondary(times=3))
        assert len(rows(source(server, clock=clock))) == 5
    assert clock.waits == [60.0, 120.0, 240.0]


def test_a_request_that_is_refused_for_hours_is_given_up(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(Fault.secondary(times=None))
        with pytest.raises(Exception, match="refused 8 times in a row"):
            rows(source(server, clock=clock))
    assert sum(clock.waits) < 4 * 3600


def test_all_threads_wait_together(clock: FakeClock) -> None:
    with GitHubServer(issues(200), latency=0.01, clock=clock.now) as server:
        # one of eight pages in flight is refused: nobody sends before the wait is over
        server.faults.add(Fault.secondary("30", match="page=5"))
        found = rows(source(server, clock=clock, parallel=8))
    assert [row["number"] for row in found] == list(range(1, 201))
    assert clock.waits == [30.0]


def test_gives_up_on_a_limit_that_never_ends(clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        server.faults.add(Fault.secondary("1", times=None))
        with pytest.raises(Exception) as caught:
            rows(source(server, clock=clock))
    (error,) = [e for e in causes(caught.value) if isinstance(e, SourceUnavailableError)]
    assert "refused 11 times in a row" in error.message
    assert "/repos/octo/hello" in error.message


def test_says_until_when_it_waits(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    with GitHubServer(issues(5), rate_limit=1, clock=clock.now) as server:
        server.reset = int(NOW) + 600
        with caplog.at_level(logging.INFO, logger="millstream"):
            rows(source(server, clock=clock, parallel=1))
    (line,) = [r.getMessage() for r in caplog.records if "waiting" in r.getMessage()]
    assert line == (
        "GitHub's rate limit of 1 requests is used up: waiting until 2023-11-14 22:23:20 UTC "
        "(600 s); with a token in GITHUB_TOKEN GitHub allows 5,000 an hour"
    )


def test_with_a_token_it_does_not_ask_for_one(
    clock: FakeClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_secret")
    with (
        GitHubServer(issues(20), rate_limit=1, clock=clock.now, token="ghp_secret") as server,
        caplog.at_level(logging.INFO, logger="millstream"),
    ):
        rows(source(server, clock=clock, parallel=1))
    assert any("waiting until" in record.getMessage() for record in caplog.records)
    assert "GITHUB_TOKEN" not in caplog.text
    assert "ghp_secret" not in caplog.text


def test_a_server_without_rate_limits_is_read_in_parallel(clock: FakeClock) -> None:
    with GitHubServer(issues(200), latency=0.02, clock=clock.now) as server:
        server.counts = False
        assert len(rows(source(server, clock=clock, parallel=4))) == 200
    assert 1 < server.max_concurrency <= 4
    assert clock.waits == []
