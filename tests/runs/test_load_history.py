"""The history says of each load that it was, or nothing: what a run that died had noted goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from millstream.cli import main
from services.places import Place

TABLES = ("_millstream_schema_versions", "_millstream_schema_changes", "_millstream_profiles")


def run(place: Place, number: int) -> None:
    (place.project / f"orders_{number}.jsonl").write_text(f'{{"id": {number}, "at_{number}": 1}}\n')
    assert main(["run", str(place.project)]) == 0


@pytest.mark.parametrize(
    "kind",
    [
        "duckdb",
        pytest.param("postgres", marks=(pytest.mark.nightly, pytest.mark.xdist_group("postgres"))),
    ],
)
def test_a_history_that_was_cut_off_is_taken_out(kind: str, request: pytest.FixtureRequest) -> None:
    place: Place = request.getfixturevalue(f"{kind}_place")
    attributes: dict[str, Any] = {
        "name": "shop",
        "source": {
            "type": "files",
            "streams": {"orders": {"path": str(Path(place.project) / "orders_*.jsonl")}},
        },
        "destination": {"dataset": place.dataset, **place.destination},
    }
    (place.project / "defs.yaml").write_text(
        yaml.safe_dump({"type": "millstream.Pipeline", "attributes": attributes})
    )
    run(place, 1)
    run(place, 2)
    before = {each: place.query(f"SELECT * FROM {place.from_clause(each)}") for each in TABLES}
    # the tables of a history are written side by side: a process that dies leaves some of them
    for each in TABLES:
        clause = place.from_clause(each)
        columns = [
            column[0]
            for column in place.query(
                f"SELECT column_name FROM information_schema.columns WHERE table_name = '{each}'"
            )
        ]
        as_of_another = {"load_id": "'17.5'", "_dlt_id": "_dlt_id || 'x'"}
        values = ", ".join(as_of_another.get(column, column) for column in columns)
        place.query(f"INSERT INTO {clause} ({', '.join(columns)}) SELECT {values} FROM {clause}")

    run(place, 3)

    for each in TABLES:
        after = place.query(f"SELECT * FROM {place.from_clause(each)}")
        assert {*map(str, before[each])} < {*map(str, after)}
        clause = place.from_clause(each)
        assert place.query(f"SELECT * FROM {clause} WHERE load_id = '17.5'") == []
