"""GitHub's limits: never more requests than the server allows, and waits as long as it asks."""

from __future__ import annotations

import threading
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.sources.http.rate_limits import (
    SECONDARY_WAIT,
    Cancelled,
    RateLimits,
    refusal,
    retry_after,
    served_at,
)
from sources.github_kit import NOW, FakeClock


class Window:
    """A server that counts requests by the hour, and refuses those beyond its limit."""

    def __init__(self, limit: int, clock: FakeClock) -> None:
        self.limit, self.clock = limit, clock
        self.used: dict[int, int] = {}

    def send(self) -> dict[str, str]:
        hour = int(self.clock.now() // 3600)
        self.used[hour] = self.used.get(hour, 0) + 1
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(self.limit - self.used[hour], 0)),
            "X-RateLimit-Reset": str((hour + 1) * 3600),
            "Date": formatdate(self.clock.now(), usegmt=True),
        }


@given(st.integers(1, 7), st.integers(1, 4), st.integers(0, 30))
def test_no_window_gets_more_requests_than_it_allows(
    limit: int, at_once: int, requests: int
) -> None:
    clock = FakeClock()
    server = Window(limit, clock)
    limits = RateLimits(clock, threading.Event())
    limits.acquire()
    limits.release(server.send())
    sent = 1
    while sent < requests:
        batch = min(at_once, requests - sent, limit - server.used.get(int(clock.now() // 3600), 0))
        batch = max(batch, 1)
        answers = []
        for _ in range(batch):
            limits.acquire()
            answers.append(server.send())
        for answer in reversed(answers):  # overtaken on the way
            limits.release(answer)
        sent += batch
    assert max(server.used.values()) <= limit
    assert clock.now() - NOW <= 3600 * (sent // limit + 1)


def test_an_answer_of_the_window_before_does_not_count() -> None:
    clock = FakeClock()
    server = Window(3, clock)
    limits = RateLimits(clock, threading.Event())
    limits.acquire()
    old = server.send()
    limits.release(old)
    clock.time += 3600
    limits.acquire()
    limits.release(server.send())
    limits.acquire()
    limits.release(old)
    waits = len(clock.waits)
    limits.acquire()
    assert len(clock.waits) == waits


def test_a_pause_holds_everybody() -> None:
    clock = FakeClock()
    limits = RateLimits(clock, threading.Event())
    limits.acquire()
    limits.release(None, 30.0, "GitHub's secondary rate limit")
    limits.acquire()
    assert clock.waits == [30.0]


def test_whoever_waits_in_vain_is_told() -> None:
    cancelled = threading.Event()
    limits = RateLimits(FakeClock(), cancelled)
    cancelled.set()
    with pytest.raises(Cancelled):
        limits.acquire()


DATE = {"Date": formatdate(NOW - 100, usegmt=True)}  # the server's clock is behind


@pytest.mark.parametrize(
    ("status", "headers", "message", "before", "expected"),
    [
        (200, {"Retry-After": "5"}, "", 0, None),
        (403, {}, "Resource not accessible", 0, None),
        (403, {"Retry-After": "5"}, "", 3, 5.0),
        (429, {}, "", 2, SECONDARY_WAIT * 4),
        (403, {}, "You have exceeded a secondary rate limit", 1, SECONDARY_WAIT * 2),
        (403, {}, "You have triggered an abuse detection mechanism", 0, SECONDARY_WAIT),
        (403, {"X-RateLimit-Remaining": "1"}, "nothing of the kind", 0, None),
        (
            403,
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) + 50)},
            "",
            0,
            150.0,
        ),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) - 500)}, "", 0, 1.0),
        # other services count from now, or in milliseconds
        (429, {"RateLimit-Remaining": "0", "RateLimit-Reset": "5"}, "", 0, 5.0),
        (429, {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "5"}, "", 0, 5.0),
        (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": f"{int(NOW)}000"}, "", 0, 100.0),
        (403, {"X-RateLimit-Remaining": "0"}, "", 0, SECONDARY_WAIT),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 15}, "", 0, SECONDARY_WAIT),
    ],
)
def test_refusals_and_for_how_long(
    status: int, headers: Any, message: str, before: int, expected: float | None
) -> None:
    found = refusal(status, {**DATE, **headers}, message, before, FakeClock())
    assert (found and found[0]) == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("7200", 7200.0),
        ("7201", SECONDARY_WAIT),
        ("9" * 30, SECONDARY_WAIT),
        ("-1", SECONDARY_WAIT),
        ("soon", SECONDARY_WAIT),
        (formatdate(NOW - 90, usegmt=True), 10.0),
        (formatdate(NOW - 200, usegmt=True), 0.0),
    ],
)
def test_what_retry_after_asks_for(value: str, seconds: float) -> None:
    assert retry_after(value, DATE, FakeClock()) == seconds


def test_the_servers_time() -> None:
    moment = served_at(DATE)
    assert moment is not None
    assert moment.timestamp() == NOW - 100
    assert served_at({}) is None
    assert served_at({"Date": "yesterday"}) is None
