"""Messages as runs compose them."""

from __future__ import annotations

from typing import Any

from millstream.alerts.message import Message, about, compose
from millstream.config import PolicyConfig
from millstream.model import Column, SchemaVersion, Table
from millstream.schema_changes import diff
from millstream.schema_changes.policy import decide


def message(
    *columns: str, pipeline: str = "shop", table: str = "orders", **context: Any
) -> Message:
    """Each column was a scalar and became an object, which is held."""
    old = tuple(Column(name, "text") for name in columns or ("user",))
    new = (*old, *(Column(f"{column.name}__x", "text") for column in old))
    changes = diff(
        SchemaVersion((Table(table, None, old),)), SchemaVersion((Table(table, None, new),))
    )
    decisions = decide(changes, PolicyConfig(), stream=table)
    with about(**context):
        found = compose(pipeline, table, decisions, {table: 1200}, at_least="safe")
    assert found is not None
    return found
