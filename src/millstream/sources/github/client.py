"""One request to GitHub: sent, kept within the rate limits, repeated where that helps, explained.

dlt's `RESTClient` builds, authorises and sends it. Retries are our own, since dlt's sleep each on
its own, know neither the 403 of GitHub's limits nor `Retry-After: 0`, and let truncated JSON pass.
"""

from __future__ import annotations

import errno
import json
import logging
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from dlt.sources.helpers.requests import Session
from dlt.sources.helpers.rest_client.auth import BearerTokenAuth
from dlt.sources.helpers.rest_client.client import RESTClient
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from millstream.common.retry import Retries
from millstream.errors import SourceAuthError, SourceDataError, SourceError, SourceUnavailableError
from millstream.formats import duplicate_keys
from millstream.sources.http.clock import Clock
from millstream.sources.github.errors import TOKEN_NAMES, block, explain
from millstream.sources.http.rate_limits import (
    Cancelled,
    RateLimits,
    refusal,
    retry_after,
    served_at,
)
from millstream.sources.http.retry_budget import LONGEST, RetryBudget, format_duration

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""How often one request is sent before a failing server or connection fails the run."""

LARGEST_ANSWER = 1 << 28
"""Bytes, unpacked: a page of GitHub's has a few million at most."""

_REFUSALS = 10  # rate limit answers in a row for one request
_REDIRECTS = 5
_RETRIED = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


@dataclass(frozen=True)
class Answer:
    """One answer. `document` is None where the page has not changed (304)."""

    url: str
    status: int
    document: Any
    etag: str | None
    served_at: datetime | None
    next: str | None
    last: str | None
    headers: Mapping[str, str]


