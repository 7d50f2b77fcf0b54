"""What keys documents have, and which column or table each goes to: learned, and kept.

A plan only knows columns and tables that the schema has. What it has no way for is unfit, until
the rows that taught the schema have been through Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from millstream.engine.bson import documents as bson
from millstream.engine.bson.documents import Key
from millstream.engine.coercion_rules import TimeForm
from millstream.engine.flatten import MANY_LEVELS, FlatTable
from millstream.engine.schema_rules import NotVectorizableError, Rules

MOST_KEYS = 512
"""Of one object: more are data used as keys, and each key is a step for all documents."""

_INTEGERS = frozenset((bson.INT, bson.LONG))
_TEXTS = frozenset((bson.TEXT, bson.SYMBOL))

# which BSON types a column of this type and Arrow type holds exactly
_FITS: dict[str, tuple[Callable[[pa.DataType], bool], frozenset[int]]] = {
    "text": (pa.types.is_string, _TEXTS | {bson.OBJECT_ID, bson.BINARY}),
    "bigint": (pa.types.is_int64, _INTEGERS),
    "double": (pa.types.is_float64, _INTEGERS | {bson.DOUBLE}),
    "bool": (pa.types.is_boolean, frozenset((bson.BOOL,))),
    "timestamp": (
        lambda to: bool(pa.types.is_timestamp(to) and to.unit == "us" and to.tz in (None, "UTC")),
        frozenset((bson.DATE, bson.TEXT)),
    ),
    "binary": (pa.types.is_binary, frozenset((bson.BINARY,))),
    "decimal": (pa.types.is_decimal128, frozenset((bson.DECIMAL,))),
}

# what an `_id` that is a key must be
_KEYS = {
    "any": frozenset((bson.OBJECT_ID, bson.TEXT)),
    "any_uuid": frozenset((bson.OBJECT_ID, bson.TEXT, bson.BINARY)),
    "oid": frozenset((bson.OBJECT_ID,)),
    "uuid": frozenset((bson.BINARY,)),
    "text": frozenset((bson.TEXT,)),
    "int": _INTEGERS,
    "date": frozenset((bson.DATE,)),
}


@dataclass(slots=True, eq=False)
class Table:
    """A table that rows go to: the root, or one list's.

    Compared by identity, since a name is not enough: `a: {b: [1]}` and `a: [{b: [2]}]` share the
    table `a__b`, and the parents of its rows are in two tables.
    """

    name: str
    path: tuple[str, ...]
    own: tuple[str, ...]
    parent: Table | None = None

    @property
    def above(self) -> tuple[str, ...]:
        """The names that lead to it from the root table on, its own included."""
        return (*self.path, *self.own)


@dataclass(slots=True, eq=False)
class ColumnValues:
    """A column that values go to.

    Attributes:
        required: whether the column has no nulls.
        key: whether it is the root's `_id`, which tells documents apart: `any`, `text` and so on.
        texts: the texts that a column of times takes; None for all that dlt can parse.
    """

    table: Table
    name: str
    data_type: str
    type: pa.DataType
    required: bool
    key: str | None = None
    texts: TimeForm | None = None


@dataclass(slots=True, eq=False)
class Null:
    """An explicit null, under a key that may have no column yet."""

    table: Table
    name: str


@dataclass(slots=True, eq=False)
class Stamp:
    """A timestamp of MongoDB's: seconds, and a counter within the second."""

    seconds: ColumnValues
    counter: ColumnValues


@dataclass(slots=True, eq=False)
class Object:
    """An object whose keys are columns of a table; the documents themselves are one, too.

    Attributes:
        names: what its keys are called, normalized.
    """

    table: Table
    path: tuple[str, ...]
    fields: list[Field] = field(default_factory=list)
    known: dict[bytes, Field] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class Array:
    """A list, whose elements are rows of a child table.

    Attributes:
        value: elements that are neither objects nor lists.
        inner: lists, which dlt treats as an element's key `list`.
        rows: objects.
        ready: whether the schema has the table; only empty lists can do without.
    """

    table: Table
    value: Field
    inner: Field
    rows: Object
    ready: bool = False


Way = ColumnValues | Null | Stamp | Object | Array


@dataclass(slots=True, eq=False)
class Field:
    """One key of an object, or the elements of a list.

    Attributes:
        ways: by BSON type, where its values go; None where there is no way now.
    """

    key: Key
    inside: Object
    name: str | None = None
    own: str = ""
    ways: dict[int, Way | None] = field(default_factory=dict)
    object: Object | None = None
    array: Array | None = None


