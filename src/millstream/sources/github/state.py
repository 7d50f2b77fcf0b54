"""What one run leaves to the next, per repository: a cursor, the head of its commits, ETags.

It lives in dlt's resource state, which is committed with the rows that it speaks of, or not at all:
a run that fails leaves the state of the run before. Keys of the state:

    repositories: {"owner/name" in lower case: {
        name:    the spelling that rows carry in `repository`
        floor:   the configured `since` from which on everything is loaded, or null
        cursor:  ISO 8601; everything that changed before it is loaded
        head:    the newest commit that is loaded, with all its ancestors
        etags:   {url: of the first page, link: to the last, pages: [[etag, rows], ...]}
    }}
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

MAX_TAGGED_PAGES = 50
"""Pages of one repository whose ETags are kept; further ones are read without."""


@dataclass
class PageTags:
    """The ETags of one list, page by page, as one run found them.

    Attributes:
        url: of the first page; another one (another `since`, other page sizes) is another list.
        link: the first page's link to the last, since an unchanged page may come without links.
        pages: `(etag, rows)` of pages 1, 2, ...
    """

    url: str = ""
    link: str | None = None
    pages: dict[int, tuple[str, int]] = field(default_factory=dict)

    def note(self, number: int, etag: str | None, rows: int) -> None:
        if etag and number <= MAX_TAGGED_PAGES:
            self.pages[number] = (etag, rows)


class RepositoryState:
    """One repository's part of a stream's state. Nothing changes before `commit`."""

    def __init__(
        self, state: MutableMapping[str, Any], name: str, since: str | None, lag_seconds: int
    ) -> None:
        self._all: dict[str, Any] = state.setdefault("repositories", {})
        self._key = name.lower()
        self._since = since
        self._lag = timedelta(seconds=lag_seconds)
        before: dict[str, Any] = dict(self._all.get(self._key) or {})
        self.name: str = before.get("name") or name
        floor: str | None = before.get("floor")
        if before and (floor or "") > (since or ""):
            # the configuration now asks for older rows than were ever read: begin again
            before = {}
        self.cursor: str | None = before.get("cursor")
        self.head: str | None = before.get("head")
        self._floor = floor if before else since
        if since and (self.cursor or "") < since:
            self._floor = since  # what lies between the cursor and `since` is left out
        self.tags = _tags(before.get("etags"))

    @property
    def start(self) -> str | None:
        """Read what changed at or after this time; None: everything."""
        if self.cursor is None:
            return self._since
        behind = to_iso(from_iso(self.cursor) - self._lag)
        return max(behind, self._since or behind)

    def commit(
        self,
        *,
        newest: str | None = None,
        served_at: datetime | None = None,
        head: str | None = None,
        tags: PageTags | None = None,
    ) -> None:
        """Keep what this run found.

        Args:
            newest: the latest change among the rows.
            served_at: the server's time at the first answer. What changed later may have been
                missed by pages that were already read, so the cursor does not go beyond.
        """
        if newest is not None:
            reached = newest if served_at is None else min(newest, to_iso(served_at))
            self.cursor = max(self.cursor or reached, reached)
        kept: dict[str, Any] = {"name": self.name, "floor": self._floor}
        if self.cursor:
            kept["cursor"] = self.cursor
        if head or self.head:
            kept["head"] = head or self.head
        if tags is not None and tags.pages.get(1):
            rows = [list(tags.pages[n]) for n in range(1, _unbroken(tags.pages) + 1)]
            kept["etags"] = {"url": tags.url, "link": tags.link, "pages": rows}
        self._all[self._key] = kept


def known(state: MutableMapping[str, Any], name: str) -> bool:
    """Whether a repository was read before."""
    return name.lower() in (state.get("repositories") or {})


def to_iso(moment: datetime) -> str:
    """As GitHub writes times."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_iso(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)


def _unbroken(pages: dict[int, tuple[str, int]]) -> int:
    last = 1
    while last + 1 in pages:
        last += 1
    return last


def _tags(stored: Any) -> PageTags | None:
    if not isinstance(stored, dict):
        return None
    pages = {n: (str(etag), int(rows)) for n, (etag, rows) in enumerate(stored["pages"], start=1)}
    return PageTags(stored["url"], stored.get("link"), pages)
