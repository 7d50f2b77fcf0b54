"""Columns of known types, as databases and typed files have them, and what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from millstream.formats.key_names import natural_name, snake_case

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal[
    "text",
    "bigint",
    "double",
    "decimal",
    "bool",
    "binary",
    "timestamp",
    "date",
    "time",
    "nested",
    "json",
    "any",
]
"""dlt's data types; `nested` is JSON that becomes columns and child tables, and `any` is known by
its values alone."""

NamesOf = Callable[[Sequence[str]], Mapping[str, str]]
"""From what a file calls its columns to their names, by these."""

UNBOUNDED = (38, 9)
"""Digits of a decimal without a limit of its own, as dlt has it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column that is read.

    Attributes:
        name: in the destination's table.
        source: in the database or the file.
        digits: of a decimal, all and behind the point.
        is_zoned: of a timestamp, whether it is a moment.
        is_text: whether the database is to cast it to text.
        is_single: of a double, whether its values have 24 bits in the database.
    """

    name: str
    source: str
    kind: Kind
    digits: tuple[int, int] = UNBOUNDED
    is_zoned: bool = False
    is_text: bool = False
    is_single: bool = False

    @property
    def hint(self) -> dict[str, Any] | None:
        """The column in dlt's schema; None where values tell what it is."""
        if self.kind in ("nested", "any"):
            return None
        found: dict[str, Any] = {"name": self.name, "data_type": self.kind}
        if self.kind == "decimal" and self.digits != UNBOUNDED:
            found["precision"], found["scale"] = self.digits
        if self.kind == "timestamp":
            found["timezone"] = self.is_zoned
        return found

    @property
    def arrow_type(self) -> pa.DataType | None:
        """The type of its values; None where they go value by value."""
        import pyarrow as pa

        if self.kind == "decimal":
            return pa.decimal128(*self.digits)
        if self.kind == "timestamp":
            return pa.timestamp("us", "UTC" if self.is_zoned else None)
        plain: Mapping[str, pa.DataType] = {
            "text": pa.string(),
            "bigint": pa.int64(),
            "double": pa.float64(),
            "bool": pa.bool_(),
            "binary": pa.binary(),
            "date": pa.date32(),
            "time": pa.time64("us"),
        }
        return plain.get(self.kind)


@dataclass(frozen=True, slots=True)
class Declared:
    """What the columns of the rows that follow are, whatever way they take.

    Attributes:
        hints: in dlt's schema.
        names: of the columns, by what the file calls them.
        keys: by the names of columns what rows call them, where that is another.
        decided: hints of the table, with the names that belong to a key from now on.
    """

    hints: Sequence[Mapping[str, Any]]
    names: Mapping[str, str]
    keys: Mapping[str, str] = field(default_factory=dict)
    decided: Mapping[str, str] = field(default_factory=dict)


def forget_sizes(known: Mapping[str, Any], hints: Iterable[Mapping[str, Any]]) -> None:
    """Take the digits of its former type from each column that gets another; dlt goes on with them.

    Args:
        known: the columns of the table in dlt's schema, which are changed.
        hints: those to come, by the same names.
    """
    for hint in hints:
        column: Any = known.get(hint["name"], {})
        if hint.get("data_type") not in (None, column.get("data_type")):
            for size in {"precision", "scale"}.difference(hint):
                column.pop(size, None)


LINKS: tuple[Mapping[str, Any], ...] = (
    {"name": "_dlt_load_id", "data_type": "text", "nullable": False},
    {"name": "_dlt_id", "data_type": "text", "nullable": False, "unique": True, "row_key": True},
)
"""Hints of a table, with which Arrow tables get these columns, too: other rows fit beside."""


def column_names(
    keys: Sequence[str],
    primary: Sequence[str] = (),
    known: Mapping[str, str] = MappingProxyType({}),
    natural: Callable[[str], str] | None = None,
) -> Mapping[str, str]:
    """The destination's names of columns: dlt's snake case, each of one column alone.

    Args:
        primary: keys that are named before others, as those of a primary key are.
        known: keys of columns that the table has, by these.
        natural: what a key is called where no other has the name.

    >>> column_names(["id", "createdAt", "Größe", "ID"])
    {'id': 'id', 'createdAt': 'created_at', 'Größe': 'grosse', 'ID': 'id_x89f89c'}
    >>> column_names(["id", "ID"], primary=["ID"])
    {'id': 'id_x87ea5d', 'ID': 'id'}
    >>> column_names(["id", "ID"], known={"id": "ID"}), column_names(["Id"], known={"id": "ID"})
    ({'id': 'id_x87ea5d', 'ID': 'id'}, {'Id': 'id'})
    """
    find = natural or (lambda key: natural_name(key, snake_case().normalize_identifier))
    come = {*keys}
    named = {key: name for name, key in known.items() if key in come}
    taken = {*named.values()}
    names = {key: find(key) for key in keys if key not in named}
    rivals = Counter(names.values())
    primary = primary_roots(primary)
    first = [names[key] for key in primary if key in names]

    def is_free(key: str, name: str) -> bool:
        if name.startswith("_dlt_") or name in taken:
            return False
        if first.count(name) == 1:
            return key in primary
        return key == name or rivals[name] == 1

    chosen = {
        key: name if is_free(key, name) else _name_apart(key, name) for key, name in names.items()
    }
    return {key: named.get(key) or chosen[key] for key in keys}


def column_name(key: str) -> str:
    """The name of the column of a key that is alone."""
    return column_names([key])[key]


def stored_name(key: str, columns: Container[str]) -> str | None:
    """The name that a key has among the columns of a table; None where it has none.

    >>> stored_name("ID", {"id", "id_x89f89c"}), stored_name("ID", {"id"}), stored_name("n", {"id"})
    ('id_x89f89c', 'id', None)
    """
    name = column_name(key)
    return next((each for each in (_name_apart(key, name), name) if each in columns), None)


def _name_apart(key: str, name: str) -> str:
    """What a key is called where another one has the name."""
    return f"{name}_x{sha1(key.encode(), usedforsecurity=False).hexdigest()[:6]}"


def primary_roots(primary: Sequence[str]) -> Sequence[str]:
    """A primary key, and the columns that its paths may begin with."""
    return [*dict.fromkeys([*primary, *(key.partition(".")[0] for key in primary)])]
