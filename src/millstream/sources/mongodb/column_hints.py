"""What dlt is told of a part beside its rows: columns whose type the rows alone don't show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from millstream.formats.key_names import KeyNames
from millstream.sources.mongodb import ids
from millstream.sources.mongodb.spool import Part
from millstream.sources.mongodb.values import Path

if TYPE_CHECKING:
    from dlt.common.schema import Schema


class PartEmitter:
    """Hands parts to dlt, each as a file that is taken into the load package by a hard link.

    Attributes:
        kind: what `_id` is, once that is known.
        replace: whether this run replaces the table, whatever the resource says.
        columns: hints for columns of the root table.
    """

    def __init__(self, table: str, schema: Schema, dialect: str | None) -> None:
        self.kind: ids.Kind | None = None
        self.replace = False
        self._table = table
        self._schema = schema
        self._names = KeyNames.of(schema, table, dialect)
        self._told: set[Path] | None = None
        self.columns: dict[str, Any] = {}
        self._nested: dict[Any, Any] = {}

    def __call__(self, part: Part) -> Any:
        import dlt

        hints = None
        new = set(part.not_finite) - (self._told or set())
        if new or self._told is None:
            self._told = (self._told or set()) | new
            if self.kind is not None:
                self.columns["_id"] = {
                    "name": "_id",
                    "data_type": ids.DATA_TYPE[self.kind],
                    "nullable": False,
                }
            for path in new:
                if path[0] != "_id" or self.kind is None:
                    self._is_double(path)
            hints = dlt.mark.make_hints(
                columns=dict(self.columns) or None,
                nested_hints=dict(self._nested) or None,
                write_disposition="replace" if self.replace else None,
            )
        return dlt.mark.with_file_import(str(part.path), "typed-jsonl", part.rows, hints)

    @property
    def has_told(self) -> bool:
        """Whether a part was handed on."""
        return self._told is not None

    def nothing(self) -> Iterator[Any]:
        """What empties the table, where there is one, and makes none where there is not."""
        import dlt

        if self._table in self._schema.tables:
            hints = dlt.mark.make_hints(write_disposition="replace")
            yield dlt.mark.with_hints(dlt.mark.materialize_table_schema(), hints)

    def _is_double(self, path: Path) -> None:
        """Declare a column that held NaN or an infinity, unless it has a type already.

        They travel as text, which dlt turns back where the column is double. A column of another
        type keeps that, and they go to its text variant.
        """
        tables, column = self._names.locate(path)
        name = "__".join(
            [self._table, *(fragment for fragments in tables for fragment in fragments)]
        )
        known = self._schema.tables.get(name, {}).get("columns", {}).get(column, {})
        if known.get("data_type"):
            return
        columns = self.columns
        parent = self._table
        above: Path = ()
        for fragments in tables:  # dlt wants each table on the way
            above = (*above, *fragments)
            found = self._nested.setdefault(above, {"columns": {}, "parent_table_name": parent})
            columns, parent = found["columns"], "__".join([self._table, *above])
        columns[column] = {"name": column, "data_type": "double"}
