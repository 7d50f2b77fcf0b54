"""The rows of the history: the tables that they are in, and what a report adds to each."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from hashlib import sha256
from struct import pack, unpack
from typing import Any, Literal

from millstream.model import ColumnProfile, RunReport
from millstream.schema_changes import accepted_file
from millstream.schema_changes.diff import DATA_ALONE
from millstream.schema_changes.evaluate import fingerprint
from millstream.schema_changes.profile import profile_of, settled
from millstream.schema_changes.sketch import SIZE

HistoryTable = Literal[
    "_millstream_schema_versions",
    "_millstream_schema_changes",
    "_millstream_profiles",
    "_millstream_loads",
]
CHANGES: HistoryTable = "_millstream_schema_changes"
PARTITION = "partition_key"
"""A column that tables of earlier versions lack until the next load: asked for by itself."""
_RUN = {
    "pipeline": "text",
    "stream": "text",
    "load_id": "text",
    "recorded_at": "timestamp",
}
# in the destination a word such as `table` or `new` would have to be quoted by every reader
COLUMNS: dict[HistoryTable, dict[str, str]] = {
    "_millstream_schema_versions": {
        **_RUN,
        "version": "text",
        "table_count": "bigint",
        "column_count": "bigint",
        "definition": "text",
    },
    "_millstream_schema_changes": {
        **_RUN,
        "change_id": "text",
        "position": "bigint",
        "kind": "text",
        "table_name": "text",
        "column_name": "text",
        "was": "text",
        "is_now": "text",
        "severity": "text",
        "action": "text",
        "reason": "text",
        "message": "text",
        "row_count": "bigint",
    },
    "_millstream_profiles": {
        **_RUN,
        "table_name": "text",
        "column_name": "text",
        "row_count": "bigint",
        "present": "bigint",
        "nulls": "bigint",
        "minimum": "text",
        "maximum": "text",
        "distinct_count": "bigint",
        "longest": "bigint",
        "sketch": "text",
        "is_settled": "bool",
    },
    "_millstream_loads": {
        **_RUN,
        "started_at": "timestamp",
        "seconds": "double",
        "steps": "text",
        "row_count": "bigint",
        "byte_count": "bigint",
        "table_rows": "text",
        PARTITION: "text",
    },
}


def rows_of(report: RunReport) -> dict[HistoryTable, list[dict[str, Any]]]:
    """The rows that a report adds to each table of the history."""
    run = _run_of(report)
    return {
        "_millstream_schema_versions": _version_rows(report, run),
        "_millstream_schema_changes": _change_rows(report, run),
        "_millstream_profiles": _profile_rows(report, run),
        "_millstream_loads": _load_rows(report, run),
    }


def open_rows(report: RunReport) -> list[dict[str, Any]]:
    """As of the loads in `rows_of`, of a load that is not sent yet: without `seconds`."""
    rows = _load_rows(report, _run_of(report), even_empty=True)
    return [{**row, "seconds": None} for row in rows]


def profile_from(row: Mapping[str, Any]) -> ColumnProfile:
    """What a row of the profiles says of one column in one load."""
    return ColumnProfile(
        rows=row["row_count"],
        present=row["present"],
        nulls=row["nulls"],
        minimum=row["minimum"],
        maximum=row["maximum"],
        distinct=row["distinct_count"],
        longest=row["longest"],
        sketch=_unpacked(row["sketch"]),
    )


def _run_of(report: RunReport) -> dict[str, Any]:
    return {
        "pipeline": report.pipeline,
        "stream": report.stream,
        "load_id": report.load_id,
        "recorded_at": datetime.now(timezone.utc),
    }


def _version_rows(report: RunReport, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    if all(change.kind in DATA_ALONE for change in report.changes):
        return []
    definition = accepted_file.render({report.stream: report.schema}, header=False)
    return [
        {
            **run,
            "version": sha256(definition.encode()).hexdigest()[:16],
            "table_count": len(report.schema.tables),
            "column_count": sum(len(table.columns) for table in report.schema.tables),
            "definition": definition,
        }
    ]


def _change_rows(report: RunReport, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    decided = {fingerprint(decision.change): decision for decision in report.decisions}
    # a change of the file's making (accepted ahead) has no decision; one that the destination
    # does not show (a jump of the null share) is no change of the schema: tell both
    told = {fingerprint(change): change for change in report.changes}
    told.update({name: decision.change for name, decision in decided.items()})
    rows = {table.name: table.rows for table in report.tables}
    return [
        {
            **run,
            "change_id": name,
            "position": position,
            "kind": change.kind,
            "table_name": change.table,
            "column_name": change.column,
            "was": change.old,
            "is_now": change.new,
            "severity": change.severity,
            "action": decided[name].action if name in decided else "allow",
            "reason": decided[name].reason if name in decided else "accepted",
            "message": change.message,
            "row_count": rows.get(change.table, 0),
        }
        for position, (name, change) in enumerate(told.items())
    ]


def _profile_rows(report: RunReport, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    profile = profile_of(report.schema)
    decided = settled(report.decisions, profile)
    return [
        {
            **run,
            "table_name": table,
            "column_name": name,
            "row_count": seen.rows,
            "present": seen.present,
            "nulls": seen.nulls,
            "minimum": _words(seen.minimum),
            "maximum": _words(seen.maximum),
            "distinct_count": seen.distinct,
            "longest": seen.longest,
            "sketch": _packed(seen.sketch[:SIZE]),
            "is_settled": (table, name) in decided,
        }
        for table, columns in profile.items()
        for name, seen in columns.items()
        if seen.rows or (table, name) in decided
    ]


def _load_rows(
    report: RunReport, run: Mapping[str, Any], *, even_empty: bool = False
) -> list[dict[str, Any]]:
    tables = {table.name: table.rows for table in report.tables}
    if report.load_id is None or not (even_empty or any(tables.values())):
        return []  # there was nothing to load
    return [
        {
            **run,
            "started_at": report.started_at,
            "seconds": report.total_seconds,
            "steps": json.dumps({step: round(s, 3) for step, s in report.seconds.items()}),
            "row_count": report.rows,
            "byte_count": sum(table.bytes for table in report.tables),
            "table_rows": json.dumps(tables),
            PARTITION: report.partition,
        }
    ]


def _words(value: object) -> str | None:
    return None if value is None else str(value)


def _packed(sketch: tuple[int, ...]) -> str | None:
    return base64.b64encode(pack(f">{len(sketch)}Q", *sketch)).decode() if sketch else None


def _unpacked(text: str | None) -> tuple[int, ...]:
    data = base64.b64decode(text or "")
    return unpack(f">{len(data) // 8}Q", data)
