"""However a load is written: no alarm where nothing was altered, and one where something was."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from millstream.config import PipelineConfig
from millstream.runs.audit import audit_loads
from millstream.runs.runner import replay, run
from receipts.kit import problems, unchecked
from services.places import Place

Rows = list[dict[str, Any]]

WRITES: dict[str, dict[str, Any]] = {
    "append": {"write_disposition": "append"},
    "replace": {"write_disposition": "replace"},
    "merge": {"write_disposition": "merge", "primary_key": "id"},
    "upsert": {
        "write_disposition": {"disposition": "merge", "strategy": "upsert"},
        "primary_key": "id",
    },
    "insert-only": {
        "write_disposition": {"disposition": "merge", "strategy": "insert-only"},
        "primary_key": "id",
    },
    "scd2": {"write_disposition": {"disposition": "merge", "strategy": "scd2"}},
    "scd2, named columns": {
        "write_disposition": {
            "disposition": "merge",
            "strategy": "scd2",
            "validity_column_names": ["since", "until"],
        }
    },
    "deletions": {
        "write_disposition": "merge",
        "primary_key": "id",
        "columns": {"gone": {"data_type": "bool", "hard_delete": True}},
    },
}


def pipeline(project: Path, how: str, patch: pytest.MonkeyPatch, **more: Any) -> PipelineConfig:
    """Of a dlt source whose rows are in a file."""
    patch.syspath_prepend(project)
    module = re.sub(r"\W", "_", f"feed_{project.name}")  # modules are imported once
    (project / f"{module}.py").write_text(
        "import json, pathlib, dlt\n"
        "file = pathlib.Path(__file__).parent / 'rows.json'\n"
        f"@dlt.resource(**{WRITES[how]!r})\n"
        "def orders():\n"
        "    yield json.loads(file.read_text())\n"
    )
    return PipelineConfig.model_validate(
        {
            "name": "shop",
            "source": {"type": "dlt", "path": f"{module}:orders"},
            "destination": {"type": "duckdb", "database": "w.duckdb"},
            "project": project,
            "receipts": "sample",
            "schema_policy": "anything",
            **more,
        }
    )


def rounds(seed: int, how: str) -> Iterator[Rows]:
    """What a source has: rows come, change, go and come again."""
    dice = random.Random(seed)
    held: dict[int, dict[str, Any]] = {}
    for number in range(5):
        for key in dice.sample(range(30), 8):
            held[key] = {
                "id": key,
                "name": dice.choice(["a", "b", f"n{number}", None]),
                "at": f"2024-01-0{dice.randrange(1, 9)}T10:00:00Z",
                "n": dice.choice([1, 2.5, "x", True]),
                "lines": [{"sku": f"s{key}", "tags": [key, number]}] * dice.randrange(3),
            }
        gone = dice.sample(sorted(held), 3)
        rows = [{**row} for key, row in held.items() if key not in gone]
        dice.shuffle(rows)
        if how == "deletions":
            rows = [{**row, "gone": None} for row in rows[:10]]
            rows += [{"id": key, "gone": True} for key in [*gone, 99]]
        yield rows


OFTEN = ("deletions", "insert-only", "scd2")


@pytest.mark.parametrize(
    "how", [how if how in OFTEN else pytest.param(how, marks=pytest.mark.nightly) for how in WRITES]
)
def test_each_load_is_compared(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = pipeline(tmp_path, how, monkeypatch)
    for rows in rounds(1, how):
        (tmp_path / "rows.json").write_text(json.dumps(rows))
        report = run(config, "orders")
        assert problems(report) + unchecked(report) == []
        assert report.receipts[0].checked == sum(not row.get("gone") for row in rows)
    (load,) = audit_loads(config, ["orders"])
    assert (load.is_delivered, load.is_read_again) == (True, True)
    broken = break_one(tmp_path, how)
    (load,) = audit_loads(config, ["orders"], find=True)
    assert load.receipts[0].problems == ("column `name` differs",)
    assert load.found == (f"id = {broken}: differs",)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 110))
@pytest.mark.parametrize("how", WRITES)
@pytest.mark.parametrize("place", ["duckdb", "postgres"], indirect=True)
def test_many_loads(how: str, seed: int, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    coercion = "dlt" if seed % 3 == 0 else "exact"
    config = pipeline(
        place.project, how, monkeypatch, destination=place.destination, coercion=coercion
    )
    for rows in rounds(seed, how):
        (place.project / "rows.json").write_text(json.dumps(rows))
        report = run(config, "orders")
        assert problems(report) + unchecked(report) == []
    (load,) = audit_loads(config, ["orders"])
    assert load.is_delivered


def break_one(project: Path, how: str) -> int:
    """Change a row of the last load; its id."""
    until = "until" if "named" in how else "_dlt_valid_to"
    which = (
        f"{until} IS NULL"
        if how.startswith("scd2")
        else "_dlt_load_id = (SELECT max(load_id) FROM shop._dlt_loads "
        "WHERE schema_name NOT LIKE 'millstream%')"
    )
    with duckdb.connect(str(project / "w.duckdb")) as connection:
        (found,) = connection.execute(
            f"UPDATE shop.orders SET name = 'broken' WHERE id = "
            f"(SELECT min(id) FROM shop.orders WHERE {which} AND name IS NOT NULL) "
            f"AND {which} RETURNING id"
        ).fetchall()
    return int(found[0])


@pytest.mark.parametrize("how", ["insert-only", "scd2"])
def test_rows_that_a_load_lost(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its receipt is made."""
    from millstream.runs import stages
    from millstream.runs.stages import loading

    config = pipeline(tmp_path, how, monkeypatch)
    loads = list(rounds(3, how))
    (tmp_path / "rows.json").write_text(json.dumps(loads[0]))
    run(config, "orders")
    load = loading.load

    def lossy(*arguments: Any) -> Any:
        done = load(*arguments)
        pipeline = arguments[4]
        with pipeline.sql_client() as client:
            client.execute_sql("DELETE FROM orders WHERE name = 'n1'")
        return done

    monkeypatch.setattr(stages, "load", lossy)
    (tmp_path / "rows.json").write_text(json.dumps(loads[1]))
    report = run(config, "orders")
    lost = sum(row["name"] == "n1" for row in loads[1])
    assert lost > 1
    assert report.receipts[0].problems == (f"{lost} rows missing",)


