"""What kind a destination is, and whether it holds tables that can be queried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.sql_client import SqlClientBase


def sql_client(pipeline: dlt.Pipeline, schema_name: str | None = None) -> SqlClientBase[Any] | None:
    """A client, not connected yet; None where nothing can be queried: a function, a queue.

    Args:
        schema_name: of the schema whose tables are asked for; the pipeline's own where left out.
    """
    from dlt.common.destination.exceptions import SqlClientNotAvailable

    try:
        return pipeline.sql_client(schema_name) if schema_name else pipeline.sql_client()
    except (SqlClientNotAvailable, NotImplementedError):
        return None


def kind_of(destination: Any) -> str:
    """A dlt destination's kind, whatever name it was given: `duckdb`, `filesystem`, ..."""
    return str(destination.destination_type).rsplit(".", 1)[-1]
