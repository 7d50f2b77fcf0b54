"""What one run did to one table, as the metadata of its asset. Made from the RunReport only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, repeat
from typing import Any

import dagster as dg

from millstream.model import RunReport, SchemaChange, TableLoad
from millstream.orchestration.columns import table_schema
from millstream.orchestration.specs import split

_CHANGES = dg.TableSchema(
    columns=[
        dg.TableColumn("table"),
        dg.TableColumn("column", description="Empty where the change is of the whole table."),
        dg.TableColumn("change"),
        dg.TableColumn("before", description="Empty where there was nothing before."),
        dg.TableColumn("now", description="Empty where there is nothing now."),
        dg.TableColumn(
            "severity", description="`safe` never breaks a reader, `risky` may, `breaking` will."
        ),
        dg.TableColumn("meaning"),
    ]
)


def stream_metadata(report: RunReport, own: str | None = None) -> dict[str, Any]:
    """Of the stream's own table: all schema changes first, its rows, the whole run's time.

    Args:
        own: the table's name as `split` takes it; the stream's where left out.
    """
    root, _ = split(report.tables, report.stream if own is None else own)
    metadata: dict[str, Any] = {}
    if report.warnings:
        metadata["warnings"] = dg.MetadataValue.md("".join(f"- {w}\n" for w in report.warnings))
    if report.skipped:
        metadata["skipped"] = dg.MetadataValue.table(
            records=[
                dg.TableRecord({"part": each.name, "reason": each.reason, "detail": each.detail})
                for each in report.skipped
            ]
        )
    metadata |= _changes(report.changes)
    # where nothing has ever been loaded, there is no table; or there are several of equal rank
    metadata |= _of_table(report, root) if root else _of_tables(report)
    metadata |= _quarantine(report)
    if report.outdated:
        metadata["rows_outdated"] = sum(report.outdated.values())
    if report.deletions:
        metadata["rows_deleted"] = sum(report.deletions.values())
    if report.history:
        metadata["schema_history"] = dg.MetadataValue.md(
            f"`millstream schema log --stream {report.stream}`, or the table `{report.history}`"
        )
    metadata["seconds_total"] = round(report.total_seconds, 3)
    metadata["seconds_by_step"] = ", ".join(f"{s} {n:.2f}" for s, n in report.seconds.items())
    if report.engine_rows:
        metadata["rows_by_engine"] = dg.MetadataValue.json(dict(report.engine_rows))
    if report.engine_reasons:
        metadata["left_to_dlt"] = dg.MetadataValue.json(dict(report.engine_reasons))
    return metadata | _of_run(report)


def child_metadata(report: RunReport, table: TableLoad) -> dict[str, Any]:
    """Of a table below the stream's own: its rows and its schema changes."""
    changes = [change for change in report.changes if change.table == table.name]
    return _changes(changes) | _of_table(report, table) | _of_run(report)


def _of_run(report: RunReport) -> dict[str, Any]:
    metadata: dict[str, Any] = {"load_started": dg.MetadataValue.timestamp(report.started_at)}
    if report.load_id is not None:
        metadata["load_id"] = report.load_id
    return metadata


def _of_table(report: RunReport, table: TableLoad) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/table_name": table.full_name,
        "rows_loaded": table.rows,
        "bytes_loaded": table.bytes,
    }
    if table.rows_total is not None:
        metadata["dagster/row_count"] = table.rows_total
    if schema := report.schema.table.get(table.name):
        metadata["dagster/column_schema"] = table_schema(schema, report.changes)
    return metadata


def _of_tables(report: RunReport) -> dict[str, Any]:
    roots = [table for table in report.tables if table.parent is None]
    metadata: dict[str, Any] = {
        "rows_loaded": report.rows,
        "bytes_loaded": sum(table.bytes for table in roots),
    }
    if roots:
        names = "".join(f"- `{table.full_name}`\n" for table in roots)
        metadata["tables"] = dg.MetadataValue.md(names)
    return metadata


def _changes(changes: Sequence[SchemaChange]) -> dict[str, Any]:
    """The changes in words, as a table, and always their count, which Dagster plots."""
    count = {"schema_changes_count": len(changes)}
    if not changes:
        return count
    return {
        "schema_changes_explained": dg.MetadataValue.md(explain(changes)),
        "schema_changes": changes_table(changes),
        **count,
    }


def _quarantine(report: RunReport) -> dict[str, Any]:
    """What was quarantined; always a count, so that Dagster plots it."""
    metadata: dict[str, Any] = {
        "rows_quarantined": sum(each.rows for each in report.quarantined),
    }
    if report.quarantined:
        metadata["quarantined"] = dg.MetadataValue.table(
            records=[
                dg.TableRecord(
                    {
                        "table": each.table,
                        "reason": each.reason,
                        "rows": each.rows,
                        "meaning": each.example,
                    }
                )
                for each in report.quarantined
            ]
        )
    if report.replayed:
        metadata["rows_replayed"] = dg.MetadataValue.json(dict(report.replayed))
    return metadata


def changes_table(
    changes: Sequence[SchemaChange], more: Sequence[Mapping[str, str]] = ()
) -> dg.TableMetadataValue:
    """The changes, one a row; `more` has further columns, in the order of the changes."""
    columns = [dg.TableColumn(name) for name in (more[0] if more else ())]
    extras: Iterable[Mapping[str, str]] = more or repeat({})
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "table": change.table,
                    "column": change.column or "",
                    "change": change.kind.replace("_", " "),
                    "before": change.old or "",
                    "now": change.new or "",
                    "severity": change.severity,
                    "meaning": change.message,
                    **extra,
                }
            )
            for change, extra in zip(changes, extras)
        ],
        schema=dg.TableSchema(columns=[*_CHANGES.columns, *columns]),
    )


def explain(changes: Iterable[SchemaChange]) -> str:
    """Every change as one line of Markdown, below the name of its table."""
    parts = []
    for table, group in groupby(changes, key=lambda change: change.table):
        lines = [
            f"- {change.message}"
            + ("" if change.severity == "safe" else f" (**{change.severity}**)")
            for change in group
        ]
        parts.append(f"**{table}**\n\n" + "\n".join(lines))
    return "\n\n".join(parts) or "No schema changes."