def test_values_that_dlt_converts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = pipeline(tmp_path, "append", monkeypatch, coercion="dlt")
    first = {"id": 1, "zip": 5, "price": 1.5, "at": "2024-01-01T00:00:00Z", "is": True, "t": "x"}
    odd = {"id": "02", "zip": "02139", "price": "2", "at": "2024-02-03", "is": "no", "t": 5}
    none = {"id": 3, "zip": "none", "price": [1], "at": "never", "is": 0, "t": False}
    (tmp_path / "rows.json").write_text(json.dumps([first, odd, none]))
    report = run(config, "orders")
    assert problems(report) + unchecked(report) == []
    assert report.receipts[0].checked == 3
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("UPDATE shop.orders SET zip = 2138 WHERE zip = 2139")
    (load,) = audit_loads(config, ["orders"])
    assert load.receipts[0].problems == ("column `zip` differs",)


def test_rows_that_come_again_from_quarantine(tmp_path: Path) -> None:
    lines = ['{"id": 1, "n": 1, "at": "2024-01-01T00:00:00Z"}', '{"id": "x", "tags": [1, 2.5]}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    source = {"type": "files", "streams": {"orders": {"path": "*.jsonl", "primary_key": ["id"]}}}
    config = PipelineConfig.model_validate(
        {"name": "shop", "source": source, "project": tmp_path, "receipts": "sample"}
        | {"destination": {"type": "duckdb", "database": "w.duckdb"}}
    )
    report = run(config, "orders")
    assert problems(report) + unchecked(report) == []
    assert report.receipts[0].quarantined == 1
    text = '{"id": 7, "tags": [1, 2.5], "n": 4}'
    report, _ = replay(config, "orders", ids=[waiting(tmp_path)], corrected=text)
    assert problems(report) + unchecked(report) == []
    assert [each.checked for each in report.receipts] == [1, 1]


def waiting(project: Path) -> str:
    with duckdb.connect(str(project / "w.duckdb")) as connection:
        (row,) = connection.execute("SELECT id FROM shop._millstream_quarantine").fetchall()
    return str(row[0])


@pytest.mark.parametrize("coercion", ["exact", pytest.param("dlt", marks=pytest.mark.nightly)])
def test_a_mark_of_another_type_deletes_as_its_column_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coercion: str
) -> None:
    """A text among bools goes to a variant, and its row into the table, unless it is converted."""
    config = pipeline(tmp_path, "deletions", monkeypatch, coercion=coercion)
    loads = [
        [{"id": n, "gone": None} for n in range(4)],
        [{"id": 0, "gone": True}, {"id": 1, "gone": "true"}, {"id": 2, "gone": 1}],
    ]
    for rows in loads:
        (tmp_path / "rows.json").write_text(json.dumps(rows))
        report = run(config, "orders")
        assert problems(report) + unchecked(report) == []
    assert report.receipts[0].checked == (2 if coercion == "exact" else 0)
