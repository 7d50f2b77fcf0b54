"""One window of time of one stream: all rows that last changed in it.

since         Pages sorted by change, each begun at the last change of the one before. A row that
              is changed meanwhile leaves the list and pulls the others forward; since each page is
              the first of its own list, none is pulled past a page that was read. Where more rows
              than a page holds changed in one second, pages are read by number, again and again
              until two readings show the same rows: then none left while the first was read.
newest_first  From now back to the window's start: a row that is changed meanwhile comes to the
              front and only pushes others to later pages.
whole         Everything, and of that what lies in the window.

A row belongs to the window of its last change: when it changes again, it moves to a later one, and
rows merge on their key. Commits can't be read by windows: a merge brings old ones. Labels bear no
time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from millstream.errors import ConfigError, SourceDataError
from millstream.model import Partition
from millstream.sources import findings
from millstream.sources.github.state import from_iso, to_iso
from millstream.sources.github.streams import Row, Spec, key, moment

if TYPE_CHECKING:
    from millstream.sources.github.incremental import Reading
    from millstream.sources.github.pagination import Listing, Page
    from millstream.sources.github.state import RepositoryState


def check(stream: str, spec: Spec, partition: Partition) -> None:
    """Refuse what can't be read by windows.

    Raises:
        ConfigError: saying why, and what can be done instead.
    """
    if partition.start is None:
        raise ConfigError(
            f"GitHub's {stream} can't be partitioned by keys",
            hint="`type: time`; several repositories are several pipelines",
        )
    if spec.time is None or spec.reading == "commits":
        why = (
            "a merge brings commits of windows that were loaded long ago"
            if spec.time
            else "they bear no time"
        )
        raise ConfigError(
            f"GitHub's {stream} can't be partitioned by time: {why}",
            hint="name the streams that can under `partitions.streams`",
        )
    if partition.by not in (None, spec.time):
        raise ConfigError(
            f"GitHub's {stream} can be partitioned by {spec.time!r} alone, not by {partition.by!r}",
            hint="leave `cursor` out",
        )


def read(reading: Reading, state: RepositoryState, partition: Partition) -> Iterator[list[Row]]:
    """The pages of rows of a window, each row once.

    Raises:
        SourceDataError: a row tells no time.
    """
    assert partition.window is not None, "checked when the stream was opened"
    window = Window(reading.spec, *map(to_iso, partition.window))
    if reading.spec.reading == "since":
        pages = by_change(reading, state, window)
    elif reading.spec.reading == "newest_first":
        pages = _backwards(reading, state, window)
    else:
        listing = reading.listing(state, dict(reading.spec.params), checked=True)
        pages = _whole(reading, state, listing)
    for rows in pages:
        if mine := window.new(rows):
            yield reading.complete_rows(mine, state)


class Window:
    """The rows that last changed from `start` on and before `end`, each once."""

    def __init__(self, spec: Spec, start: str, end: str) -> None:
        self.start, self.end = start, end
        self._spec = spec
        self._seen: set[object] = set()

    def time(self, row: Row) -> str:
        # a draft of a release is not published yet
        when = moment(self._spec, row) or row.get("created_at")
        if not isinstance(when, str):
            raise SourceDataError(f"a row tells no time: {self._spec.time!r} is {when!r}")
        return when

    def new(self, rows: list[Row]) -> list[Row]:
        """The rows of the window that were not seen before."""
        found = []
        for row in rows:
            identity = key(self._spec, row)
            if not self.start <= self.time(row) < self.end:
                continue
            if identity is None or identity not in self._seen:
                self._seen.add(identity)
                found.append(row)
        return found

    def knows(self, rows: list[Row]) -> bool:
        keys = {key(self._spec, row) for row in rows}
        return keys - {None} <= self._seen


def by_change(reading: Reading, state: RepositoryState, window: Window) -> Iterator[list[Row]]:
    """All rows of a window, whatever the number of pages that GitHub shows of a list."""
    since = window.start
    before: list[object] = []  # the rows of that second, as the list before showed them
    idle = 0  # lists in a row that were cut, and showed nothing new
    while True:
        params = {
            **reading.spec.params,
            "sort": "updated",
            "direction": "asc",
            "since": since,
        }
        pages, news, later = 0, False, None
        shown: list[object] = []
        for page in reading.pager.read(reading.listing(state, params, together=False)):
            if page.limit:
                _report_unread(reading, state, page, f"of {since}")
                later = to_iso(from_iso(since) + timedelta(seconds=1))
                idle = 0 if news else idle + 1
                break
            pages += 1
            inside = [row for row in page.rows if window.time(row) < window.end]
            news = news or not window.knows(inside)
            shown += [key(reading.spec, row) for row in inside if window.time(row) == since]
            yield page.rows
            if page.rows:
                later = window.time(page.rows[-1])
            if later is not None and (later > since or len(inside) < len(page.rows)):
                break
        else:
            later = None  # the list has ended
        if pages > 1 and shown != before:
            before = shown
            continue  # of one second more than a page: a row that left may have hidden another
        # the second such list was of another second: the server takes no notice of `since`
        if later is None or later >= window.end or idle > 1:
            return
        since, before = later, []


def _backwards(reading: Reading, state: RepositoryState, window: Window) -> Iterator[list[Row]]:
    params = dict(reading.spec.newest_first or reading.spec.params)
    oldest = window.end
    for page in reading.pager.read(reading.listing(state, params, together=False)):
        if page.limit:
            _report_unread(reading, state, page, f"between {window.start} and {oldest}")
            return
        yield page.rows
        oldest = window.time(page.rows[-1]) if page.rows else oldest
        if page.rows and all(window.time(row) < window.start for row in page.rows):
            return


def _whole(reading: Reading, state: RepositoryState, listing: Listing) -> Iterator[list[Row]]:
    for page in reading.pager.read(listing):
        if page.limit:
            _report_unread(reading, state, page, "behind that page")
        yield page.rows


def _report_unread(reading: Reading, state: RepositoryState, page: Page, which: str) -> None:
    findings.warn(
        f"repository {state.name}: {reading.stream.replace('_', ' ')} {which} were not all read: "
        f"{page.limit}"
    )
