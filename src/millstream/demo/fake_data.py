"""The data behind the fixture server: rows in versions, as of any date, changeable meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.demo.recordings import moment

Row = dict[str, Any]
Known = dict[str, str]
"""When each field (`user.node_id`) was first recorded: before that, GitHub had it not."""


@dataclass(frozen=True)
class Query:
    """What a list request asks for; GitHub's parameters."""

    state: str = "open"
    since: str | None = None
    sort: str = "created"
    direction: str = "desc"


class Hub:
    """Repositories and their rows.

    Args:
        dataset: `{"owner/name": {"issues": [rows], ...}}`. A key may be there in several versions;
            the last changed at or before `as_of` is served, with the fields that were known then.
        moved: old names and the names that they are called now.
    """

    def __init__(
        self,
        dataset: Mapping[str, Mapping[str, Sequence[Row]]],
        as_of: str | None = None,
        moved: Mapping[str, str] | None = None,
    ) -> None:
        self._lock = threading.RLock()
        self._as_of = as_of
        self._rows: dict[str, dict[str, list[Row]]] = {
            name: {stream: list(rows) for stream, rows in streams.items()}
            for name, streams in dataset.items()
        }
        self._names = {name.lower(): name for name in self._rows}
        self._known: dict[str, Known] = {}
        self._views: dict[tuple[str, str], list[Row]] = {}
        self._lists: dict[tuple[str, str, Query], list[Row]] = {}
        self.moved = {old.lower(): new for old, new in (moved or {}).items()}
        self._ids = {name: 1000 + number for number, name in enumerate(self._rows)}
        self._next_id = 1000 + len(self._rows)
        self.blocked: dict[str, tuple[int, str]] = {}
        """Repositories that GitHub has taken down: the status and the reason of its answer."""
        self.without_issues: set[str] = set()
        self.private: set[str] = set()

    @property
    def as_of(self) -> str | None:
        return self._as_of

    @as_of.setter
    def as_of(self, moment: str | None) -> None:
        with self._lock:
            self._as_of = moment
            self._forget()

    @property
    def names(self) -> list[str]:
        return list(self._rows)

    def name(self, repository: str) -> str | None:
        """The spelling of a repository's name; None where there is none."""
        return self._names.get(repository.lower())

    def id(self, repository: str) -> int:
        return self._ids[repository]

    def rename(self, old: str, new: str) -> None:
        """Call a repository by another name, also of another owner; the old one redirects."""
        with self._lock:
            # in its old place: the order of an organisation's list is by the server's `sort`
            self._rows = {new if n == old else n: rows for n, rows in self._rows.items()}
            self._ids[new] = self._ids.pop(old)
            del self._names[old.lower()]
            self._names[new.lower()] = new
            self.moved.pop(new.lower(), None)
            self.moved = {name: new if to == old else to for name, to in self.moved.items()}
            if old.lower() != new.lower():
                self.moved[old.lower()] = new
            self._forget()

    def remove(self, repository: str) -> None:
        """Delete a repository; its name answers 404 from then on."""
        with self._lock:
            del self._rows[repository], self._names[repository.lower()], self._ids[repository]
            self._forget()

    def put(self, repository: str, stream: str, *rows: Row) -> None:
        """Add rows, or newer versions of rows."""
        with self._lock:
            if repository not in self._rows:  # it may take over the name of one that was renamed
                self.moved.pop(repository.lower(), None)
                self._ids[repository] = self._next_id
                self._next_id += 1
            self._names.setdefault(repository.lower(), repository)
            self._rows.setdefault(repository, {}).setdefault(stream, []).extend(rows)
            self._forget()

    def delete(self, repository: str, stream: str, key: object) -> None:
        """Take a row away, in all its versions."""
        with self._lock:
            streams = self._rows[repository]
            streams[stream] = [row for row in streams[stream] if row_key(row) != key]
            self._forget()

    def rows(self, repository: str, stream: str, query: Query) -> list[Row]:
        """The rows that a list request would page through."""
        with self._lock:
            at = (repository, stream, query)
            if at not in self._lists:
                self._lists[at] = _order(
                    stream, [r for r in self.view(repository, stream) if _wanted(r, query)], query
                )
            return self._lists[at]

    def view(self, repository: str, stream: str) -> list[Row]:
        """Each row once, as it was at `as_of`, in no special order."""
        with self._lock:
            at = (repository, stream)
            if at not in self._views:
                newest: dict[object, tuple[str, Row]] = {}
                for row in self._rows[repository].get(stream, []):
                    when = moment(row) or ""
                    if self._as_of is not None and when > self._as_of:
                        continue
                    key = row_key(row)
                    if key not in newest or when >= newest[key][0]:
                        newest[key] = (when, row)
                self._views[at] = [self._as_known(stream, row) for _, row in newest.values()]
            return self._views[at]

    def _as_known(self, stream: str, row: Row) -> Row:
        row = {name: value for name, value in row.items() if name != "_recorded_at"}
        if self._as_of is None:
            return row
        if stream not in self._known:
            known: Known = {}
            for streams in self._rows.values():
                for other in streams.get(stream, []):
                    when = str(other.get("_recorded_at", ""))
                    known[""] = min(known.get("", when), when)
                    _note(other, when, "", known)
            self._known[stream] = known
        stripped: Row = _strip(row, "", self._known[stream], self._as_of)
        return stripped

    def _forget(self) -> None:
        self._views.clear()
        self._lists.clear()


def row_key(row: Row) -> object:
    """What makes a row the same row in another version."""
    if "id" in row:
        return row["id"]
    return row["sha"] if "sha" in row else row["user"]["id"]


def _wanted(row: Row, query: Query) -> bool:
    if query.state != "all" and row.get("state", query.state) != query.state:
        return False
    return query.since is None or (moment(row) or query.since) >= query.since


def _order(stream: str, rows: list[Row], query: Query) -> list[Row]:
    def created(row: Row) -> tuple[str, str]:
        return (str(row.get("created_at") or moment(row) or ""), f"{row.get('id', ''):>20}")

    def updated(row: Row) -> tuple[str, str]:
        return (moment(row) or "", f"{row.get('id', ''):>20}")

    newest_first = query.direction != "asc"
    if stream in ("issues", "pull_requests", "issue_comments"):
        return sorted(
            rows, key=updated if query.sort == "updated" else created, reverse=newest_first
        )
    if stream in ("issue_events", "commits", "releases"):
        return sorted(rows, key=created, reverse=True)
    return sorted(rows, key=created)


def _note(value: Any, when: str, path: str, known: Known) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            inner = f"{path}.{name}"
            known[inner] = min(known.get(inner, when), when)
            _note(item, when, inner, known)
    elif isinstance(value, list):
        for item in value:
            _note(item, when, path, known)


def _strip(value: Any, path: str, known: Known, as_of: str) -> Any:
    if isinstance(value, dict):
        if known.get(path, "") > as_of:
            return value  # nobody recorded such an object before, so nobody saw it without a field
        return {
            name: _strip(item, f"{path}.{name}", known, as_of)
            for name, item in value.items()
            if known.get(f"{path}.{name}", "") <= as_of
        }
    if isinstance(value, list):
        return [_strip(item, path, known, as_of) for item in value]
    return value
