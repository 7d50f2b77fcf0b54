"""One request: sent when the rate limits allow it, and again where that helps."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import requests

from millstream.common.retry import Retries
from millstream.errors import SourceUnavailableError
from millstream.sources.http.clock import Clock
from millstream.sources.http.rate_limits import Cancelled, RateLimits, retry_after
from millstream.sources.http.retry_budget import LONGEST, RetryBudget, format_duration

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often one request is sent before a failing server or connection fails the run."""

LATER = "a later run goes on where this began"
"""What becomes of the run, in hints."""

_REFUSALS = 10  # rate limit answers in a row for one request
_RETRIED = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Attempt(Generic[_Answer]):
    """What came of sending a request once.

    Attributes:
        headers: the answer's; None where there was none.
        refusal: seconds that nobody may send, and why, where the server refused it for its rate.
        problem: what another attempt may cure; empty where the answer counts.
        failure: what was raised instead of an answer.
    """

    answer: _Answer | None = None
    headers: Mapping[str, str] | None = None
    refusal: tuple[float, str] | None = None
    problem: str = ""
    failure: requests.RequestException | None = None


class Exchange:
    """Sends requests from any thread; all share the rate limits and the time for retries.

    Args:
        service: what the server is called in messages.
        address_hint: how to mend an address that is none.
    """

    def __init__(
        self,
        service: str,
        limits: RateLimits,
        clock: Clock,
        cancelled: threading.Event,
        *,
        address_hint: str,
    ) -> None:
        self._service = service
        self._limits = limits
        self._clock = clock
        self._cancelled = cancelled
        self._address_hint = address_hint
        self._budget = RetryBudget(clock)

    def send(
        self,
        url: str,
        attempt: Callable[[int], Attempt[_Answer]],
        attempts: int = ATTEMPTS,
        *,
        keeps_failed: bool = False,
    ) -> _Answer:
        """The answer to a request, after as many attempts and waits as it takes.

        Args:
            url: for messages.
            attempt: sends it; from how often it was refused for its rate.
            keeps_failed: return the last answer where each attempt had one that does not count.

        Raises:
            SourceUnavailableError: the server failed, refused or was not there each time.
            Cancelled: the rows are no longer wanted.
        """
        retries = Retries(attempts, first=1.0, jitter=True, chance=self._clock.chance)
        refused = 0
        asked_for = 0.0  # seconds, by refusals of this one request
        while True:
            outcome = self._once(url, attempt, refused)
            if outcome.refusal is not None:
                pause, why = outcome.refusal
                refused += 1
                asked_for += pause
                if refused > _REFUSALS or asked_for > LONGEST:
                    raise SourceUnavailableError(
                        f"{why}: refused {refused} times in a row: {url}",
                        hint="another program may be using the same token; wait, and run again",
                    )
                continue
            if outcome.answer is not None and not outcome.problem:
                return outcome.answer
            planned = retries.failed()
            if planned is None and keeps_failed and outcome.answer is not None:
                return outcome.answer
            if planned is None:
                raise SourceUnavailableError(
                    f"{self._service} failed {retries.failures} times in a row: "
                    f"{outcome.problem}: {url}",
                    hint=_hint(outcome.failure, url),
                )
            self._back_off(planned, outcome, url)

    def _once(
        self, url: str, attempt: Callable[[int], Attempt[_Answer]], refused: int
    ) -> Attempt[_Answer]:
        self._limits.acquire()
        outcome: Attempt[_Answer] = Attempt()
        try:
            outcome = attempt(refused)
        except _RETRIED as error:
            outcome = Attempt(problem=_reason(error), failure=error)
        except requests.RequestException as error:
            raise SourceUnavailableError(
                f"{self._service} can't be reached at {url}: {_reason(error)}",
                hint=self._address_hint,
            ) from error
        finally:
            # before anyone else may send: a pause counts for all
            self._limits.release(outcome.headers, *(outcome.refusal or ()))
        return outcome

    def _back_off(self, seconds: float, outcome: Attempt[_Answer], url: str) -> None:
        headers = outcome.headers or {}
        if after := headers.get("Retry-After"):
            seconds = max(seconds, retry_after(after, headers, self._clock))
        if not self._budget.spend(seconds):
            raise SourceUnavailableError(
                f"{self._service} keeps failing: {outcome.problem}: this run has waited for it for "
                f"{format_duration(self._budget.spent)}, and is asked to wait "
                f"{format_duration(seconds)} more: {url}",
                hint=_hint(outcome.failure, url),
            )
        log.info("%s: trying again in %.1f s: %s", outcome.problem, seconds, url)
        self._clock.wait(seconds, self._cancelled)
        if self._cancelled.is_set():
            raise Cancelled


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port.

    Raises:
        ValueError: not a URL.
    """
    split = urlsplit(url)
    default = {"http": 80, "https": 443}.get(split.scheme)
    return split.scheme, split.hostname, split.port or default


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    inner = _innermost(error)
    return str(inner) or type(inner).__name__


def _innermost(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _hint(failure: requests.RequestException | None, url: str) -> str:
    """Where to look, by what failed: the network of this machine, or the service."""
    later = LATER
    host = urlsplit(url).hostname or url
    # answered before the service was: by the resolver, by the machine's own network, or by nobody
    inner = _innermost(failure) if failure else None
    if isinstance(failure, requests.exceptions.ProxyError):
        return f"check the proxy in HTTPS_PROXY, or name {host} in NO_PROXY; {later}"
    if isinstance(inner, socket.gaierror):
        return f"check this machine's network and DNS, and the name {host} in `base_url`; {later}"
    if isinstance(inner, ConnectionRefusedError):
        return f"nothing listens at {host}: check `base_url`, a firewall or proxy; {later}"
    if isinstance(failure, requests.ConnectTimeout) or (
        isinstance(inner, OSError) and inner.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH)
    ):
        return f"check this machine's network, and a firewall or proxy before {host}; {later}"
    if host != "api.github.com":
        return f"ask whoever runs {host} whether it is up; {later}"
    return f"see https://www.githubstatus.com; {later}"
