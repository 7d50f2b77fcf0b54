"""What a stream remembers of each repository: a cursor, the head of its commits, ETags.

It lives in dlt's resource state, which is committed with the rows that it speaks of, or not at all:
a run that fails leaves the state of the run before. A repository is known by GitHub's number, which
stays when it is renamed or transferred, and never by its name, which another one can take over.
Keys of the state:

    version: 2
    host: of the API; numbers are its own
    repositories: {"1296269": {
        name:     what rows carry in `repository`
        floor:    the configured `since` from which on everything is loaded, or null
        cursor:   ISO 8601; everything that changed before it is loaded
        head:     the newest commit that is loaded, with all its ancestors
        etags:    {url: of the first page, link: to the last, pages: [[etag, rows], ...]}
        rows:     true where rows were read
        gone:     true where its name is another's now, and it was deleted or hidden
    }}
    names: {"owner/name" as configured, in lower case: {id, name, etag: of the repository}}
    by_name: {"owner/name" in lower case: what version 1 knew of a repository that is not identified
        yet, with the keys `name` to `etags`}
    unfilled: {number: name} of those whose rows may come from version 1, without `repository_id`
    unlisted: numbers of those that were reported as not in the organisation any more

Version 1 had the key `repositories` alone, with names in lower case in place of numbers.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from millstream.errors import ConfigError

VERSION = 2

MAX_TAGGED_PAGES = 50
"""Pages of one repository whose ETags are kept; further ones are read without."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Repository:
    """One repository, as GitHub knows it now.

    Attributes:
        id: GitHub's number; what a server that gives none identifies it by instead.
        name: `owner/name`, as GitHub spells it.
        named: in `repositories` of the configuration, rather than found in the organisation.
    """

    id: str
    name: str
    named: bool = False

    @property
    def number(self) -> int | None:
        return int(self.id) if self.id.isascii() and self.id.isdigit() else None


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
        self,
        state: MutableMapping[str, Any],
        repository: Repository,
        since: str | None,
        lag_seconds: int,
    ) -> None:
        self._all: dict[str, Any] = state.setdefault("repositories", {})
        self.repository = repository
        self.since = since
        self._lag = timedelta(seconds=lag_seconds)
        before: dict[str, Any] = dict(self._all.get(repository.id) or {})
        self.had_rows = had_rows(before)
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
    def name(self) -> str:
        return self.repository.name

    @property
    def start(self) -> str | None:
        """Read what changed at or after this time; None: everything."""
        if self.cursor is None:
            return self.since
        moment = from_iso(self.cursor)
        behind = to_iso(moment - self._lag if moment - _EPOCH > self._lag else moment)
        return max(behind, self.since or behind)

    def commit(
        self,
        *,
        newest: str | None = None,
        served_at: datetime | None = None,
        head: str | None = None,
        tags: PageTags | None = None,
        rows: bool | None = None,
    ) -> None:
        """Keep what this run found.

        Args:
            newest: the latest change among the rows.
            served_at: the server's time at the first answer. What changed later may have been
                missed by pages that were already read, so the cursor does not go beyond.
            rows: whether the repository has any rows; None: as before.
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
            pages = [list(tags.pages[n]) for n in range(1, _unbroken(tags.pages) + 1)]
            kept["etags"] = {"url": tags.url, "link": tags.link, "pages": pages}
        kept["rows"] = self.had_rows if rows is None else rows
        self._all[self.repository.id] = kept


def migrate(state: MutableMapping[str, Any]) -> None:
    """Bring a stream's state to this version; what has names for keys waits in `by_name`.

    Raises:
        ConfigError: a later version of Millstream has written it.
    """
    if state.get("version", VERSION) > VERSION:
        raise ConfigError(
            f"the stream's state has version {state['version']}; this Millstream knows {VERSION}",
            hint="install the Millstream that loaded the stream last, or a later one",
        )
    state["version"] = VERSION
    repositories = state.setdefault("repositories", {})
    state.setdefault("names", {})
    state.setdefault("unfilled", {})
    state.setdefault("unlisted", [])
    waiting = state.setdefault("by_name", {})
    for key in [key for key in repositories if "/" in key]:
        waiting[key] = repositories.pop(key)


def had_rows(entry: MutableMapping[str, Any]) -> bool:
    """Whether an earlier run read rows of a repository."""
    if "rows" in entry:
        return bool(entry["rows"])
    pages = (entry.get("etags") or {}).get("pages") or []
    return bool(entry.get("cursor") or entry.get("head") or any(rows for _, rows in pages))


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
