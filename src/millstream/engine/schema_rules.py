"""What the columnar pass asks of the schema that it fills; `dlt` answers with dlt's rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from millstream.engine.coercion_rules import TimeForm

Columns = MutableMapping[str, Mapping[str, Any]]
"""Column definitions by name, as dlt's schema holds them."""


class NotVectorizableError(Exception):
    """These rows can't be done exactly in columns; dlt's own normalizer takes them."""


class Rules(Protocol):
    """Naming, nesting and typing of one schema. No answer depends on those before."""

    value: str
    """The column that holds the items of a list of scalars."""

    marked: bool
    """Whether texts of this batch may be marked as other types by the extract step."""

    is_exact: bool
    """Whether a column takes only values that it gives back."""

    def column_name(
        self, above: tuple[str, ...], path: tuple[str, ...], key: str
    ) -> tuple[str, str]:
        """The column for `key` below the objects in `path`, and what `key` is called.

        Args:
            above: the names that lead to the table, its own included, from the root table on.
        """

    def list_name(self, above: tuple[str, ...], path: tuple[str, ...], key: str) -> str:
        """What `key` is called as part of a table's name."""

    def name_keys(self, above: tuple[str, ...], path: tuple[str, ...], keys: Iterable[str]) -> None:
        """Decide together what keys are called that come together."""

    def is_named(self, above: tuple[str, ...], path: tuple[str, ...], key: str) -> bool:
        """Whether it is decided what a key is called; if not, rows have to be looked at."""

    def table_name(self, path: tuple[str, ...]) -> str:
        """The table for the normalized path of list names from the root."""

    def stored_as_json(self, table: str, column: str, level: int) -> bool:
        """Whether objects and lists in this column stay JSON; `level` counts down to 0."""

    def check_table(self, table: str, root: bool) -> bool:
        """Whether rows for this table are wanted.

        Raises:
            NotVectorizableError: dlt must decide row by row.
        """

    def column(self, table: str, name: str) -> Mapping[str, Any] | None:
        """The complete definition of a column that is settled, else None."""

    def columns(self, table: str) -> Columns:
        """A copy of the table's columns, incomplete ones included; empty for a new table."""

    def filtered(self, table: str, column: str) -> bool:
        """Whether a contract discards this column's values.

        Raises:
            NotVectorizableError: it discards whole rows.
        """

    def time_texts(self, column: Mapping[str, Any]) -> TimeForm | None:
        """The texts that a column takes as times; None where all that dlt can parse."""

    def max_length(self, column: Mapping[str, Any]) -> int | None:
        """The characters or bytes that a column holds; None where that is not limited."""

    def allows_null(self, table: str, column: str) -> bool:
        """Whether an explicit null is allowed; also remembers columns that had nothing else."""

    def passthrough_types(self, column: Mapping[str, Any] | None) -> frozenset[type]:
        """Python types whose values a column takes as they are; none where it is not settled."""

    def coerce(
        self, columns: Columns, table: str, name: str, value: Any
    ) -> tuple[str, Mapping[str, Any] | None, Any]:
        """One value as dlt stores it: the column it goes to, that column if new, the value."""

    def too_large(
        self, columns: Columns, table: str, name: str, value: int
    ) -> tuple[str, Mapping[str, Any] | None, Any]:
        """The same for an integer that does not fit its column."""

    def arrow_type(self, column: Mapping[str, Any]) -> pa.DataType:
        """The Arrow type that dlt would write the column as."""

    def decode(self, value: Any) -> Any:
        """A marked text as what it stands for, such as a Decimal; objects and lists as copies."""

    def check_floats(self, values: Sequence[Any]) -> None:
        """Refuse floats that may have been integers beyond 64 bits before they were parsed."""

    def dumps(self, value: Any) -> str:
        """A JSON column's value as dlt writes it."""
