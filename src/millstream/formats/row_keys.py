"""What rows call the columns of an Arrow table, where that is not the columns' own names.

A file's column has its name in the destination. Where rows are made of the table, the engine names
their keys anew, and knows those of a primary key by what the file calls them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_NOTE = b"millstream.row_keys"


def note(keys: Mapping[str, str]) -> Mapping[bytes, bytes]:
    """Metadata of a table with the keys of some columns, by their names."""
    return {_NOTE: json.dumps(keys).encode()} if keys else {}


def take(notes: dict[bytes, bytes]) -> Mapping[str, str]:
    """The keys that the metadata of a table has; they are taken out."""
    found: Mapping[str, str] = json.loads(notes.pop(_NOTE, b"{}"))
    return found


def called(table: pa.Table, keys: Mapping[str, str]) -> pa.Table:
    """The table as rows are to be made of it."""
    if not keys:
        return table
    return table.rename_columns([keys.get(name, name) for name in table.column_names])
