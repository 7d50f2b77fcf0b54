"""Rows that were kept of a source, as the rows of tables that they make, in numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from millstream.receipts.canonical import UnknownValueError, number_of, number_of_json
from millstream.receipts.figures import Node
from millstream.receipts.layout import Column, Layout, SourceRow
from millstream.receipts.row_forms import Form, UnreadableError, row_of

AsStored = Callable[[Any, str], Any]
"""A value, and the type of its column -> what that holds of it, where a run may convert values."""


class Kept(Protocol):
    def rows(self) -> Iterator[tuple[Form, bytes]]:
        """Rows as they were kept."""


class SourceRows:
    """What a run kept of one root table.

    Attributes:
        skipped: columns that are left out; those join, once all is read, that have a value of a
            type that has no documented place.
        unreadable: rows that go to quarantine as they are.
    """

    def __init__(
        self,
        captured: Kept,
        layout: Layout,
        skipped: frozenset[Column] = frozenset(),
        as_stored: AsStored | None = None,
    ) -> None:
        self._captured, self._layout = captured, layout
        self._as_stored = as_stored
        self.skipped = skipped
        self.unreadable = 0

    def each(self) -> Iterator[tuple[Mapping[str, Any], list[Node]]]:
        """The values of each root row, and it with all rows below it as `tree_of` takes them.

        Raises:
            UnknownValueError: what a row makes is not known.
        """
        self.unreadable = 0
        for form, data in self._captured.rows():
            try:
                row, layout = row_of(form, data), self._layout
                rows = [layout.row_of_columns(row)] if form == "columns" else [*layout.rows(row)]
            except UnreadableError:
                self.unreadable += 1
                continue
            yield (
                rows[0].values,
                [Node(row.table, row.parent, row.position, self._numbers(row)) for row in rows],
            )

    def _numbers(self, row: SourceRow) -> dict[str, int]:
        numbers = {}
        types = self._layout.types.get(row.table, {}) if self._as_stored else {}
        for column, value in row.values.items():
            if (row.table, column) in self.skipped:
                continue
            try:
                is_whole = column in row.whole
                if self._as_stored and column in types:
                    value = self._as_stored(value, types[column])
                numbers[column] = number_of_json(value) if is_whole else number_of(value)
            except UnknownValueError:
                self.skipped |= {(row.table, column)}
        return numbers
