"""An API's rate limits, kept by all threads together: those that its answers name, and one's own.

Formats: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api, and the
headers without `X-` of https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers,
whose reset is in seconds from now.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from millstream.sources.http.clock import Clock

log = logging.getLogger(__name__)

SECONDARY_WAIT = 60.0
"""Seconds that GitHub asks for where it names none; doubled with every further refusal."""

_HEADERS = ("X-RateLimit-", "RateLimit-", "X-Rate-Limit-")
_LONGEST_WAIT = 2 * 3600.0  # GitHub's windows last an hour
_OLDEST = 10**8  # a reset below is in seconds from now, not since 1970
_NEWEST = 10**11  # one above is in milliseconds
_SAME_WINDOW = 5  # seconds by which two answers may disagree on when one window ends


class Cancelled(Exception):  # noqa: N818 - not an error: the reader has stopped
    """The rows are no longer wanted; threads that wait or retry end with it."""


class RateLimits:
    """Who may send a request now, so that the server's count never drops below zero.

    Each request is reserved before it is sent: with three requests left and two in flight, one
    more may go. The first request goes alone, since nothing is known before its answer.
    """

    def __init__(
        self,
        clock: Clock,
        cancelled: threading.Event,
        *,
        service: str = "GitHub",
        per_second: float | None = None,
        hint: str = "",
    ) -> None:
        """
        Args:
            service: what the server is called in messages.
            per_second: requests that may be sent in a second; None for as many as it allows.
            hint: what to do about a limit, for people.
        """
        self._clock = clock
        self._cancelled = cancelled
        self._service = service
        self._spacing = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._hint = hint
        self._turn = threading.Condition()
        self._in_flight = 0
        self._limit: int | None = None
        self._remaining: int | None = None
        self._reset_there = 0.0
        self._reset_here = 0.0
        self._uncounted = False
        self._until = 0.0
        self._why = ""
        self._someone_waits = False

    def acquire(self) -> None:
        """Wait until one more request may be sent, and reserve it.

        Raises:
            Cancelled: the rows are no longer wanted.
        """
        with self._turn:
            while True:
                if self._cancelled.is_set():
                    raise Cancelled
                now = self._clock.now()
                if self._remaining is not None and now >= self._reset_here:
                    # a new window; of unknown size, it begins with one request alone
                    self._remaining = self._limit or None
                if self._someone_waits:
                    self._turn.wait()
                elif now < self._until:
                    self._wait(self._until - now)
                elif self._may_send():
                    self._in_flight += 1
                    begin = max(now, self._next)
                    self._next = begin + self._spacing
                    break
                elif self._in_flight:
                    self._turn.wait()
                else:
                    self._until = self._reset_here
                    self._why = _used_up(self._service, self._limit)
        if begin > now:
            self._clock.wait(begin - now, self._cancelled)

    def release(
        self, headers: Mapping[str, str] | None, pause: float | None = None, why: str = ""
    ) -> None:
        """Give a reservation back, with what the answer said of the limits.

        Args:
            headers: the answer's, or None where there was no answer.
            pause: seconds that nobody may send, where the request was refused for its rate.
            why: the refusal, for people.
        """
        with self._turn:
            self._in_flight -= 1
            if headers is not None:
                self._note(headers)
            elif self._remaining is not None:
                self._remaining -= 1  # it may have been counted before the connection broke
            if pause is not None:
                until = self._clock.now() + pause
                if until >= self._until:
                    self._until, self._why = until, why
            self._turn.notify_all()

    def wake(self) -> None:
        """Let threads that wait for their turn see that they are cancelled."""
        with self._turn:
            self._turn.notify_all()

    def _may_send(self) -> bool:
        if self._uncounted:
            return True
        if self._remaining is None:
            return self._in_flight == 0
        return self._remaining - self._in_flight > 0

    def _wait(self, seconds: float) -> None:
        # one thread waits for all: the others would only log the same line again
        self._someone_waits = True
        until = datetime.fromtimestamp(self._until, tz=timezone.utc)
        log.info(
            "%s: waiting until %s UTC (%d s)%s",
            self._why,
            until.strftime("%Y-%m-%d %H:%M:%S"),
            round(seconds),
            self._hint,
        )
        self._turn.release()
        try:
            self._clock.wait(seconds, self._cancelled)
        finally:
            self._turn.acquire()
            self._someone_waits = False
            self._turn.notify_all()

    def _note(self, headers: Mapping[str, str]) -> None:
        remaining = _named(headers, "Remaining")
        reset = _reset(headers, self._clock)
        if remaining is None or reset is None:
            # GitHub Enterprise with its rate limit switched off, or a proxy's own answer
            self._uncounted = self._remaining is None
            return
        self._uncounted = False
        if reset < self._reset_there - _SAME_WINDOW:
            return  # an answer of the window before, overtaken
        fresh = self._remaining is None or reset > self._reset_there + _SAME_WINDOW
        self._remaining = remaining if fresh else min(self._remaining or 0, remaining)
        self._limit = _named(headers, "Limit") or self._limit
        self._reset_there = max(reset, 0.0 if fresh else self._reset_there)
        self._reset_here = self._clock.now() + seconds_until(
            self._reset_there, headers, self._clock
        )


def refusal(
    status: int,
    headers: Mapping[str, str],
    message: str,
    before: int,
    clock: Clock,
    *,
    service: str = "GitHub",
    first_wait: float = SECONDARY_WAIT,
) -> tuple[float, str] | None:
    """For how many seconds to pause, and why, if an answer refuses a request for its rate.

    Args:
        before: how often the same request was refused already.
        first_wait: seconds to pause where the server names none; doubled with each refusal.
    """
    if status not in (403, 429):
        return None
    said = message.lower()
    secondary = f"{service}'s secondary rate limit" if service == "GitHub" else f"{service}: 429"
    if after := headers.get("Retry-After"):
        return retry_after(after, headers, clock), secondary
    if _named(headers, "Remaining") == 0:
        reset = _reset(headers, clock)
        wait = first_wait if reset is None else seconds_until(reset, headers, clock)
        # a reset that has passed, and still refused: not at once again
        return max(wait, 1.0), _used_up(service, _named(headers, "Limit"))
    if status == 429 or "secondary rate limit" in said or "abuse detection" in said:
        return first_wait * 2**before, secondary
    if "rate limit exceeded" in said:
        return first_wait * 2**before, f"{service}'s rate limit"
    return None


def _used_up(service: str, limit: int | None) -> str:
    return f"{service}'s rate limit{f' of {limit} requests' if limit else ''} is used up"


def _named(headers: Mapping[str, str], name: str) -> int | None:
    """The number in a header of limits; None where there is none."""
    found = (_number(headers.get(prefix + name)) for prefix in _HEADERS)
    return next((number for number in found if number is not None), None)


def _reset(headers: Mapping[str, str], clock: Clock) -> float | None:
    """When the server's window ends, in seconds since 1970 by its own clock."""
    reset = _named(headers, "Reset")
    if reset is None or _OLDEST <= reset < _NEWEST:
        return reset
    if reset >= _NEWEST:
        return reset / 1000
    date = served_at(headers)
    return reset + (clock.now() if date is None else date.timestamp())


def seconds_until(reset: float, headers: Mapping[str, str], clock: Clock) -> float:
    """Seconds from now to a time that the server named, by the server's own clock.

    A minute where that is days away: whoever asks for it is no server of GitHub's.
    """
    date = served_at(headers)
    # `Date` drops the fraction of the second, which makes this wait up to a second too long
    wait = reset - (clock.now() if date is None else date.timestamp())
    return max(wait, 0.0) if wait <= _LONGEST_WAIT else SECONDARY_WAIT


def served_at(headers: Mapping[str, str]) -> datetime | None:
    """The server's time at an answer; None where it does not say."""
    try:
        return parsedate_to_datetime(headers["Date"])
    except (KeyError, TypeError, ValueError):
        return None


def retry_after(value: str, headers: Mapping[str, str], clock: Clock) -> float:
    """Seconds that a `Retry-After` asks for: a number, or a date."""
    number = _number(value)
    if number is not None:
        return float(number) if number <= _LONGEST_WAIT else SECONDARY_WAIT
    try:
        return seconds_until(parsedate_to_datetime(value).timestamp(), headers, clock)
    except (TypeError, ValueError):
        return SECONDARY_WAIT


def _number(value: str | None) -> int | None:
    text = (value or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
