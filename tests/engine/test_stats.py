"""What the workers of a load count is what the report of the load says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millstream.engine.column_batch import ColumnBatch
from millstream.engine.dlt.key_collisions import Collision
from millstream.engine.report import EngineReport, collect
from millstream.engine.stats import FileStats
from millstream.formats.engine_mode import EngineMode, current, replace
from millstream.model import Column, Decision, QuarantinedRows, SchemaChange
from millstream.quarantine.entry import Rejection

LOAD = "1.5"
ADDED = SchemaChange(
    kind="column_added",
    table="orders",
    column="vip",
    new="bool",
    severity="safe",
    message="is new",
    after=Column("vip", "bool"),
)
NEW_TABLE = SchemaChange(
    kind="table_added", table="orders__lines", severity="risky", message="is new"
)


@pytest.fixture(autouse=True)
def _a_run() -> Iterator[None]:
    mode = current()
    replace(EngineMode("columnar", is_run=True))
    yield
    replace(mode)


def save(folder: Path, file: str, load_id: str = LOAD, **counts: int) -> FileStats:
    stats = FileStats(f"/extracted/{file}")
    for engine, rows in counts.items():
        stats.count(engine, rows)
    stats.save(str(folder / "load"), load_id)
    return stats


def test_files_of_several_loads_add_up(tmp_path: Path) -> None:
    save(tmp_path, "a", millstream=5, dlt=1)
    save(tmp_path, "b", millstream=7)
    save(tmp_path, "a", load_id="2.5", dlt=2)
    assert collect(tmp_path, [LOAD, "2.5"]).rows == {"millstream": 12, "dlt": 3}
    assert collect(tmp_path, ["2.5"]).rows == {"dlt": 2}
    assert collect(tmp_path, ["3.5"]) == EngineReport()


def test_a_task_that_is_repeated_counts_once(tmp_path: Path) -> None:
    save(tmp_path, "a", millstream=5)
    save(tmp_path, "a", millstream=6)
    assert collect(tmp_path, [LOAD]).rows == {"millstream": 6}


def test_outside_of_a_run_nothing_is_written(tmp_path: Path) -> None:
    replace(EngineMode("columnar"))
    save(tmp_path, "a", millstream=5)
    assert list(tmp_path.iterdir()) == []


def test_quarantined_rows_are_numbered_and_summed(tmp_path: Path) -> None:
    numbers = []
    for file, rows in (("a", 2), ("b", 1)):
        stats = FileStats(file)
        for _ in range(rows):
            first = Rejection("refused", f"first of {file}", "orders__lines")
            numbers.append(stats.count_quarantined([first, Rejection("contract", "x", "orders")]))
        numbers.append(stats.count_quarantined([Rejection("contract", "another", "orders")]))
        stats.save(str(tmp_path / "load"), LOAD)
    assert numbers == [1, 2, 3, 1, 2]
    assert collect(tmp_path, [LOAD]).quarantined == (
        QuarantinedRows("orders__lines", "refused", "first of a", 3),
        QuarantinedRows("orders", "contract", "another", 2),
    )


def test_decisions_and_collisions_come_back_as_they_were(tmp_path: Path) -> None:
    decision = Decision(ADDED, "quarantine", "rule 2", "rule")
    other = Decision(NEW_TABLE, "hold", "preset evolve: risky", "preset")
    collisions = Collision("orders", "column", "id", ("Id", "id"))
    for file in ("a", "b"):
        stats = FileStats(file, outcomes=Counter(replayed=1), collisions=Counter({collisions: 2}))
        for each in (decision, decision, other):
            stats.refuse(each)
        stats.save(str(tmp_path / "load"), LOAD)
    report = collect(tmp_path, [LOAD])
    assert report.outcomes == {"replayed": 2}
    assert report.collisions == {collisions: 4}
    plain = replaced(decision, change=replaced(ADDED, after=None))
    assert report.refusals == (plain, other)


def test_profiles_of_several_files_are_one(tmp_path: Path) -> None:
    for file, values in (("a", [3, None]), ("b", [9])):
        stats = FileStats(file)
        batch: Any = ColumnBatch({"n": pa.array(values, pa.int64())}, len(values), {"n": 2})
        stats.profile.add("orders", batch)
        stats.save(str(tmp_path / "load"), LOAD)
    found = collect(tmp_path, [LOAD]).profile["orders"]["n"]
    assert (found.minimum, found.maximum, found.distinct) == (3, 9, 2)


def test_reasons_are_bounded() -> None:
    stats = FileStats("a")
    for number in range(50):
        stats.missed(f"reason {number}")
    for _ in range(3):
        stats.missed("reason 7")
        stats.missed("reason 40")
    assert len(stats.reasons) == 20
    assert stats.reasons["reason 7"] == 4
    assert "reason 40" not in stats.reasons
