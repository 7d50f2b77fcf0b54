"""What `millstream run` prints of a report, where a whole run would be long in coming."""

from __future__ import annotations

import io
from datetime import datetime, timezone
from typing import Any

from millstream.cli.report import warned_lines
from millstream.model import Decision, RunReport, SchemaChange, SchemaVersion


def report(*decisions: Decision, **more: Any) -> RunReport:
    made: dict[str, Any] = {
        "pipeline": "shop",
        "stream": "orders",
        "destination": "duckdb",
        "dataset": "shop",
        "load_id": "1",
        "started_at": datetime(2024, 1, 1, tzinfo=timezone.utc),
        "seconds": {},
        "tables": (),
        "changes": (),
        "schema": SchemaVersion(),
        "decisions": decisions,
    }
    return RunReport(**{**made, **more})


def change(kind: Any, message: str) -> SchemaChange:
    return SchemaChange(
        kind=kind,
        table="orders",
        column="n",
        old="bigint",
        new="text",
        severity="risky",
        message=message,
    )


def test_a_change_that_two_packages_of_a_run_have_is_told_once() -> None:
    again = Decision(change("variant_added", "now also text"), "warn", "rule 1", "rule")
    lines = warned_lines(report(again, again), io.StringIO())
    assert lines[1] == "  1 warning by the schema policy"
    assert sum("now also text" in line for line in lines) == 1


def test_shares_are_told_where_a_rule_asks_for_it() -> None:
    moved = change("null_share_changed", "is null in 50%")
    assert (
        warned_lines(
            report(Decision(moved, "warn", "preset evolve: risky", "preset")), io.StringIO()
        )
        == []
    )
    assert warned_lines(report(Decision(moved, "warn", "rule 1", "rule")), io.StringIO())
