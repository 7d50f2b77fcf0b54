"""Rows of a load, or of all, read back from the destination through its own driver."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millstream.receipts.canonical import number_of, number_of_json
from millstream.receipts.figures import Node, Tree, tree_of
from millstream.receipts.layout import Column, Layout

if TYPE_CHECKING:
    from dlt.destinations.sql_client import SqlClientBase

_TOGETHER = 5_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """Root rows that have one of these values in a column."""

    column: str
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Which:
    """Root rows that have these values, and none in the columns of `empty`."""

    values: Mapping[str, Any]
    empty: Sequence[str] = ()


class Delivered:
    """Rows of a root table, such as one load's, and of the tables below it.

    Args:
        skipped: columns that are left out.
        row_number: what a database calls the numbers of a table's rows, where it reads all columns
            of a table unless it is told these: DuckDB, in a quarter of the time then.
        is_files: a table without rows may have no file, and be found nowhere.
    """

    def __init__(
        self,
        client: SqlClientBase[Any],
        layout: Layout,
        which: Which,
        skipped: frozenset[Column] = frozenset(),
        *,
        row_number: str = "",
        is_files: bool = False,
    ) -> None:
        self._client = client
        self._layout = layout
        self._which = which
        self._skipped = skipped
        self._row_number = row_number
        self._is_files = is_files
        self.lost: set[str] = set()
        """Tables of which rows are expected, and that are not there."""

    def count(self, table: str) -> int:
        """How many rows of a table these are."""
        return next((int(row[0]) for row in self._select(table, "COUNT(*)", None)), 0)

    def values(self, column: str) -> list[Any]:
        """The values of one column of the root table."""
        quoted = self._client.escape_column_name(column)
        return [row[0] for row in self._select(self._layout.root, quoted, None)]

    def trees(self, key: Sequence[str], chosen: Chosen | None = None) -> Iterator[Tree]:
        """Root rows with all rows below them.

        Args:
            key: the columns that tell root rows from others.
            chosen: these alone.
        """
        return (tree_of(nodes, key) for nodes, _ in self.nodes(chosen))

    def nodes(
        self, chosen: Chosen | None = None, shown: Sequence[str] = ()
    ) -> Iterator[tuple[list[Node], tuple[Any, ...]]]:
        """Root rows as `tree_of` takes them, and the values of the columns that are shown."""
        found: list[tuple[list[Node], tuple[Any, ...]]] = []
        at: dict[str, tuple[list[Node], int]] = {}
        layout = self._layout
        for table in layout.parents:
            is_root = table == layout.root
            links = shown if is_root else (layout.parent_id, layout.list_idx)
            for values, extra in self._table(table, [layout.row_id, *links], chosen):
                if is_root:
                    nodes = [Node(table, -1, 0, values)]
                    found.append((nodes, extra[1:]))
                    at[extra[0]] = nodes, 0
                elif extra[1] in at:
                    nodes, above = at[extra[1]]
                    nodes.append(Node(table, above, int(extra[2]), values))
                    at[extra[0]] = nodes, len(nodes) - 1
        yield from found

    def keys(self, key: Sequence[str], chosen: Chosen | None = None) -> set[int]:
        """64 bits for the key of each root row."""
        root = self._layout.root
        return {
            tree_of([Node(root, -1, 0, values)], key).key
            for values, _ in self._table(root, (), chosen, only=key)
        }

    def portions(self, shown: Sequence[str]) -> Iterator[tuple[list[Node], tuple[Any, ...]]]:
        """All root rows, some thousand of them at a time in memory."""
        ids = self.values(self._layout.row_id)
        for start in range(0, len(ids), _TOGETHER):
            chosen = Chosen(self._layout.row_id, ids[start : start + _TOGETHER])
            yield from self.nodes(chosen, shown)

    def _table(
        self,
        table: str,
        links: Sequence[str],
        chosen: Chosen | None,
        only: Sequence[str] | None = None,
    ) -> Iterator[tuple[dict[str, int], tuple[Any, ...]]]:
        layout = self._layout
        wanted = [
            (column, layout.bases[table][column], kind)
            for column, kind in layout.types[table].items()
            if layout.is_data(column)
            and (table, layout.bases[table][column]) not in self._skipped
            and (only is None or layout.bases[table][column] in only)
        ]
        names = [*links, *(column for column, *_ in wanted)]
        columns = ", ".join(self._client.escape_column_name(name) for name in names)
        numbers: list[tuple[str, Callable[[Any], int]]] = [
            (base, _number_of_json if kind == "json" else number_of) for _, base, kind in wanted
        ]
        for row in self._select(table, columns, chosen):
            values: dict[str, int] = {}
            for (base, number), value in zip(numbers, row[len(links) :]):
                if value is not None:
                    values[base] = values.get(base, 0) + number(value)
            yield values, tuple(row[: len(links)])

    def _select(self, table: str, columns: str, chosen: Chosen | None) -> Iterator[Sequence[Any]]:
        """Rows of a table that hang, through whichever tables, on these root rows."""
        from dlt.common.destination.exceptions import DestinationUndefinedEntity
        from dlt.destinations.exceptions import DatabaseUndefinedRelation

        quoted, layout = self._client.escape_column_name, self._layout
        above = layout.above(table)
        names = {name: quoted(f"rows_{number}") for number, name in enumerate(above)}
        conditions = [f"{quoted(column)} = %s" for column in self._which.values]
        conditions += [f"{quoted(column)} IS NULL" for column in self._which.empty]
        arguments = [*self._which.values.values()]
        if chosen is not None:
            places = ", ".join(["%s"] * len(chosen.values))
            conditions.append(f"{quoted(chosen.column)} IN ({places})")
            arguments += chosen.values
        where = " AND ".join(conditions) or "1 = 1"

        def is_below(name: str) -> str:
            if name == layout.root:
                return where
            rows = " UNION ALL ".join(
                f"SELECT {quoted(layout.row_id)} FROM {names[each]}"  # noqa: S608
                for each in layout.parents[name]
            )
            return f"{quoted(layout.parent_id)} IN ({rows})"

        parts = ", ".join(
            f"{its} AS (SELECT {quoted(layout.row_id)} FROM {self._from(name)} "  # noqa: S608
            f"WHERE {is_below(name)})"
            for name, its in names.items()
        )
        place, these = self._from(table), is_below(table)
        if chosen is not None and self._row_number:
            number = self._row_number
            these = f"{number} IN (SELECT {number} FROM {place} WHERE {these})"  # noqa: S608
        query = f"SELECT {columns} FROM {place} WHERE {these}"  # noqa: S608
        if parts:
            query = f"WITH {parts} {query}"
        try:
            with self._client.execute_query(query, *arguments) as cursor:
                while rows := cursor.fetchmany(_TOGETHER):
                    yield from rows
        except (DestinationUndefinedEntity, DatabaseUndefinedRelation):
            if not self._is_files:
                self.lost.add(table)

    def _from(self, table: str) -> str:
        return str(self._client.make_qualified_table_name(table))


def _number_of_json(value: Any) -> int:
    return number_of_json(json.loads(value) if isinstance(value, str | bytes) else value)
