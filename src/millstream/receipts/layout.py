"""Which table and column the value of a key must land in, as the schema of a stream says.

The names of keys are those that the schema remembers (`x-name.` hints), or dlt's own. What is
done with a row is written down here once more, and shares nothing with the engine: objects flatten
into their table, each list is a child table, and what the schema has as `json` stays whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any

from millstream.formats.json_path import variant_base
from millstream.formats.key_names import EMPTY, HINT
from millstream.formats.system_columns import free_column
from millstream.receipts.canonical import UncountableError, UnknownValueError

if TYPE_CHECKING:
    import dlt

_PLAIN = frozenset({str, int, float, bool, NoneType})
_WRAPPED = (list, str, int, float, Decimal, date, time, bytes, NoneType)
"""What as a row becomes an object with the key `value`."""
Column = tuple[str, str]
"""A table, and a column of it; of a variant the column that it is one of."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row of a table, as the source's row makes it.

    Attributes:
        parent: the number of its parent among the rows of one source row; the first is the root.
        position: in its list.
        values: by column, without nulls; `whole` are the columns that hold JSON.
    """

    table: str
    parent: int
    position: int
    values: Mapping[str, Any]
    whole: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the value of a key goes.

    Attributes:
        path: the names that lead to it from the row of its table on.
        is_json: whether objects and lists stay whole in its column.
    """

    path: tuple[str, ...]
    column: str
    is_json: bool
    is_data: bool


