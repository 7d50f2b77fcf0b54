"""Rows that tell of a deletion: they take a row out, or say when it went, and hold little else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DELETED = "_deleted"
"""What our own sources call the column of rows that take a row out."""

MARKS_DELETIONS = "x-millstream-deletion"
"""Hint of a column whose values mark such rows, where dlt's own `hard_delete` would not do."""


def deletion_column(columns: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The column of a table in dlt's schema that marks rows as deletions; None where none does.

    >>> deletion_column({"id": {}, "gone": {"data_type": "bool", "hard_delete": True}})
    'gone'
    """
    for name, column in columns.items():
        if column.get("hard_delete") or column.get(MARKS_DELETIONS):
            return name
    return None
