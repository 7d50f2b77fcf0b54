"""Which rows of the source tell of a deletion, by what the destination's column takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from millstream.formats.deletions import deletion_column

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]00:?00)?")
_NUMBERS = ("bigint", "double", "decimal", "wei")


@dataclass(frozen=True, slots=True)
class DeletionMark:
    """A column of marks: a value of another type goes to a variant, and deletes nothing.

    >>> DeletionMark("gone", "bool").is_in({"gone": True})
    True
    >>> DeletionMark("gone", "bool").is_in({"gone": "true"})
    False
    """

    column: str
    data_type: str

    @classmethod
    def of(cls, columns: Mapping[str, Mapping[str, Any]]) -> DeletionMark | None:
        """That of a table in dlt's schema; None where rows tell of no deletions."""
        name = deletion_column(columns)
        return None if name is None else cls(name, str(columns[name].get("data_type")))

    def is_in(
        self, values: Mapping[str, Any], as_stored: Callable[[Any, str], Any] | None = None
    ) -> bool:
        """Whether a row, by its columns as the source has their values, tells of a deletion.

        Args:
            as_stored: what the column has of a value, where that is converted.
        """
        value = values.get(self.column)
        if as_stored is not None and value is not None:
            value = as_stored(value, self.data_type)
        if value is None or self.data_type == "bool":
            return value is True
        if self.data_type == "text":
            return isinstance(value, str)
        if self.data_type in _NUMBERS:
            return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        if self.data_type == "timestamp":
            is_moment = isinstance(value, str) and bool(_MOMENT.fullmatch(value))
            return isinstance(value, datetime) or is_moment
        return value is not False
