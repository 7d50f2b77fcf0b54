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

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from millstream.config import GitHubConfig
from millstream.sources.github.client import Client
from millstream.sources.github.paging import Listing, Page, Pager
from millstream.sources.github.state import PageTags, RepositoryState
from millstream.sources.github.streams import Row, Spec, finish, key, moment


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
        elif self.spec.reading == "newest_first" and state.start is not None:
            yield from self._newest_first(state, state.start)
        else:
            yield from self._list(state)

    def _list(self, state: RepositoryState) -> Iterator[list[Row]]:
        params: dict[str, Any] = {**self.spec.params}
        whole = self.spec.reading == "whole"
        if self.spec.reading == "since" and state.start is not None:
            params["since"] = state.start
        listing = self.listing(state, params, checked=not whole)
        # a list that is never asked for again under the same URL needs no ETags
        tags = PageTags() if whole or "since" in params else None
        tracker = _Tracker(self.spec)
        for page in self.pager.read(listing, state.tags if tags else None, tags):
            tracker.note(page)
            if rows := self.finish(page.rows, state):
                yield rows
        state.commit(newest=tracker.newest, served_at=tracker.served_at, tags=tags)

    def _newest_first(self, state: RepositoryState, start: str) -> Iterator[list[Row]]:
        params = self.spec.newest_first or self.spec.params
        listing = self.listing(state, params, together=False)
        tags = PageTags()
        tracker = _Tracker(self.spec)
        for page in self.pager.read(listing, state.tags, tags):
            tracker.note(page)
            recent = [row for row in page.rows if (moment(self.spec, row) or start) >= start]
            if recent:
                yield self.finish(recent, state)
            if not recent:
                # all older; or unchanged since the last run, and so is everything behind it
                break
        tags.pages = {n: tag for n, tag in tags.pages.items() if n == 1}
        tags.link = None
        state.commit(newest=tracker.newest, served_at=tracker.served_at, tags=tags)

    def _commits(self, state: RepositoryState) -> Iterator[list[Row]]:
        path = f"/repos/{state.name}/commits"
        about = f"repository {state.name}"
        answer = self._client.get(path, {"per_page": 1}, about=about, allowed=(409,))
        if answer.status == 409 or not answer.document:
            state.commit()  # a repository without commits
            return
        # all pages are of this commit, so that nothing moves when others push
        head = str(answer.document[0]["sha"])
        if head != state.head:
            listing = None
            if state.head is not None:
                compare = f"/repos/{state.name}/compare/{state.head}...{head}"
                found = self._client.get(compare, {"per_page": 1}, about=about, allowed=(404,))
                if found.status != 404:  # else: history was rewritten, and the old head is gone
                    listing = self.listing(state, {}, path=compare, field="commits")
            if listing is None:
                params = {"sha": head}
                if self._config.since:
                    params["since"] = self._config.since
                listing = self.listing(state, params)
            for page in self.pager.read(listing):
                if rows := self.finish(page.rows, state):
                    yield rows
        state.commit(head=head)

    def listing(
        self,
        state: RepositoryState,
        params: Any,
        *,
        path: str | None = None,
        together: bool = True,
        checked: bool = False,
        field: str | None = None,
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
        )

    def finish(self, rows: list[Row], state: RepositoryState) -> list[Row]:
        since = self._config.since
        return [
            finish(self._stream, self.spec, state.name, row)
            for row in rows
            if since is None or (moment(self.spec, row) or since) >= since
        ]


class _Tracker:
    """The latest change among the rows, and the server's time at the first answer."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.newest: str | None = None
        self.served_at: datetime | None = None

    def note(self, page: Page) -> None:
        if self.served_at is None:
            self.served_at = page.served_at
        for row in page.rows:
            when = moment(self._spec, row)
            if when is not None and (self.newest is None or when > self.newest):
                self.newest = when
