"""What `millstream run` prints of a report, where a whole run would be long in coming."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from millstream.cli.report import report_lines, warned_lines
from millstream.model import Decision, Receipt, RunReport, SchemaChange, SchemaVersion, TableLoad


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


def test_many_tables_and_changes_are_folded() -> None:
    names = ["orders", *(f"orders__list_{n}" for n in range(90))]
    tables = tuple(
        TableLoad(name, None if name == "orders" else "orders", 10, 20, 100, name) for name in names
    )
    added = tuple(
        replace(
            change("table_added", f"new table `{name}`"), table=name, column=None, severity="safe"
        )
        for name in names
    )
    gone = tuple(
        replace(change("column_gone", f"`f{n}` no longer arrives"), column=f"f{n}")
        for n in range(60)
    )
    held = replace(change("column_renamed", "`a` is gone"), severity="breaking")
    decisions = (Decision(each, "warn", "rule 1", "rule") for each in gone)
    lines = report_lines(
        report(*decisions, tables=tables, changes=(*added, *gone, held), history="h"), io.StringIO()
    )
    text = "\n".join(lines)
    assert len(lines) < 100
    assert "and 71 more tables     710     1,420  7.1 kB" in text
    assert "+ 91 new tables: orders, orders__list_0, " in text
    assert "and 71 more" in text
    assert "orders: `a` is gone" in text, "what is worse comes first"
    assert text.count("and 41 more") == 1
    assert "and 40 more" in text
    assert "`millstream schema log --stream orders --limit 0` has all" in text


def test_a_partition_is_named() -> None:
    head = report_lines(report(partition="eu"), io.StringIO())[0]
    assert head.startswith("shop.orders [eu] → duckdb")


def test_a_load_whose_values_were_not_compared_is_told() -> None:
    receipt = Receipt("orders", delivered=2, checked=0, unchecked="rows are alike")
    lines = report_lines(report(receipts=(receipt,)), io.StringIO())
    assert "  all rows arrived; values were not compared: rows are alike" in lines
