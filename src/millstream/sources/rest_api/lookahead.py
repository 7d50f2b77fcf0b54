"""A paginator of dlt's that has the pages to come fetched at once, where it is known which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy, deepcopy
from functools import partial
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

import requests
from dlt.common.jsonpath import compile_path, find_values
from dlt.sources.helpers.rest_client.client import RESTClient
from dlt.sources.helpers.rest_client.paginators import (
    BasePaginator,
    HeaderCursorPaginator,
    HeaderLinkPaginator,
    JSONLinkPaginator,
    JSONResponseCursorPaginator,
    OffsetPaginator,
    PageNumberPaginator,
    RangePaginator,
    SinglePagePaginator,
)

from millstream.common.redact import redact, redact_url
from millstream.errors import SourceDataError
from millstream.sources.rest_api import answers
from millstream.sources.rest_api.answers import KnownList
from millstream.sources.rest_api.session import ApiSession, NextPage, Plan

_ROOT = type(compile_path("$"))
_MOST_DIGITS = 9  # of a page's number
_BY_BODY = (
    JSONLinkPaginator,
    JSONResponseCursorPaginator,
    OffsetPaginator,
    PageNumberPaginator,
    SinglePagePaginator,
)
_TOTALS = ("count", "total", "total_count")
"""Where answers with a link to the next page say how many rows the list has."""


class LookaheadPaginator(BasePaginator):
    """Does what another paginator does; asks the session to read ahead after each page.

    Args:
        inner: None where dlt is to detect it by the first answer.
        detect: what makes it then.
        known: where the list is; shared by all copies of the paginator.
    """

    def __init__(
        self,
        inner: BasePaginator | None,
        session: ApiSession,
        detect: Callable[[requests.Response, Any], BasePaginator],
        known: KnownList | None = None,
    ) -> None:
        super().__init__()
        self._known = known or KnownList()
        self._had_list: bool | None = None
        self._asked: set[int] = set()  # requests and answers of this list, as hashes
        self._contents: set[int] = set()
        self._is_repeated = False
        self._inner = inner
        self._session = session
        self._detect = detect
        self._last: tuple[requests.Response, Any] | None = None
        self._plan: Plan | None = None
        self._is_over = False  # the answer has a link, and it is empty
        self._skipped = 0  # pages to read one by one, after rows have moved

    def __deepcopy__(self, memo: Any) -> LookaheadPaginator:
        # dlt copies it for each list; they share the session
        inner = deepcopy(self._inner, memo)
        return LookaheadPaginator(inner, self._session, self._detect, self._known)

    def reading(self, known: KnownList) -> LookaheadPaginator:
        """The same for the lists of a resource."""
        return LookaheadPaginator(deepcopy(self._inner), self._session, self._detect, known)

    @property
    def has_next_page(self) -> bool:
        return not self._is_over and (self._inner.has_next_page if self._inner else True)

    def init_request(self, request: requests.Request) -> None:
        self._last, self._had_list = None, None
        self._asked.clear()
        self._contents.clear()
        self._is_repeated = False
        if self._inner is not None:
            self._inner.init_request(request)
        self._mark(request)

    def _mark(self, request: requests.Request) -> None:
        """Say which header tells of the next page; of other paginators nobody knows."""
        hooks = [each for each in request.hooks["response"] if not isinstance(each, NextPage)]
        header = _header_of(self._inner)
        if header is not None:
            hooks.append(NextPage(header))
        request.hooks = {**request.hooks, "response": hooks}

    def update_state(self, response: requests.Response, data: list[Any] | None = None) -> None:
        self._check(response, data)
        if self._inner is None:
            self._inner = self._detect(response, data)
        try:
            self._inner.update_state(response, data)
        except ValueError as error:
            # dlt's text goes on with the whole answer
            said = " ".join(str(error).partition("Expected")[0].split())
            raise SourceDataError(
                f"{redact(redact_url(str(response.url)))}: {said.rstrip(' .')}",
                hint="name under `paginator` what the answers have; `total_path: null` where they "
                "have no total",
            ) from None
        if isinstance(self._inner, JSONLinkPaginator):
            links = find_values(self._inner.next_url_path, response.json())
            self._is_over = links[:1] in ([""], [False])
            self._compare(self._inner.next_url_path, response)
        if isinstance(self._inner, JSONResponseCursorPaginator):
            self._compare(self._inner.cursor_path, response)
        self._last = response, data

    def _check(self, response: requests.Response, rows: Any) -> None:
        """
        Raises:
            SourceDataError: the answer is no page of the list.
        """
        known, path = self._known, _path_of(rows, response)
        if known.selector is None and path is not None:
            known.path = path
        else:
            answers.check_page(
                response,
                rows,
                known,
                had_list=self._had_list,
                before=self._last[1] if self._last else (),
                is_empty_page=partial(_tells_next_page, self._inner, response),
            )
        answers.look_beside(response, rows, known)
        answers.warn_of_other_bytes(response, known)
        self._refuse_other_pages(response, rows)
        is_known = known.selector is not None or known.path is not None
        self._had_list = is_known and known.has_list(response.json())
        known.was_found |= self._had_list

    def _compare(self, path: Any, response: requests.Response) -> None:
        if self._last is None:
            answers.warn_of_other_links(path, response)

    def update_request(self, request: requests.Request) -> None:
        assert self._inner is not None
        assert self._last is not None
        self._inner.update_request(request)
        self._mark(request)
        self._note_request(request)
        response, data = self._last
        if self._plan is not None and self._plan.moved:
            self._plan, self._skipped = None, 2 * self._session.parallel
        path = _path_of(data, response)
        if self._skipped or path is None or not self.has_next_page:
            self._skipped = max(self._skipped - 1, 0)
            return
        self._plan = Plan(response, self._following(request), partial(_at, path))
        self._session.plan(request, self._plan)

    def _refuse_other_pages(self, response: requests.Response, rows: Any) -> None:
        """
        Raises:
            SourceDataError: the page was read before: there would be no end, or rows twice.
        """
        content = hash(response.content)
        if rows and self._last is not None and response.content == self._last[0].content:
            raise SourceDataError(
                f"{redact(redact_url(str(response.url)))}: the page is the same as the one before",
                hint="the API may call the parameter of the page otherwise: check what `paginator` "
                "sends, such as `page_param` or `offset_param`; nothing of this read was loaded",
            )
        # one token for all pages is no loop, where each answer is another
        if self._is_repeated and content in self._contents:
            raise SourceDataError(
                f"pagination loop: {redact(redact_url(str(response.url)))} was read before",
                hint="nothing of this read was loaded; check what `paginator` reads of the answers",
            )
        self._contents.add(content)

    def _note_request(self, request: requests.Request) -> None:
        asked = hash(repr((request.url, request.params, request.json)))
        self._is_repeated = asked in self._asked
        self._asked.add(asked)

    def _following(self, request: requests.Request) -> Iterator[requests.Request]:
        """The requests for this page and those behind it, as far as their number is known."""
        assert self._last is not None
        response, data = self._last
        if isinstance(self._inner, RangePaginator) and self._inner.total_path:
            paginator = deepcopy(self._inner)
            while paginator.has_next_page:
                following = _copy(request)
                paginator.update_request(following)
                yield following
                # what it counts on is in each answer: the total
                paginator.update_state(response, data)
            return
        urls: Iterator[str] = iter(())
        if type(self._inner) is HeaderLinkPaginator and "last" in response.links:
            urls = _numbered(str(request.url), response.links["last"]["url"])
        elif type(self._inner) is JSONLinkPaginator:
            urls = _counted(str(response.url), str(request.url), response.json(), len(data))
        for url in urls:
            following = _copy(request)
            following.url = url
            yield following

    def __str__(self) -> str:
        return str(self._inner or "auto")


def _tells_next_page(
    paginator: BasePaginator | None, response: requests.Response, document: Any, has_place: bool
) -> bool:
    """Whether an answer without rows says if another page follows, where the paginator looks."""
    if isinstance(paginator, RangePaginator):
        paths = [paginator.total_path, paginator.has_more_path]
        if not any(paths):  # the end is a page without rows
            return has_place
        values = [value for path in paths if path for value in find_values(path, document)]
        return any(str(value).lower() in ("0", "false") for value in values)
    if isinstance(paginator, JSONLinkPaginator):
        return _is_told(paginator.next_url_path, document)
    if isinstance(paginator, JSONResponseCursorPaginator):
        paths = [paginator.cursor_path, paginator.has_more_path]
        return any(path and _is_told(path, document) for path in paths)
    if isinstance(paginator, (HeaderLinkPaginator, HeaderCursorPaginator)):
        return _header_of(paginator) in response.headers
    return has_place


def _is_told(path: Any, document: Any) -> bool:
    """Whether an answer has what a path leads to, or what it is left out of: `_links: {}`."""
    if find_values(path, document):
        return True
    around = getattr(path, "left", None)
    while around is not None and not isinstance(around, _ROOT):
        if any(isinstance(each, Mapping) for each in find_values(around, document)):
            return True
        around = getattr(around, "left", None)
    return False


def _header_of(paginator: BasePaginator | None) -> str | None:
    """The header in which a paginator finds the next page; empty where it is in the body."""
    if paginator is None:  # detected by the first answer, and there by its links first
        return "Link"
    if type(paginator) is HeaderLinkPaginator:
        return "Link"
    if type(paginator) is HeaderCursorPaginator:
        return str(paginator.cursor_key)
    return "" if type(paginator) in _BY_BODY else None


def detector(base_url: str, session: ApiSession) -> Callable[..., BasePaginator]:
    """What makes a paginator by an answer, as dlt does where none is configured."""
    return RESTClient(base_url, session=session).detect_paginator


def _copy(request: requests.Request) -> requests.Request:
    other = copy(request)
    other.params, other.json = deepcopy(request.params), deepcopy(request.json)
    return other


def _numbered(url: str, last: str, step: int = 1) -> Iterator[str]:
    """The URLs from one page to another, where they differ in one number alone."""
    name = _differing(url, last)
    first, end = (_number(each, name) for each in (url, last))
    if name is not None and first is not None and end is not None:
        for number in range(first, end + 1, step):
            yield _with(url, name, number)


def _counted(url: str, following: str, document: Any, rows: int) -> Iterator[str]:
    """The URLs from a second page on, by the link to it and the number of all rows."""
    name = _differing(url, following)
    total = next((document[each] for each in _TOTALS if each in document), None)
    if name is None or type(total) is not int:
        return iter(())
    if "page" in name.lower():
        # the first page is 0 or 1; where it has no number, it is the one before the second
        second = _number(following, name) or 0
        first = 0 if (_number(url, name) or second - 1) == 0 else 1
        return _numbered(following, _with(following, name, first - 1 - (-total // rows)))
    if _number(following, name) != (_number(url, name) or 0) + rows:
        return iter(())
    last = (total - 1) // rows * rows
    return _numbered(following, _with(following, name, last), rows)


def _differing(url: str, other: str) -> str | None:
    """The one parameter in which two URLs differ; None where they differ otherwise."""
    here, there = urlsplit(url), urlsplit(other)
    if here[:3] != there[:3]:
        return None
    ours, theirs = (parse_qs(each.query, keep_blank_values=True) for each in (here, there))
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return names[0] if len(names) == 1 else None


def _number(url: str, name: str | None) -> int | None:
    value = dict(parse_qsl(urlsplit(url).query)).get(name or "", "")
    is_number = value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
    return int(value) if is_number else None


def _with(url: str, name: str, number: int) -> str:
    split = urlsplit(url)
    pairs = parse_qs(split.query, keep_blank_values=True) | {name: [str(number)]}
    return urlunsplit(split._replace(query=urlencode(pairs, doseq=True)))


def _path_of(rows: Any, response: requests.Response) -> tuple[str, ...] | None:
    """Where in an answer the rows of a page are; None where that can't be told."""
    if not isinstance(rows, list) or not rows:
        return None
    todo: list[tuple[tuple[str, ...], Any]] = [((), response.json())]
    while todo:
        path, found = todo.pop()
        if isinstance(found, list) and found and found[0] is rows[0] and len(found) == len(rows):
            return path
        if isinstance(found, Mapping) and len(path) < 4:
            todo += [((*path, name), value) for name, value in found.items()]
    return None


def _at(path: tuple[str, ...], document: Any) -> Any:
    found = document
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, list) else []
