"""All pages of one list: in order, several at a time, and none of its rows lost on the way.

A page is a number, not a place: when a row enters or leaves a list while it is read, all rows after
it move, and one that moves from a page not yet read to one already read would be missed.

- Page after page, rows that *enter* can only push others to pages still to come: at worst a row is
  read twice. Rows that *leave* pull others forward.
- Several pages at a time, both may hide a row. So a parallel read is checked: the last page is read
  first, and again at the end. If its first row is still the same, as many rows stand before it as
  before, and nothing moved. Otherwise the list is read again, page after page.

GitHub shows a limited number of pages of some lists: the last looks like that of a shorter list,
and a further one answers 422. Behind a full last page, one more is therefore requested. Where it is
refused, the pages end with one that has no rows, and whose `limit` says why.

dlt's paginators follow `next` one by one and can neither check nor skip unchanged pages.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from millstream.errors import SourceDataError
from millstream.sources import findings
from millstream.sources.github.client import Answer, Client, nulls_of, rows_of
from millstream.sources.github.errors import PageLimitError
from millstream.sources.github.state import PageTags
from millstream.sources.github.streams import Row

log = logging.getLogger(__name__)

_MOST_PAGES = 400
_MOST_ROWS = (10_000, 40_000)
"""Where GitHub cuts lists, without a word in some of its answers."""

_MOST_DIGITS = 6  # of a page's number; the largest lists have some ten thousand pages


@dataclass(frozen=True)
class Listing:
    """One list, and how it may be read.

    Attributes:
        about: what it is of, for messages: `repository octo/hello`.
        key: what makes a row the same row on another page.
        together: several pages at a time, where GitHub names the last.
        checked: see the top of the file; for lists that a later run does not read whole again.
        field: where the rows are, if the page is an object.
        attempts: how often a request is sent; None for the client's own number.
    """

    path: str
    params: Mapping[str, Any]
    about: str
    key: Callable[[Row], object]
    accept: str = "application/vnd.github+json"
    together: bool = True
    checked: bool = False
    field: str | None = None
    allowed: tuple[int, ...] = ()
    attempts: int | None = None

    @property
    def per_page(self) -> int:
        return int(self.params["per_page"])


@dataclass(frozen=True)
class Page:
    """One page. `rows` is empty, and `changed` false, where its ETag still holds.

    Attributes:
        limit: of a page behind the last that GitHub shows: why there are no rows; else empty.
    """

    number: int
    rows: list[Row]
    changed: bool
    count: int
    url: str
    etag: str | None
    next: str | None
    last: str | None
    served_at: datetime | None
    keys: list[object] = field(default_factory=list)
    limit: str = ""


class Pager:
    """Reads lists through one client, at most `parallel` pages at a time."""

    def __init__(self, client: Client, parallel: int) -> None:
        self._client = client
        self._parallel = parallel
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="github")

    def close(self) -> None:
        """Forget what is still under way."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def each(self, tasks: Iterable[Callable[[], Any]]) -> Iterator[Any]:
        """The results of tasks in their order, while at most `2 * parallel` are kept."""
        waiting: deque[Future[Any]] = deque()
        todo = iter(tasks)
        try:
            while True:
                while len(waiting) < 2 * self._parallel and (task := next(todo, None)):
                    waiting.append(self._pool.submit(task))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def read(
        self, listing: Listing, before: PageTags | None = None, tags: PageTags | None = None
    ) -> Iterator[Page]:
        """Every page, in order; some again where rows moved meanwhile.

        Args:
            before: the ETags of the last run, which are used if they are of the same list.
            tags: where this run's are noted.
        """
        first = self._first(listing, before)
        if before is not None and before.url != first.url:
            before = None
        if tags is not None:
            tags.url, tags.link = first.url, first.last
        yield _noted(first, tags)
        count = _number(first.last) if listing.together and self._parallel > 1 else None
        if count is None or count < 2:
            yield from self._follow(listing, first, before, tags)
        elif listing.checked:
            yield from self._together_checked(listing, first, count, before, tags)
        else:
            yield from self._together(listing, first, range(2, count + 1), before, tags)

    def _together(
        self,
        listing: Listing,
        first: Page,
        numbers: range,
        before: PageTags | None,
        tags: PageTags | None,
    ) -> Iterator[Page]:
        page = first
        for each in self.each(self._task(listing, first, n, before) for n in numbers):
            if each.limit:
                break  # GitHub names a last page that it does not show; `next` may be a cursor
            page = each
            yield _noted(page, tags)
        # rows were added behind what was the last page when the first one was read
        yield from self._follow(listing, page, before, tags)

    def _together_checked(
        self,
        listing: Listing,
        first: Page,
        count: int,
        before: PageTags | None,
        tags: PageTags | None,
    ) -> Iterator[Page]:
        last: Page = self._task(listing, first, count, before)()
        if last.limit:
            yield from self._together(listing, first, range(2, count), before, tags)
            return
        page = first
        for each in self.each(self._task(listing, first, n, before) for n in range(2, count)):
            if each.limit:
                yield from self._follow(listing, page, before, tags)
                return
            page = each
            yield _noted(page, tags)
        yield _noted(last, tags)
        again = list(self.each([self._again(listing, first), self._again(listing, last)]))
        if _same(again[0], first, whole=True) and _same(again[1], last, whole=False):
            yield from self._follow(listing, last, before, tags)
            return
        log.info("rows moved while %s was read: reading again, page after page", listing.about)
        if tags is not None:
            tags.pages.clear()
        first = self._first(listing, None)
        yield first
        yield from self._follow(listing, first, None, None)

    def _follow(
        self, listing: Listing, page: Page, before: PageTags | None, tags: PageTags | None
    ) -> Iterator[Page]:
        """The pages behind one, by the `next` links."""
        seen: set[str] = {page.url}
        while True:
            if page.next is None:
                if not _may_be_cut(page, listing):
                    return
                # a list of just so many rows, or one of which GitHub shows no more
                behind = _with_page(page.url, page.number + 1)
                limit = _known_limit(page, listing)
                page = self._get(listing, page.number + 1, behind, None)
                if not page.count and limit:
                    page = replace(page, limit=page.limit or limit)
                if page.limit or page.count:
                    yield page
                if page.limit or page.next is None:
                    return
            if page.next in seen:
                raise SourceDataError(
                    f"{listing.about}: pagination loop: {page.next} was returned twice",
                    hint="nothing of this run was loaded; run again, or set `parallel: 1`",
                )
            seen.add(page.next)
            if tags is not None and tags.link is None and _number(page.next) is None:
                tags.pages.clear()  # pages by cursor: there is no telling which is which later
                tags = None
            page = self._get(listing, page.number + 1, page.next, before)
            yield page if page.limit else _noted(page, tags)
            if page.limit:
                return

    def _first(self, listing: Listing, before: PageTags | None) -> Page:
        # the list's URL decides whether the ETags are its own, so it is spelled out beforehand
        url = f"{listing.path}?{urlencode(listing.params)}"
        usable = before if before is not None and before.url.endswith(url) else None
        return self._get(listing, 1, url, usable)

    def _task(
        self, listing: Listing, first: Page, number: int, before: PageTags | None
    ) -> Callable[[], Page]:
        assert first.last is not None
        url = _with_page(first.last, number)
        return lambda: self._get(listing, number, url, before)

    def _again(self, listing: Listing, page: Page) -> Callable[[], Page]:
        tags = PageTags(page.url, None, {page.number: (page.etag, page.count)} if page.etag else {})
        return lambda: self._get(listing, page.number, page.url, tags)

    def _get(self, listing: Listing, number: int, url: str, before: PageTags | None) -> Page:
        etag, count = (before.pages.get(number) if before else None) or (None, 0)
        try:
            answer = self._client.get(
                url,
                about=listing.about,
                etag=etag,
                accept=listing.accept,
                allowed=listing.allowed,
                attempts=listing.attempts,
            )
        except PageLimitError as error:
            if number == 1:
                raise
            return Page(number, [], True, 0, url, None, None, None, None, limit=error.message)
        if answer.document is not None:
            rows = [] if answer.status in listing.allowed else rows_of(answer, listing.field)
            if nulls := nulls_of(answer, listing.field):
                findings.warn(f"{listing.about}: GitHub lists {nulls} row(s) as null: {answer.url}")
            return _page(number, answer, rows, nulls, listing)
        last = answer.last or (before.link if before and number == 1 else None)
        following = answer.next
        if following is None and (
            number < (_number(before.link if before else None) or 0) or count >= listing.per_page
        ):
            # an unchanged page may come without links; a full one may have got a page behind it
            following = _with_page(
                before.link if before and before.link else answer.url, number + 1
            )
        return Page(
            number, [], False, count, answer.url, answer.etag or etag, following, last,
            answer.served_at,
        )  # fmt: skip


