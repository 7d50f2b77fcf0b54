"""One stream of one repository: what changed since the last run, and the state for the next.

How a run finds what is new:

since         `?since=` with the time of the last change seen, less a lag. Sorted by creation: a row
              that is updated in the meantime keeps its place, where by update it would jump to the
              end and pull all others forward, one of them past a page that was read already.
newest_first  The API has no `since`. A first run reads all; a later one begins with what changed
              last, and stops at a page on which all is older than the last run's cursor, less the
              lag. Rows that change meanwhile come to the front and push others to later pages, so
              none is missed as long as pages are read one after the other.
commits       What is reachable from the head and was not from the last head (the compare API).
              `since` would miss a branch merged today whose commits are a week old.
whole         Everything, each run; unchanged pages by their ETags at no cost.

The cursor is the latest change among the rows, but never later than the server's clock at the first
answer: what changed after it may have been missed, and is read next time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import datetime
from typing import Any

from millstream.config import GitHubConfig
from millstream.errors import SourceDataError, SourceNotFoundError, SourceUnavailableError
from millstream.sources import findings
from millstream.sources.github import page_limit
from millstream.sources.github.client import Client
from millstream.sources.github.pagination import Listing, Page, Pager
from millstream.sources.github.state import PageTags, RepositoryState
from millstream.sources.github.streams import Row, Spec, complete_rows, key, moment, parents

_BEGINNING = "2008-01-01T00:00:00Z"
"""GitHub is not older. It does not take every earlier time, such as 1970, for `since`; rows older
than the configured `since` are left out by `finish` anyway."""

_COMPARE_ATTEMPTS = 2  # GitHub fails on ranges that are too large for it, however often one asks


class Reading:
    """Reads one stream, repository by repository."""

    def __init__(
        self, client: Client, pager: Pager, config: GitHubConfig, stream: str, spec: Spec
    ) -> None:
        self._client = client
        self.pager = pager
        self._config = config
        self._stream = stream
        self.spec = spec

    def read(self, state: RepositoryState) -> Iterator[list[Row]]:
        """The pages of rows that are new or changed; then the state is ready for the next run."""
        if self.spec.reading == "commits":
            yield from self._commits(state)
        elif self.spec.reading == "newest_first" and state.start and since(state.start):
            yield from self._newest_first(state, state.start)
        else:
            yield from self._list(state)

    def _list(self, state: RepositoryState) -> Iterator[list[Row]]:
        params: dict[str, Any] = {**self.spec.params}
        whole = self.spec.reading == "whole"
        if self.spec.reading == "since":
            params |= since(state.start)
        listing = self.listing(state, params, checked=not whole)
        # a list that is never asked for again under the same URL needs no ETags
        tags = PageTags() if whole or "since" in params else None
        tracker = Tracker(self.spec)
        for page in self.pager.read(listing, state.tags if tags else None, tags):
            tracker.note(page)
            if rows := self.complete_rows(page.rows, state):
                yield rows
            if page.limit:
                for more in page_limit.read(self, state, tracker, page.limit):
                    if rows := self.complete_rows(more, state):
                        yield rows
        state.commit(
            newest=tracker.newest,
            served_at=tracker.served_at,
            tags=tags,
            rows=self._has_rows(state, tracker, whole="since" not in params),
        )

    def _newest_first(self, state: RepositoryState, start: str) -> Iterator[list[Row]]:
        params = self.spec.newest_first or self.spec.params
        listing = self.listing(state, params, together=False)
        tags = PageTags()
        tracker = Tracker(self.spec)
        for page in self.pager.read(listing, state.tags, tags):
            tracker.note(page)
            if page.limit:
                for more in page_limit.read(self, state, tracker, page.limit, start=start):
                    if rows := self.complete_rows(more, state):
                        yield rows
                break
            recent = [row for row in page.rows if (moment(self.spec, row) or start) >= start]
            if recent:
                yield self.complete_rows(recent, state)
            if not recent:
                # all older; or unchanged since the last run, and so is everything behind it
                break
        tags.pages = {n: tag for n, tag in tags.pages.items() if n == 1}
        tags.link = None
        state.commit(
            newest=tracker.newest,
            served_at=tracker.served_at,
            tags=tags,
            rows=self._has_rows(state, tracker, whole=True),
        )

    def _commits(self, state: RepositoryState) -> Iterator[list[Row]]:
        path = f"/repos/{state.name}/commits"
        about = f"repository {state.name}"
        answer = self._client.get(path, {"per_page": 1}, about=about, allowed=(409,))
        if answer.status == 409 or not answer.document:  # a repository without commits
            if state.had_rows:
                self._report_empty(state)
            state.commit(rows=False)
            return
        # all pages are of this commit, so that nothing moves when others push
        head = str(answer.document[0]["sha"])
        if head != state.head:
            compared: set[object] = set()
            found = state.head is not None and (yield from self._compared(state, head, compared))
            if not found:
                listing = self.listing(state, {"sha": head, **since(self._config.since)})
                tracker = Tracker(self.spec)
                for page in self.pager.read(listing):
                    tracker.note(page)
                    new = [row for row in page.rows if row.get("sha") not in compared]
                    if rows := self.complete_rows(new, state):
                        yield rows
                    if page.limit:
                        for more in page_limit.read(self, state, tracker, page.limit, head=head):
                            if rows := self.complete_rows(more, state):
                                yield rows
        state.commit(head=head, rows=True)

    def _compared(
        self, state: RepositoryState, head: str, seen: set[object]
    ) -> Generator[list[Row], None, bool]:
        """Yields what is reachable from the new head alone; returns whether that is all of it.

        It is not where history was rewritten and the old head is gone (404), and where GitHub can't
        compare so many commits (422, or 500 and more).
        """
        path = f"/repos/{state.name}/compare/{state.head}...{head}"
        about = f"repository {state.name}"
        try:
            found = self._client.get(
                path, {"per_page": 1}, about=about, allowed=(404, 422), attempts=_COMPARE_ATTEMPTS
            )
            if found.status != 200:
                return False
            listing = self.listing(
                state, {}, path=path, field="commits", attempts=_COMPARE_ATTEMPTS
            )
            for page in self.pager.read(listing):
                seen.update(page.keys)
                if rows := self.complete_rows(page.rows, state):
                    yield rows
                if page.limit:
                    return False
        except (SourceNotFoundError, SourceUnavailableError, SourceDataError) as error:
            findings.log.info("%s: reading the list of commits instead", error.message)
            return False
        total = found.document.get("total_commits") if isinstance(found.document, dict) else None
        return not isinstance(total, int) or len(seen) >= total

    def _has_rows(self, state: RepositoryState, tracker: Tracker, *, whole: bool) -> bool:
        """Whether the list has any rows; reported where it had some before, and has none now.

        Args:
            whole: the list that was read had everything, and not only what changed.
        """
        if tracker.rows or not state.had_rows:
            return bool(tracker.rows)
        if not whole:  # nothing changed, as a rule
            about = f"repository {state.name}"
            params = {**self.spec.params, "per_page": 1}
            path = f"/repos/{state.name}/{self.spec.path}"
            answer = self._client.get(path, params, about=about, accept=self.spec.accept)
            if answer.document:
                return True
        self._report_empty(state)
        return False

    def _report_empty(self, state: RepositoryState) -> None:
        findings.warn(
            f"repository {state.name}: GitHub shows no {self._stream.replace('_', ' ')} any more, "
            "where an earlier run read some"
        )

    def listing(
        self,
        state: RepositoryState,
        params: Any,
        *,
        path: str | None = None,
        together: bool = True,
        checked: bool = False,
        field: str | None = None,
        attempts: int | None = None,
    ) -> Listing:
        return Listing(
            path=path or f"/repos/{state.name}/{self.spec.path}",
            params={**params, "per_page": self._config.per_page},
            about=f"repository {state.name}",
            key=lambda row: key(self.spec, row),
            accept=self.spec.accept,
            together=together,
            checked=checked,
            field=field,
            attempts=attempts,
        )

    def complete_rows(self, rows: list[Row], state: RepositoryState) -> list[Row]:
        earliest = self._config.since
        wanted = [
            row
            for row in rows
            if earliest is None or (moment(self.spec, row) or earliest) >= earliest
        ]
        return complete_rows(self._stream, self.spec, state.repository, wanted)

    @property
    def stream(self) -> str:
        return self._stream


class Tracker:
    """What a list showed so far.

    Attributes:
        newest, oldest: the latest and the earliest change among the rows.
        served_at: the server's time at the first answer.
        rows: how many, those on unchanged pages included.
        last: the last row.
        keys: of the rows of a list of which GitHub may show a limited number of pages.
        parents: of those that are commits.
    """

    _MOST_KEYS = 200_000  # lists without a limit may be far longer

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.newest: str | None = None
        self.oldest: str | None = None
        self.served_at: datetime | None = None
        self.rows = 0
        self.last: Row | None = None
        self.keys: set[object] = set()
        self.parents: set[str] = set()

    def note(self, page: Page) -> None:
        if self.served_at is None:
            self.served_at = page.served_at
        self.rows += page.count
        if len(self.keys) < self._MOST_KEYS:
            self.keys.update(page.keys)
            if self._spec.reading == "commits":
                self.parents |= parents(page.rows)
        if page.rows:
            self.last = page.rows[-1]
        for row in page.rows:
            self.note_time(row)

    def note_time(self, row: Row) -> None:
        when = moment(self._spec, row)
        if when is not None:
            self.newest = max(self.newest or when, when)
            self.oldest = min(self.oldest or when, when)


def since(start: str | None) -> dict[str, str]:
    """The parameter that asks for what changed at or after a time."""
    return {"since": start} if start is not None and start >= _BEGINNING else {}