class Plan:
    """Ways for the documents of one root table.

    Args:
        key: what the root's `_id` is, None for a field like any other.
        reserved: normalized names that a key may not take as they are.
        has_table: whether the schema has a table and the columns that link it.
    """

    def __init__(
        self,
        root: str,
        rules: Rules,
        has_table: Callable[[FlatTable], bool],
        *,
        key: str | None,
        reserved: frozenset[str],
        extra: Mapping[str, object],
    ) -> None:
        self._rules = rules
        self._has_table = has_table
        self._key = key
        self._reserved = reserved
        self._tables: dict[str, tuple[str, ...]] = {root: (root,)}
        self._unfit: list[tuple[Field, int]] = []
        self._missing: list[Array] = []
        self._unnamed: list[tuple[Field, bool]] = []
        self._claims: dict[tuple[str, str], object] = {}
        self.table = Table(root, (), (root,))
        self.root = Object(self.table, ())
        for name in extra:
            self._claims[root, rules.column_name(self.table.above, (), name)[0]] = None
        if key is not None:
            self._claims[root, "_id"] = ((), b"_id")

    def field(self, inside: Object, key: bytes, after: int) -> Field | None:
        """A new field of an object, at a place among its fields; None where it can't have one."""
        if len(inside.fields) >= MOST_KEYS or len(key) > bson.LONGEST_KEY:
            return None
        found = inside.known[key] = self._named(Field(Key(key), inside))
        inside.fields.insert(after, found)
        return found

    def way(self, each: Field, kind: int) -> Way | None:
        """Where values of a BSON type under a key go."""
        try:
            found = self._way(each, kind)
        except NotVectorizableError:
            found = None
        each.ways[kind] = found
        if found is None:
            self._unfit.append((each, kind))
        return found

    def forget(self) -> None:
        """The schema may have changed: look again for what had no way."""
        for each, kind in self._unfit:
            each.ways.pop(kind, None)
        self._unfit = []
        unnamed, self._unnamed = self._unnamed, []
        for each, is_key in unnamed:
            self._named(each, is_key=is_key)
        missing, self._missing = self._missing, []
        for array in missing:
            self._look(array)

    def beside(self, name: str) -> ColumnValues:
        """The column that holds the same for all rows.

        Raises:
            NotVectorizableError: the schema has none.
        """
        return self._leaf(self.table, self._rules.column_name(self.table.above, (), name)[0])

    def _named(self, each: Field, *, is_key: bool = True) -> Field:
        inside = each.inside
        try:
            key = each.key.name.decode()
            if not self._rules.is_named(inside.table.above, inside.path, key):
                self._unnamed.append((each, is_key))
                return each
            name, own = self._rules.column_name(inside.table.above, inside.path, key)
        except (UnicodeDecodeError, NotVectorizableError):
            return each
        if not is_key:  # lists within a list, to which dlt gives this name
            each.name, each.own = name, own
            return each
        # a reserved name, or one that two keys share, is settled by the source
        if own not in self._reserved and own not in each.inside.names and key != "$ref":
            each.inside.names.add(own)
            each.name, each.own = name, own
        return each

    def _way(self, each: Field, kind: int) -> Way | None:
        if each.name is None or not bson.KNOWN[kind]:
            return None
        inside, rules = each.inside, self._rules
        table = inside.table
        if self._key is not None and inside is self.root and each.key.name == b"_id":
            leaf = self._leaf(table, each.name, self._key)
            return leaf if kind in _KEYS[self._key] and self._fits(leaf, kind) else None
        if kind == bson.OBJECT:
            if rules.stored_as_json(table.name, each.name, MANY_LEVELS):
                return None
            each.object = each.object or Object(table, (*inside.path, each.own))
            return each.object
        if kind == bson.ARRAY:
            return self._array(each)
        if kind == bson.STAMP:
            made = Object(table, (*inside.path, each.own))
            columns = {key: rules.column_name(table.above, made.path, key)[0] for key in ("t", "i")}
            seconds, counter = (
                self._leaf(table, self._claimed(made, key.encode(), name))
                for key, name in columns.items()
            )
            ok = seconds.data_type == counter.data_type == "bigint"
            return Stamp(seconds, counter) if ok else None
        self._claimed(inside, each.key.name, each.name)
        if kind == bson.NULL:
            return Null(table, each.name)
        leaf = self._leaf(table, each.name)
        return leaf if self._fits(leaf, kind) else None

    def _array(self, each: Field) -> Array | None:
        rules, above = self._rules, each.inside
        if rules.stored_as_json(above.table.name, each.name or "", MANY_LEVELS):
            return None
        if each.array is None:
            key = each.key.name.decode()
            own = (*above.path, rules.list_name(above.table.above, above.path, key))
            path = above.table.path + above.table.own
            table = Table(rules.table_name(path + own), path, own, above.table)
            if not table.name or self._tables.setdefault(table.name, path + own) != path + own:
                return None
            rows = Object(table, ())
            value = Field(Key(rules.value.encode()), rows, rules.value, rules.value)
            inner = self._named(Field(Key(b"list"), rows), is_key=False)
            array = Array(table, value, inner, rows)
            each.array = array
        self._look(each.array)
        return each.array

    def _look(self, array: Array) -> None:
        name = array.table.name
        try:
            array.ready = self._rules.check_table(name, root=False) and self._has_table(
                FlatTable(name, (), (), 0, 0, (), _ROOT)
            )
        except NotVectorizableError:
            array.ready = False
        if not array.ready:
            self._missing.append(array)

    def _leaf(self, table: Table, name: str, key: str | None = None) -> ColumnValues:
        column = self._rules.column(table.name, name)
        if column is None:
            raise NotVectorizableError(f"{table.name}.{name} is new")
        if self._rules.max_length(column) is not None:
            raise NotVectorizableError(f"{table.name}.{name} has a limited length")
        to = self._rules.arrow_type(column)
        required = not column.get("nullable", True)
        texts = self._rules.time_texts(column)
        return ColumnValues(table, name, column["data_type"], to, required, key, texts)

    @staticmethod
    def _fits(leaf: ColumnValues, kind: int) -> bool:
        right, kinds = _FITS.get(leaf.data_type, (None, frozenset[int]()))
        return right is not None and right(leaf.type) and kind in kinds

    def _claimed(self, inside: Object, key: object, name: str) -> str:
        mine = (inside.path, key)
        if self._claims.setdefault((inside.table.name, name), mine) != mine:
            raise NotVectorizableError(f"two keys for column {inside.table.name}.{name}")
        return name


_ROOT = FlatTable("", (), (), 0, 0, ())
