"""The rows behind the last page that GitHub shows of a list.

two orders    From the other end, up to a row that was read; else open and closed ones apart.
since         Where the two ends don't meet, by the time of change: each page is the first of a list
              that begins where the page before ended. Without `since`, the gap is reported.
commits       From each parent of a commit that was read which was not read itself.
one order     Nothing more can be read: what is missing is reported.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING

from millstream.sources import findings
from millstream.sources.github.streams import Row, key, moment, parents
from millstream.sources.github.time_windows import Window, by_change

if TYPE_CHECKING:
    from millstream.sources.github.incremental import Reading, Tracker
    from millstream.sources.github.state import RepositoryState

_FIRST = "2008-01-01T00:00:00Z"  # GitHub is not older
_NEVER = "9999-12-31T00:00:00Z"


def read(
    reading: Reading,
    state: RepositoryState,
    tracker: Tracker,
    limit: str,
    *,
    start: str | None = None,
    head: str | None = None,
) -> Iterator[list[Row]]:
    """The pages of rows that the list itself did not show; reports what can't be read.

    Args:
        tracker: of the list, up to its last page.
        limit: what GitHub said.
        start: of a list that was read from the newest on: the time that was to be reached.
        head: of commits: the newest.
    """
    if head is not None:
        yield from _ancestors(reading, state, tracker)
    elif reading.spec.other_end is None:
        earliest, latest = tracker.oldest, tracker.newest
        shown = f", the earliest of {earliest} and the latest of {latest}" if earliest else ""
        _report(reading, state, limit, f"GitHub shows {tracker.rows:,} of them{shown}")
    else:
        missing = yield from _both_ends(reading, state, tracker, start)
        if missing and reading.spec.reading == "since":
            yield from _by_change(reading, state, tracker)
        elif missing:
            _report(reading, state, limit, f"{missing} are missing")


def _by_change(reading: Reading, state: RepositoryState, tracker: Tracker) -> Iterator[list[Row]]:
    window = Window(reading.spec, max(state.start or _FIRST, _FIRST), _NEVER)
    for rows in by_change(reading, state, window):
        yield _new(reading, tracker, window.new(rows))


def _ancestors(reading: Reading, state: RepositoryState, tracker: Tracker) -> Iterator[list[Row]]:
    from millstream.sources.github.incremental import since

    seen, todo = set(tracker.keys), set(tracker.parents)
    while todo := todo - seen:
        sha = min(todo)
        seen.add(sha)  # `since` may leave it out
        params = {"sha": sha, **since(state.since)}
        for page in reading.pager.read(reading.listing(state, params, together=False)):
            new = [row for row in page.rows if row.get("sha") == sha or row.get("sha") not in seen]
            seen.update(row.get("sha") for row in new)
            todo.update(parents(new))
            yield new
            if not new:
                break  # what it may still have is the parent of another


def _both_ends(
    reading: Reading, state: RepositoryState, tracker: Tracker, start: str | None
) -> Generator[list[Row], None, str]:
    """Yields what the two orders show; returns what they don't, in words."""
    from millstream.sources.github.incremental import since

    spec = reading.spec
    assert spec.other_end is not None
    later = since(state.start) if spec.reading == "since" else {}
    orders = ({**spec.params, **later}, {**spec.other_end, **later})
    # a list that was read from the newest change on is in another order than both
    first = None if start is not None else (set(tracker.keys), tracker.last)
    missing = yield from _two_orders(reading, state, tracker, orders, first, start)
    if missing and "state" in spec.params:  # shorter lists
        parts = []
        for each in ("open", "closed"):
            one, other = ({**params, "state": each} for params in orders)
            part = yield from _two_orders(reading, state, tracker, (one, other), None, start)
            parts += [f"{each} ones {part}"] if part else []
        return " and ".join(parts)
    return f"those {missing}" if missing else ""


def _two_orders(
    reading: Reading,
    state: RepositoryState,
    tracker: Tracker,
    orders: tuple[Mapping[str, str], Mapping[str, str]],
    first: tuple[set[object], Row | None] | None,
    start: str | None,
) -> Generator[list[Row], None, str]:
    """One list from both its ends; returns between which times they do not meet.

    Args:
        first: the keys of the list in the first order, and its last row; None: not read yet.
    """
    keys, reached = first or (set(), None)
    if first is None:
        for page in reading.pager.read(reading.listing(state, orders[0], together=False)):
            if page.limit:
                break
            keys.update(page.keys)
            reached = page.rows[-1] if page.rows else reached
            yield _changed(reading, _new(reading, tracker, page.rows), start)
        else:
            return ""
    keys.discard(None)
    back = None
    for page in reading.pager.read(reading.listing(state, orders[1], together=False)):
        if page.limit:
            between = [str((row or {}).get("created_at")) for row in (reached, back)]
            return f"created between {' and '.join(between)}"
        back = page.rows[-1] if page.rows else back
        yield _changed(reading, _new(reading, tracker, page.rows), start)
        if not keys.isdisjoint(page.keys):
            return ""
    return ""


def _new(reading: Reading, tracker: Tracker, rows: list[Row]) -> list[Row]:
    tracker.keys.discard(None)  # rows without a key are told apart by nothing
    found = [row for row in rows if key(reading.spec, row) not in tracker.keys]
    for row in found:
        tracker.keys.add(key(reading.spec, row))
        tracker.note_time(row)
    return found


def _changed(reading: Reading, rows: list[Row], start: str | None) -> list[Row]:
    return [r for r in rows if start is None or (moment(reading.spec, r) or start) >= start]


def _report(reading: Reading, state: RepositoryState, limit: str, what: str) -> None:
    findings.warn(
        f"repository {state.name}: not all {reading.stream.replace('_', ' ')} were read: {what}: "
        f"{limit}"
    )
