"""One request to GitHub: sent, kept within the rate limits, repeated where that helps, explained.

dlt's `RESTClient` builds, authorises and sends it. Retries are our own, since dlt's sleep each on
its own, know neither the 403 of GitHub's limits nor `Retry-After: 0`, and let truncated JSON pass.
"""

from __future__ import annotations

import json
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

from millstream.errors import SourceAuthError, SourceDataError, SourceError
from millstream.formats import duplicate_keys
from millstream.sources.github.errors import TOKEN_NAMES, block, explain
from millstream.sources.http.clock import Clock
from millstream.sources.http.exchange import ATTEMPTS, Attempt, Exchange, origin
from millstream.sources.http.rate_limits import RateLimits, refusal, served_at

LARGEST_ANSWER = 1 << 28
"""Bytes, unpacked: a page of GitHub's has a few million at most."""

_REDIRECTS = 5


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
        self._exchange = Exchange(
            "GitHub",
            self._limits,
            clock,
            cancelled,
            address_hint="check `base_url`; GitHub Enterprise: https://HOST/api/v3",
        )
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

        def attempt(refused: int) -> Attempt[tuple[requests.Response, Any]]:
            with self._rest.get(
                url,
                params=dict(params or {}),
                headers=dict(headers),
                allow_redirects=False,
                timeout=self._timeout,
                stream=True,
            ) as response:  # one that was not read to its end would keep its connection for ever
                document, problem = _document(response, _read(response))
            status, limited = response.status_code, None
            if block(status, document) is None:  # else no wait would help
                said = _message(document)
                limited = refusal(status, response.headers, said, refused, self._clock)
            return Attempt((response, document), response.headers, limited, problem)

        return self._exchange.send(url, attempt, attempts)

    def _link(self, response: requests.Response, relation: str) -> str | None:
        link = response.links.get(relation, {}).get("url")
        return None if link is None else self._own(response.url, link, "links")

    def _own(self, where: str, link: str, verb: str) -> str:
        """The URL that an answer names, if the token may go there."""
        url = link
        try:
            url = urljoin(where, link)
            there = origin(url)
        except ValueError as error:  # of a link that is not a URL
            raise SourceDataError(
                f"{self._base_url} {verb} to {url[:80]!r}: {error}",
                hint="is `base_url` GitHub's API? GitHub Enterprise: https://HOST/api/v3",
            ) from None
        if there != origin(self._base_url):
            host = "{0.scheme}://{0.netloc}".format(urlsplit(url))
            raise SourceError(
                f"{self._base_url} {verb} to another host, {host}; refused, since the token "
                "would travel with the request",
                hint="if that host is yours, set `base_url` to it",
            )
        return url


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
        if (key := duplicate_keys.lost_key(content, found)) is not None:
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
