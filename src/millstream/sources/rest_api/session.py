"""The session that dlt's REST client sends its requests through.

What a request is and which one comes next stays dlt's business: paginators, incremental loading,
authentication and response actions are its own. The session sees to how requests are sent: within
the API's rate limits, again where that helps, never to another host, and several at once where the
pages to come are known.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

import requests
from dlt.sources.helpers.requests import Session
from requests.adapters import HTTPAdapter
from requests.hooks import default_hooks, dispatch_hook

from millstream.common.redact import redact, redact_url
from millstream.errors import SourceError
from millstream.sources.http.clock import Clock, SystemClock
from millstream.sources.http.exchange import Attempt, Exchange, origin
from millstream.sources.http.rate_limits import RateLimits, refusal
from millstream.sources.http.response_cache import KeptAnswer, ResponseCache
from millstream.sources.rest_api.errors import explain
from millstream.sources.rest_api.json_body import is_json, problem_of

log = logging.getLogger(__name__)

_FIRST_WAIT = 5.0  # seconds, after a 429 that names none
_TIMEOUT = (10.0, 60.0)  # to connect, and between bytes of an answer
_AHEAD_PAGES = 128
_AHEAD_BYTES = 64 << 20
"""How much is read ahead of what is handed on, at most, as long as pages are alike in size."""

Rows = Callable[[Any], Any]
"""The rows of a page, from its JSON."""
_Item = TypeVar("_Item")
_Key = tuple[str, str, tuple[tuple[str, str], ...], Any]


@dataclass
class Plan:
    """Pages that may be read at once, once the first of them is asked for.

    Attributes:
        first: the answer before them, which has been handed on.
        following: the requests after it, in order.
        moved: rows moved while they were read, or a page failed, so that none was kept.
    """

    first: requests.Response
    following: Iterator[requests.Request]
    rows: Rows
    moved: bool = False


@dataclass(frozen=True, slots=True)
class NextPage:
    """Among the hooks of a request for a page: which header tells of the next one.

    Attributes:
        header: empty where it is in the body, which an unchanged answer has unchanged.
    """

    header: str = ""

    def __call__(self, response: requests.Response, **_: Any) -> None:
        """A hook that does nothing."""


class ApiSession(Session):
    """Sends from any thread; all share its rate limits and its connections."""

    def __init__(
        self,
        base_url: str,
        *,
        parallel: int = 8,
        per_second: float | None = None,
        origins: Iterable[str] = (),
        cache: ResponseCache | None = None,
        clock: Clock | None = None,
    ) -> None:
        """
        Args:
            parallel: requests under way at once.
            per_second: requests begun in a second; None for as many as the API allows.
            origins: URLs of further hosts that requests may go to.
            cache: of the answers to requests that say where the next page is, as `NextPage`.
        """
        super().__init__(timeout=_TIMEOUT, raise_for_status=False)
        self.parallel = parallel
        self._cache = cache
        self._lacks: frozenset[str] = frozenset()  # headers that the server's 304 leaves out
        self._service = urlsplit(base_url).hostname or base_url
        self._origins = {origin(base_url), *map(origin, origins)}
        self._clock = clock or SystemClock()
        self._limits = RateLimits(
            self._clock, threading.Event(), service=self._service, per_second=per_second
        )
        self._exchange = Exchange(
            self._service,
            self._limits,
            self._clock,
            threading.Event(),
            address_hint="check `client.base_url`",
        )
        self._ahead: dict[_Key, requests.Response] = {}
        self._plans: dict[_Key, Plan] = {}
        self._here = threading.local()
        self._pool: ThreadPoolExecutor | None = None
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=parallel)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def __deepcopy__(self, memo: Any) -> ApiSession:
        return self  # dlt copies its configuration, to check it

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """
        Raises:
            SourceError: where a token is asked for first, it was refused.
        """
        try:
            return super().prepare_request(request)
        except requests.HTTPError as error:
            if error.response is None:
                raise
            host = urlsplit(str(error.response.url)).hostname
            raise explain(error.response, host or self._service) from None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """An answer, whatever its status; the request's hooks decide what that means.

        Raises:
            SourceError: the API refused, could not be reached, or answered with something else.
        """
        if getattr(self._here, "is_sending", False):  # a redirect
            return self._send_once(request, options)
        hooks, key = request.hooks, _key(request)
        if plan := self._plans.pop(key, None):
            self._read_ahead(plan)
        response = self._ahead.pop(key, None) or self._answer(request, options)
        try:
            found = dispatch_hook("response", hooks, response, **options)  # type: ignore[no-untyped-call]
        except requests.HTTPError as error:
            raise explain(error.response or response, self._service) from None
        return cast("requests.Response", found)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        url = super().get_redirect_target(resp)
        if url is not None and "://" in url:
            self._ensure_own(url, "redirects")
        return url

    def plan(self, request: requests.Request, plan: Plan) -> None:
        """Note which pages may be read at once when this request comes; none are read yet."""
        key = _key(self.prepare_request(request))
        if key not in self._ahead:
            self._plans[key] = plan

    def _read_ahead(self, plan: Plan) -> None:
        """Fetch pages at once, for requests to come, if their list stands still meanwhile.

        A page is a number, not a place: while pages are fetched in any order, a row that enters or
        leaves the list moves others from one page to another, where they may be missed. So the
        last of them is read first, and again at the end, when its first row must be the same; and
        so must all rows of the page that was read before them. Else nothing is kept, and pages
        are read one after the other, as dlt does.
        """
        if self.parallel < 2 or getattr(self._here, "is_worker", False):
            return
        first, rows = plan.first, plan.rows
        size = max(len(first.content), 1)
        count = max(min(_AHEAD_PAGES, _AHEAD_BYTES // size), 2 * self.parallel)
        pages = [self.prepare_request(each) for each in islice(plan.following, count)]
        if len(pages) < 3:  # two more requests would cost more than they save
            return
        *others, last = pages
        answers = [self._answer(last), *self.map(self._answer, others)]
        again = list(self.map(partial(self._answer, is_known=True), [first.request, last]))
        if any(not each.ok for each in (*answers, *again)):
            plan.moved = True  # each fails again where dlt asks for it
            return
        # parsed anew: the rows that were handed on may have been changed since
        stands = rows(requests.Response.json(first)) == rows(again[0].json())
        # a last page without rows, of a total that is wrong, would look the same whatever moved
        end = rows(answers[0].json())[:1]
        if not stands or not end or rows(again[1].json())[:1] != end:
            log.info("rows moved while %s was read: reading page after page", self._service)
            plan.moved = True
            return
        for request, answer in zip([last, *others], answers):
            self._ahead[_key(request)] = answer

    def map(self, function: Callable[[_Item], Any], items: Iterable[_Item]) -> Iterator[Any]:
        """Results in the order of the items, of which so many are worked on at once."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(
                self.parallel, thread_name_prefix="rest_api", initializer=self._begin_worker
            )
        todo = iter(items)
        waiting: list[Future[Any]] = []
        try:
            while True:
                while len(waiting) < 2 * self.parallel:
                    for item in islice(todo, 1):
                        waiting.append(self._pool.submit(function, item))
                        break
                    else:
                        break
                if not waiting:
                    return
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()

    def _begin_worker(self) -> None:
        self._here.is_worker = True

    def _answer(
        self,
        request: requests.PreparedRequest,
        options: dict[str, Any] | None = None,
        *,
        is_known: bool = False,
    ) -> requests.Response:
        """The answer after as many attempts and waits as it takes, its JSON read.

        Args:
            is_known: this run has had it, and asks for its rows alone.
        """
        self._ensure_own(str(request.url), "links")
        cache, page = self._cache, _next_page(request)
        if cache is None or page is None:
            return self._whole_answer(request, options)
        kept = cache.find(request)
        if kept is not None:
            self._lacks |= kept.lacks
        if kept is not None and (is_known or self._tells_next_page(kept, page.header)):
            response = self._whole_answer(request, options, kept.conditions())
            if response.status_code != 304:
                return self._kept(request, response)
            header = "" if is_known else page.header
            if not response.history and (not header or header in response.headers):
                restored = kept.restored(response)
                problem_of(restored, redact(redact_url(str(request.url))))
                return restored
            self._lacks |= {page.header.lower()}
        return self._kept(request, self._whole_answer(request, options))

    def _kept(
        self, request: requests.PreparedRequest, response: requests.Response
    ) -> requests.Response:
        assert self._cache is not None
        if response.ok and is_json(response):
            self._cache.keep(request, response, self._lacks)
        return response

    def _tells_next_page(self, kept: KeptAnswer, header: str) -> bool:
        """Whether 304 can tell what the whole answer would tell of the next page.

        A list may get a page behind its last one, which stays as it is; 304 need not say so.
        """
        name = header.lower()
        return not name or (name in kept.headers and name not in self._lacks)

    def _whole_answer(
        self,
        request: requests.PreparedRequest,
        options: dict[str, Any] | None = None,
        conditions: Mapping[str, str] | None = None,
    ) -> requests.Response:
        url = redact(redact_url(str(request.url)))
        sent = request.copy()
        sent.hooks = default_hooks()
        sent.headers.update(conditions or {})

        def attempt(refused: int) -> Attempt[requests.Response]:
            self._here.is_sending = True
            try:
                response = self._send_once(sent, options or {})
            finally:
                self._here.is_sending = False
            problem = problem_of(response, url)
            limited = refusal(
                response.status_code,
                response.headers,
                response.text[:1000] if response.status_code == 403 else "",
                refused,
                self._clock,
                service=self._service,
                first_wait=_FIRST_WAIT,
            )
            # of a failing server the last answer counts: response actions may allow it
            answer = response if not problem or response.status_code >= 500 else None
            return Attempt(answer, response.headers, limited, problem)

        response = self._exchange.send(url, attempt, keeps_failed=True)
        response.request = request  # to be sent again as it was
        return response

    def _send_once(
        self, request: requests.PreparedRequest, options: dict[str, Any]
    ) -> requests.Response:
        return cast("requests.Response", super().send(request, **options))  # type: ignore[no-untyped-call]

    def _ensure_own(self, url: str, verb: str) -> None:
        """
        Raises:
            SourceError: another host would get the credentials.
        """
        try:
            there = origin(url)
        except ValueError:
            there = ("", None, None)
        if there not in self._origins:
            host = "{0.scheme}://{0.netloc}".format(urlsplit(url))
            raise SourceError(
                f"{self._service} {verb} to another host, {host}; refused, since the credentials "
                "would travel with the request",
                hint="if that host is yours, name it under `hosts`",
            )


def _key(request: requests.PreparedRequest) -> _Key:
    """What makes two requests the same, however their parameters are ordered."""
    split = urlsplit(str(request.url))
    place = f"{split.scheme}://{split.netloc}{split.path}"
    pairs = tuple(sorted(parse_qsl(split.query, keep_blank_values=True)))
    return str(request.method), place, pairs, request.body


def _next_page(request: requests.PreparedRequest) -> NextPage | None:
    """What the paginator says of the request; None where an unchanged answer tells nothing."""
    hooks = request.hooks.get("response", ())
    return next((each for each in hooks if isinstance(each, NextPage)), None)