class Anonymous(AuthBase):
    """No authentication, not even what `~/.netrc` has for the host."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Session(Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # redirects are `Client`'s; requests would read such an answer whole, however long
        return None


class Client:
    """Sends requests from any thread; all share its rate limits and its connections."""

    def __init__(
        self,
        base_url: str,
        token: str | None,
        *,
        clock: Clock,
        cancelled: threading.Event,
        connections: int,
        attempts: int = ATTEMPTS,
        timeout: tuple[float, float] = (10.0, 60.0),
    ) -> None:
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise SourceAuthError(
                f"the token in {' or '.join(TOKEN_NAMES)} has characters that no token has",
                hint="copy it again, without quotes or line breaks",
            )
        self._base_url = base_url
        self._token = token
        self._clock = clock
        self._cancelled = cancelled
        self._attempts = attempts
        hint = "" if token else f"; with a token in {TOKEN_NAMES[0]} GitHub allows 5,000 an hour"
        self._limits = RateLimits(clock, cancelled, hint=hint)
        self._patience = RetryBudget(clock)
        self._timeout = timeout  # to connect, and between bytes of an answer
        session = _Session(timeout=timeout, raise_for_status=False)
        session.headers["User-Agent"] = "millstream"  # GitHub refuses requests without one
        # without cookies, nothing in a session changes from request to request: threads share it
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=connections, pool_block=True)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        self._session = session
        self._rest = RESTClient(
            base_url,
            headers={"X-GitHub-Api-Version": "2022-11-28"},
            auth=BearerTokenAuth(token=token) if token else Anonymous(),
            session=session,
        )

    def get(
        self,
        url: str,
        params: Mapping[str, Any] | None = None,
        *,
        about: str,
        etag: str | None = None,
        accept: str = "application/vnd.github+json",
        allowed: tuple[int, ...] = (),
        attempts: int | None = None,
    ) -> Answer:
        """The answer to one GET, redirects within the host followed.

        Args:
            url: a path below the base URL, or a whole URL that `GitHub` linked to.
            about: what the request is for, in error messages: `repository octo/hello`.
            etag: of the answer before; then `document` is None if it is still the same.
            allowed: further statuses that are an answer here, and no error.
            attempts: how often the request is sent; the client's own number by default.

        Raises:
            SourceError: GitHub refused, could not be reached, or answered with something else.
            Cancelled: the rows are no longer wanted.
        """
        if url.startswith("/"):
            url = self._base_url + url
        headers = {"Accept": accept}
        if etag:
            headers["If-None-Match"] = etag
        for _ in range(_REDIRECTS):
            response, document = self._send(url, params, headers, attempts or self._attempts)
            where = str(response.url)
            if response.status_code in (301, 302, 307, 308):
                url = self._own(where, response.headers.get("Location", ""), "redirects")
                params = None
                continue
            if response.status_code not in (200, 304, *allowed):
                raise explain(
                    response.status_code,
                    response.headers,
                    document,
                    where,
                    about,
                    token=self._token is not None,
                )
            return Answer(
                where,
                response.status_code,
                None if response.status_code == 304 else document,
                response.headers.get("ETag"),
                served_at(response.headers),
                self._link(response, "next"),
                self._link(response, "last"),
                response.headers,
            )
        raise SourceError(f"GitHub redirects more than {_REDIRECTS} times: {url}")

    def close(self) -> None:
        """Let waiting threads end, and close the connections."""
        self._cancelled.set()
        self._limits.wake()
        self._session.close()

    def _send(
        self, url: str, params: Mapping[str, Any] | None, headers: Mapping[str, str], attempts: int
    ) -> tuple[requests.Response, Any]:
        """One answer with its JSON, after as many attempts and waits as it takes."""
        retries = Retries(attempts, first=1.0, jitter=True, chance=self._clock.chance)
        refused = 0
        asked_for = 0.0  # seconds, by refusals of this one request
        while True:
            self._limits.acquire()
            response: requests.Response | None = None
            document: Any = None
            pause: float | None = None
            why = problem = ""
            failure: requests.RequestException | None = None
            try:
                response = self._rest.get(
                    url,
                    params=dict(params or {}),
                    headers=dict(headers),
                    allow_redirects=False,
                    timeout=self._timeout,
                    stream=True,
                )
                document, problem = _document(response, _read(response))
                status = response.status_code
                if block(status, document) is None:  # else no wait would help
                    limited = refusal(
                        status, response.headers, _message(document), refused, self._clock
                    )
                    pause, why = limited or (None, "")
            except _RETRIED as error:
                failure, problem = error, _reason(error)
            except requests.RequestException as error:
                raise SourceUnavailableError(
                    f"GitHub can't be reached at {url}: {_reason(error)}",
                    hint="check `base_url`; GitHub Enterprise: https://HOST/api/v3",
                ) from error
            finally:
                if response is not None:
                    # one that was not read to its end would keep its connection for ever
                    response.close()
                # before anyone else may send: a pause counts for all
                self._limits.release(None if response is None else response.headers, pause, why)
            if pause is not None:
                refused += 1
                asked_for += pause
                if refused > _REFUSALS or asked_for > LONGEST:
                    raise SourceUnavailableError(
                        f"{why}: refused {refused} times in a row: {url}",
                        hint="another program may be using the same token; wait, and run again",
                    )
                continue
            if response is not None and not problem:
                return response, document
            planned = retries.failed()
            if planned is None:
                raise SourceUnavailableError(
                    f"GitHub failed {retries.failures} times in a row: {problem}: {url}",
                    hint=_hint(failure, url),
                )
            self._back_off(planned, problem, url, response, failure)

    def _back_off(
        self,
        seconds: float,
        problem: str,
        url: str,
        response: requests.Response | None,
        failure: requests.RequestException | None,
    ) -> None:
        if response is not None and (after := response.headers.get("Retry-After")):
            seconds = max(seconds, retry_after(after, response.headers, self._clock))
        if not self._patience.spend(seconds):
            raise SourceUnavailableError(
                f"GitHub keeps failing: {problem}: this run has waited for it for "
                f"{format_duration(self._patience.spent)}, and is asked to wait "
                f"{format_duration(seconds)} more: {url}",
                hint=_hint(failure, url),
            )
        log.info("%s: trying again in %.1f s: %s", problem, seconds, url)
        self._clock.wait(seconds, self._cancelled)
        if self._cancelled.is_set():
            raise Cancelled

    def _link(self, response: requests.Response, relation: str) -> str | None:
        link = response.links.get(relation, {}).get("url")
        return None if link is None else self._own(response.url, link, "links")

    def _own(self, where: str, link: str, verb: str) -> str:
        """The URL that an answer names, if the token may go there."""
        url = link
        try:
            url = urljoin(where, link)
            there = _origin(url)
        except ValueError as error:  # of a link that is not a URL
            raise SourceDataError(
                f"{self._base_url} {verb} to {url[:80]!r}: {error}",
                hint="is `base_url` GitHub's API? GitHub Enterprise: https://HOST/api/v3",
            ) from None
        if there != _origin(self._base_url):
            host = "{0.scheme}://{0.netloc}".format(urlsplit(url))
            raise SourceError(
                f"{self._base_url} {verb} to another host, {host}; refused, since the token "
                "would travel with the request",
                hint="if that host is yours, set `base_url` to it",
            )
        return url


def _origin(url: str) -> tuple[str, str | None, int | None]:
    split = urlsplit(url)
    default = {"http": 80, "https": 443}.get(split.scheme)
    return split.scheme, split.hostname, split.port or default


def _read(response: requests.Response) -> bytes:
    """What an answer holds, unpacked.

    Raises:
        SourceDataError: far more than any answer of GitHub's.
    """
    pieces, size = [], 0
    for piece in response.iter_content(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_ANSWER:
            response.close()
            raise SourceDataError(
                f"an answer of more than {LARGEST_ANSWER >> 20} MB: {response.url}",
                hint="is `base_url` GitHub's API? Fewer rows a page: `per_page`",
            )
    return b"".join(pieces)


def _document(response: requests.Response, content: bytes) -> tuple[Any, str]:
    """The JSON of an answer, and the problem if it is one that another attempt may cure."""
    if response.status_code >= 500:
        return None, f"{response.status_code} {response.reason}"
    if response.status_code in (204, 304) or 300 <= response.status_code < 400:
        return None, ""
    try:
        found = json.loads(content)
        # no parser of GitHub's answers would see both, and which one is true nobody knows
        if (
            duplicate_keys.lost(content, found)
            and (key := duplicate_keys.twice(content)) is not None
        ):
            raise SourceDataError(
                f"an answer in which {duplicate_keys.describe(key)}: {response.url}",
                hint="is `base_url` GitHub's API? GitHub Enterprise: https://HOST/api/v3",
            )
        return found, ""
    except RecursionError:
        raise SourceDataError(
            f"an answer that is nested too deeply: {response.url}",
            hint="is `base_url` GitHub's API? GitHub Enterprise: https://HOST/api/v3",
        ) from None
    except ValueError:
        if response.status_code != 200:
            return None, ""
        return None, "the answer is not whole: its JSON can't be read"


def _message(document: Any) -> str:
    return str(document.get("message", "")) if isinstance(document, dict) else ""


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
    """Where to look, by what failed: the network of this machine, or GitHub's service."""
    later = "a later run goes on where this began"
    host = urlsplit(url).hostname or url
    # answered before GitHub was: by the resolver, by the machine's own network, or by nobody
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


def rows_of(answer: Answer, field: str | None = None) -> list[dict[str, Any]]:
    """The rows of a page; none where it has not changed. GitHub lists null for a row that it can't
    show any more: those are left out.

    Raises:
        SourceDataError: the page is not a list of objects.
    """
    if answer.document is None:
        return []
    rows = answer.document
    if field is not None and isinstance(rows, dict):
        rows = rows.get(field)
    if not isinstance(rows, list):
        raise SourceDataError(f"not a list of rows: {answer.url}")
    rows = [row for row in rows if row is not None]
    if not all(isinstance(row, dict) for row in rows):
        raise SourceDataError(f"not a list of rows: {answer.url}")
    return rows


def nulls_of(answer: Answer, field: str | None = None) -> int:
    """How many rows of a page are null."""
    rows = answer.document
    if field is not None and isinstance(rows, dict):
        rows = rows.get(field)
    return sum(row is None for row in rows) if isinstance(rows, list) else 0
