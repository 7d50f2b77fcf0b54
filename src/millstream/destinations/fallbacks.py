"""What dlt does instead, where a destination can't do what a resource asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dlt
    from dlt.common.schema.typing import TTableSchema


def can_merge(pipeline: dlt.Pipeline, table: TTableSchema) -> bool:
    """Whether rows of such a table can be updated, or taken out."""
    capabilities = pipeline.destination.capabilities()
    strategies = list(capabilities.supported_merge_strategies or ())
    if select := capabilities.merge_strategies_selector:
        strategies = list(select(strategies, table_schema=table))
    return bool(strategies)


def fallbacks(
    pipeline: dlt.Pipeline, schema: dlt.Schema, rows: Mapping[str, int]
) -> tuple[str, ...]:
    """One warning per root table that should merge but was appended to, so that rows double.

    Plain files hold no rows that could be updated: dlt's filesystem destination appends to them,
    and says so only in its log.

    Args:
        rows: by table, those that were loaded.
    """
    warnings = []
    for table in schema.data_tables():
        if table.get("parent") or table.get("write_disposition") != "merge":
            continue
        if not rows.get(str(table["name"])):
            continue
        if not can_merge(pipeline, table):
            kind = pipeline.destination.destination_name
            warnings.append(
                f"{table['name']}: rows were appended, not merged, since {kind} can't update its "
                "files: a row that was loaded before is duplicated; load into another dataset "
                "with `table_format: delta` or `iceberg`, or read the rows of the newest "
                "_dlt_load_id"
            )
    return tuple(warnings)
