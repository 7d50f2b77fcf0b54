"""`millstream preview` shows what a run would load, and loads nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.places import NAME, Place
from services.processes import millstream

ROWS = [
    {"id": 1, "title": 'a "b"\n', "price": 1.5, "lines": [{"sku": "x", "n": [1, 2]}, {"sku": "y"}]},
    {"id": 2, "title": "", "price": None, "lines": []},
    {"id": 3, "title": "ž", "price": 2.0, "lines": [{"sku": "z", "n": [3]}]},
]


@pytest.fixture(
    params=[
        "duckdb",
        pytest.param("postgres", marks=pytest.mark.xdist_group("postgres")),
        pytest.param("bigquery", marks=[pytest.mark.xdist_group("bigquery"), pytest.mark.nightly]),
        "filesystem",
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = request.getfixturevalue(f"{request.param}_place")
    source = {"type": "files", "streams": {"orders": {"path": "*.jsonl"}}}
    attributes = {"name": NAME, "source": source, "destination": dict(made.destination)}
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "defs.yaml").write_text(
        json.dumps({"type": "millstream.Pipeline", "attributes": attributes})
    )
    write(tmp_path / "1.jsonl", *ROWS)
    return made


def write(file: Path, *rows: Any) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def preview(place: Place, *options: str) -> dict[str, Any]:
    done = millstream(place.project, "preview", "orders", "--json", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {**found, "tables": {table["name"]: table for table in found["tables"]}}


def values(table: dict[str, Any], *names: str) -> list[tuple[str, ...]]:
    return sorted(tuple(str(row[name]) for name in names) for row in table["rows"])


@pytest.mark.nightly_on("postgres")
def test_it_shows_what_a_run_loads(place: Place) -> None:
    shown = preview(place, "--rows", "10")
    assert not list(place.project.glob("lake/**/*.parquet"))
    again = preview(place, "--rows", "10")
    assert values(again["tables"]["orders"], "_dlt_id") != values(
        shown["tables"]["orders"], "_dlt_id"
    )
    assert millstream(place.project, "run").returncode == 0
    for table, names in {
        "orders": ("id", "title", "price"),
        "orders__lines": ("sku",),
        "orders__lines__n": ("value",),
    }.items():
        asked = f"SELECT {', '.join(names)} FROM {place.from_clause(table)}"
        loaded = sorted(tuple(map(str, row)) for row in place.query(asked))
        assert values(shown["tables"][table], *names) == loaded
        assert shown["tables"][table]["read"] == len(loaded)
    assert not preview(place)["tables"]
    from_start = preview(place, "--offline", "--rows", "1")["tables"]
    assert values(from_start["orders"], "id") == [("1",)]
    assert values(from_start["orders__lines"], "sku") == [("x",), ("y",)]
    assert values(from_start["orders__lines__n"], "value") == [("1",), ("2",)]


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_what_the_policy_would_say_and_refuse_is_shown(place: Place) -> None:
    assert millstream(place.project, "run").returncode == 0
    write(place.project / "2.jsonl", {"id": 4, "title": "t", "colour": "red"})
    with (place.project / "2.jsonl").open("a") as file:
        file.write('{"id": 5, "title": \n')
    done = millstream(place.project, "preview", "orders")
    assert done.returncode == 0, done.stderr
    assert "new column `colour`" in done.stdout
    assert "1 row would be quarantined" in done.stdout
    assert "red" in done.stdout
    assert "nothing was loaded" in done.stdout
    assert place.count("orders") == len(ROWS)
    assert "waiting" not in millstream(place.project, "quarantine", "list").stdout


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_what_was_accepted_ahead_is_shown_as_by_schema_diff(place: Place) -> None:
    assert millstream(place.project, "run").returncode == 0
    defs = json.loads((place.project / "defs.yaml").read_text())
    defs["attributes"]["destination"]["dataset"] = "another"
    (place.project / "defs.yaml").write_text(json.dumps(defs))
    told = json.loads(millstream(place.project, "schema", "diff", "--json").stdout)["orders"]
    assert [each["kind"] for each in told] == ["table_added"] * 3
    assert preview(place)["changes"] == told
    assert "orders: 3 changes" in millstream(place.project, "preview", "orders").stdout


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_what_json_has_no_form_for_is_text(place: Place) -> None:
    (place.project / "rows.py").write_text(
        "import dlt, pyarrow as pa\n"
        "@dlt.resource\ndef orders():\n"
        "    yield pa.table({'f': [float('nan'), float('inf')], 'b': [b'', b'\\x00\\xff']})\n"
    )
    defs = json.loads((place.project / "defs.yaml").read_text())
    defs["attributes"]["source"] = {"type": "dlt", "path": "rows:orders"}
    (place.project / "defs.yaml").write_text(json.dumps(defs))
    shown = preview(place)["tables"]["orders"]
    assert values(shown, "f", "b") == [("inf", "00ff"), ("nan", "")]
    assert all(isinstance(row["f"], str) for row in shown["rows"])
