"""A list in the order of its cursor, of which a part is as good as all of it: the rest comes later.

Rows that come in the order of an `incremental` (`row_order: asc`) can be loaded as soon as a
greater value was seen: the next request asks for what follows. So a read that breaks off, or that
takes long, leaves the rows that it had, and the next one goes on behind them. Rows with the last
value are held back until then: others with the same value may be on the next page, and APIs that
take a cursor for "greater than" would never show them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dlt
from dlt.common.jsonpath import compile_path, extract_simple_field_name, find_values

from millstream.dlt_compat.pipes import wrap_pages
from millstream.errors import SourceAuthError, SourceError, SourceUnavailableError
from millstream.sources import findings
from millstream.sources.http.exchange import LATER

if TYPE_CHECKING:
    from dlt.sources import DltResource

log = logging.getLogger(__name__)

_PART_SECONDS = 600.0
"""How long rows are read before they are loaded, and the rest of the list is asked for anew."""


_MOST_WAITING = 100_000  # rows


def load_in_parts(resource: DltResource, incremental: Mapping[str, Any]) -> None:
    """Let a run load what it has read of a resource, where it may stop early.

    Args:
        incremental: what dlt's is made of.
    """
    field = str(incremental["cursor_path"])

    def in_parts(pages: Iterator[Any]) -> Iterator[Any]:
        if not findings.may_stop():
            yield from pages
            return
        state: Any = dlt.current.resource_state(resource.name).get("incremental", {})
        start = state.get(field, {}).get("last_value", incremental.get("initial_value"))
        yield from AscendingPages(resource.name, field, start).read(pages)

    wrap_pages(resource, in_parts)


class AscendingPages:
    """Hands on the pages of a list; may stop where the next request can go on.

    Args:
        field: path of the cursor in a row.
        start: where the list was to begin; None for all of it.
    """

    def __init__(self, name: str, field: str, start: Any) -> None:
        self._name = name
        self._path = compile_path(field)
        self._field = extract_simple_field_name(self._path)
        self._start = start
        self._newest: Any = None
        self._waiting: list[list[Any]] = []  # pages whose rows may share their last value
        self._reached: Any = None  # the last value of which all rows were handed on
        self._is_ordered = True
        self._is_filtered = True  # the server leaves out what lies before the start

    def read(self, pages: Iterator[Any]) -> Iterator[Any]:
        """
        Raises:
            SourceError: the list can't be read on, and no row of it can be loaded without the rest.
        """
        until = time.monotonic() + _PART_SECONDS
        try:
            for page in pages:
                yield from self._ready(page)
                if self._is_long and time.monotonic() >= until:
                    yield from self._part()
                    log.info("%s: read up to %s, which is loaded first", self._name, self._reached)
                    findings.stop_early()
                    return
        except (SourceUnavailableError, SourceAuthError) as error:
            part = list(self._part())
            if not self._is_ordered or self._reached is None or self._reached == self._start:
                raise
            yield from part
            findings.stop_early(self._explained(error))
            return
        yield from self._waiting

    def _explained(self, error: SourceError) -> SourceError:
        first = (error.hint or LATER).replace(LATER, "").rstrip("; ")
        return type(error)(
            f"{self._name}: rows up to {self._reached} were loaded, then: {error.message}",
            hint="; ".join(filter(None, (first, "the next run goes on from there"))),
        )

    def _ready(self, page: list[Any]) -> Iterator[Any]:
        """The pages that are complete by now."""
        if self._is_ordered and page:
            self._is_ordered = self._continues(page)
        if not self._is_ordered:
            yield from self._waiting
            self._waiting.clear()
            yield page
            return
        if page and self._waiting and self._value(page[-1]) != self._newest:
            yield from self._waiting
            self._waiting.clear()
            self._reached = self._newest
        if page:
            self._newest = self._value(page[-1])
            self._waiting.append(page)
        # as many with one value are no part of a list, but a list
        self._is_ordered &= sum(map(len, self._waiting)) <= _MOST_WAITING

    def _continues(self, page: list[Any]) -> bool:
        """Whether rows go on in order; what is not, or not comparable, is read to its end."""
        values = [self._value(row) for row in page]
        try:
            before = [self._newest, *values] if self._newest is not None else values
            if None in values:
                return False
            if any(a > b for a, b in pairwise(before)):
                findings.warn(
                    f"{self._name}: rows do not come in the order of `{self._path}`, as "
                    "`row_order: asc` says: take it out, or sort the list; of lists that were "
                    "loaded in parts rows may be missing, which `--full-refresh` brings"
                )
                return False
            self._is_filtered &= self._start is None or bool(values[0] >= self._start)
        except TypeError:
            return False
        return True

    @property
    def _is_long(self) -> bool:
        """Whether the next request begins behind the first rows of this one."""
        return (
            self._is_ordered
            and self._is_filtered
            and self._reached is not None
            and self._reached != self._start
        )

    def _part(self) -> Iterator[Any]:
        """What of the pages that wait has a smaller value than the last one."""
        for page in self._waiting:
            part = [row for row in page if self._value(row) != self._newest]
            if part:
                self._reached = self._value(part[-1])
                yield part

    def _value(self, row: Any) -> Any:
        if not isinstance(row, Mapping):
            return None
        if self._field is not None:
            return row.get(self._field)
        found = find_values(self._path, row)  # type: ignore[arg-type]
        return found[0] if len(found) == 1 else None