class Layout:
    """The tables of one root table.

    Args:
        names_keys: whether keys are named by Millstream's rule; else by dlt's.
        dialect: of the destination's SQL; it refuses some names.
    """

    def __init__(
        self, schema: dlt.Schema, root: str, *, names_keys: bool, dialect: str | None
    ) -> None:
        self.root = root
        self.parents: dict[str, tuple[str, ...]] = {}
        """By table, parents first, the tables that its rows may hang on. These are several where a
        field is an object in one row and a list of objects in another."""
        self.bases: dict[str, dict[str, str]] = {}
        """By table, the column that each column is, or is a variant of."""
        self.types: dict[str, dict[str, str]] = {}
        self.load_id, self.row_id, self.parent_id, self.list_idx = map(
            schema.naming.normalize_identifier,
            ("_dlt_load_id", "_dlt_id", "_dlt_parent_id", "_dlt_list_idx"),
        )
        self._naming, self._dialect = schema.naming, dialect
        self._own = schema.version_table_name[: -len("version")]
        self._whole: set[Column] = set()
        below = {root: ""}
        for name in [*schema.tables]:
            self._add_below(schema, name, below)
        for name in below:
            self._take(name, schema.tables[name]["columns"])
        parents = {
            name: tuple(
                each
                for each in below
                if each == parent or name.startswith(f"{each}{schema.naming.PATH_SEPARATOR}")
            )
            for name, parent in below.items()
        }

        @cache
        def depth(name: str) -> int:
            return 1 + max(map(depth, parents[name]), default=0)

        self.parents = {name: parents[name] for name in sorted(parents, key=depth)}
        self._names: dict[tuple[str, ...], dict[str, str]] = {}
        self._names_keys = names_keys
        self._places: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[Any, _Place]] = {}
        """Each is found once."""
        for hint, key in schema.tables[root].items() if names_keys else ():
            if hint.startswith(HINT):
                *above, its = hint[len(HINT) :].split(".")
                self._names.setdefault((*above,), {})[str(key)] = its
        self._joined = cache(self._naming.shorten_fragments)
        self._plain = cache(lambda key: self._naming.normalize_path(key) if key.strip() else EMPTY)

    def rows(self, row: Any) -> Iterator[SourceRow]:
        """The rows of all tables that a source's row becomes, parents first.

        Raises:
            UnknownValueError: it has something that no rule speaks of.
        """
        if not isinstance(row, Mapping):
            if not isinstance(row, _WRAPPED):
                raise UnknownValueError(f"a row is a {type(row).__name__}")
            row = {"value": row}
        waiting: list[tuple[tuple[str, ...], int, int, Mapping[str, Any]]] = [((), -1, 0, row)]
        for number, (base, parent, position, given) in enumerate(waiting):
            table = self._joined(self.root, *base) if base else self.root
            values, whole, lists = self._flattened(table, base, given)
            yield SourceRow(table, parent, position, values, frozenset(whole))
            for path, items in lists.items():
                for at, item in enumerate(items):
                    if isinstance(item, list | tuple):
                        item = {"list": item}
                    elif not isinstance(item, Mapping):
                        item = _Wrapped(item)
                    waiting.append(((*base, *path), number, at, item))

    def row_of_columns(self, row: Mapping[str, Any]) -> SourceRow:
        """A row of an Arrow table, whose columns dlt names, whatever keys other rows have."""
        named = ((free_column(self._plain(name), self._dialect), row[name]) for name in row)
        values = {each: value for each, value in named if value is not None and self.is_data(each)}
        return SourceRow(self.root, -1, 0, values)

    def above(self, table: str) -> list[str]:
        """The tables that a table's rows hang on, and that those hang on, parents first."""
        found: set[str] = set()
        waiting = [*self.parents.get(table, ())]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self.parents[name]
        return [name for name in self.parents if name in found]

    def is_data(self, column: str) -> bool:
        """Whether a column holds values of the source."""
        return not column.startswith(self._own)

    @staticmethod
    def _add_below(schema: dlt.Schema, name: str, below: dict[str, str]) -> None:
        """Note a table and the tables above it, if these lead to one that is noted."""
        way: list[tuple[str, str]] = []
        while name not in below:
            table: Any = schema.tables.get(name, {"columns": {}})
            parent = table.get("parent")
            if not parent or not any(
                column.get("data_type") for column in table["columns"].values()
            ):
                return
            way.append((name, parent))
            name = parent
        below.update(reversed(way))

    def _take(self, table: str, columns: Mapping[str, Any]) -> None:
        known = {
            str(name): str(column["data_type"])
            for name, column in columns.items()
            if column.get("data_type")
        }
        variants = {
            self._naming.shorten_fragments(name, f"v_{kind}"): name
            for name, column in columns.items()
            if not column.get("variant")
            for kind in {*known.values()}
        }
        self.types[table] = known
        self.bases[table] = bases = {}
        for name, kind in known.items():
            is_variant = columns[name].get("variant")
            bases[name] = variants.get(name) or variant_base(name, kind) if is_variant else name
            if kind == "json":
                self._whole.add((table, bases[name]))

    def _flattened(
        self, table: str, base: tuple[str, ...], row: Mapping[str, Any]
    ) -> tuple[dict[str, Any], set[str], dict[tuple[str, ...], Any]]:
        if isinstance(row, _Wrapped):
            kept = {} if row.item is None else {"value": row.item}
            return kept, set(), {}
        values: dict[str, Any] = {}
        whole: set[str] = set()
        lists: dict[tuple[str, ...], Any] = {}
        todo: list[tuple[Mapping[str, Any], tuple[str, ...]]] = [(row, ())]
        while todo:
            current, path = todo.pop()
            places = self._places.setdefault((base, path), {})
            for key, value in current.items():
                place = places.get(key)
                if place is None:
                    place = places[key] = self._place(table, base, path, key)
                values.pop(place.column, None)  # of two keys with one name the last one counts
                whole.discard(place.column)
                is_tree = type(value) not in _PLAIN and isinstance(value, Mapping | list | tuple)
                if is_tree and not place.is_json:
                    if isinstance(value, Mapping):
                        todo.append((value, place.path))
                    elif not self._names_keys and not key.strip():
                        # dlt has the rows of such a list among those of the table itself
                        raise UncountableError("a list has no name")
                    else:
                        lists[place.path] = value
                elif value is not None and place.is_data:
                    values[place.column] = value
                    if is_tree:
                        whole.add(place.column)
        return values, whole, lists

    def _place(self, table: str, base: tuple[str, ...], path: tuple[str, ...], key: str) -> _Place:
        here = (*path, self._name((*base, *path), key))
        name = self._joined(*here)
        column = free_column(name, self._dialect)
        return _Place(here, column, (table, name) in self._whole, self.is_data(column))

    def _name(self, path: tuple[str, ...], key: Any) -> str:
        if not isinstance(key, str):
            raise UnknownValueError("a key that is not a text")
        if not self._names_keys:
            return str(self._plain(key))
        found = self._names.get(path, {}).get(key)
        # a key that only ever was null or empty has no name, and no value
        return str(self._plain(key)) if found is None else found


class _Wrapped(dict[str, Any]):
    """An item of a list that is not an object: the column `value` of a row of its own."""

    def __init__(self, item: Any) -> None:
        super().__init__()
        self.item = item