def _may_be_cut(page: Page, listing: Listing) -> bool:
    """Whether a page that GitHub calls the last may have others behind it."""
    return (
        page.number > 1
        and page.count >= listing.per_page
        and listing.field is None
        and _number(page.url) == page.number
    )


def _known_limit(page: Page, listing: Listing) -> str:
    """Why a list that ends with this page has, as good as certainly, more rows than that."""
    if page.number == _MOST_PAGES or page.number * listing.per_page in _MOST_ROWS:
        return f"GitHub shows no further pages of {listing.about} than {page.number}: {page.url}"
    return ""


def _page(number: int, answer: Answer, rows: list[Row], nulls: int, listing: Listing) -> Page:
    return Page(
        number, rows, True, len(rows) + nulls, answer.url, answer.etag, answer.next, answer.last,
        answer.served_at, [listing.key(row) for row in rows],
    )  # fmt: skip


def _noted(page: Page, tags: PageTags | None) -> Page:
    if tags is not None:
        tags.note(page.number, page.etag, page.count)
    return page


def _same(again: Page, page: Page, *, whole: bool) -> bool:
    """Whether a page shows the same rows as before; or, not `whole`, begins with the same."""
    if not again.changed:
        return True
    if not page.changed:
        return False
    return again.keys == page.keys if whole else again.keys[:1] == page.keys[:1]


def _number(link: str | None) -> int | None:
    """The page number in a link; None where pages have a cursor and no number."""
    if link is None:
        return None
    query = dict(parse_qsl(urlsplit(link).query))
    if query.keys() & {"after", "before", "cursor"}:
        return None
    number = query.get("page", "")
    if not (number.isascii() and number.isdigit()):
        return None
    if len(number) > _MOST_DIGITS:
        raise SourceDataError(
            f"a link to page {number[:20]}: {link[:80]}",
            hint="is `base_url` GitHub's API? GitHub Enterprise: https://HOST/api/v3",
        )
    return int(number)


def _with_page(link: str, number: int) -> str:
    split = urlsplit(link)
    query = {**dict(parse_qsl(split.query)), "page": str(number)}
    return urlunsplit(split._replace(query=urlencode(query)))
