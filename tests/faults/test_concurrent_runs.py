"""Eight overlapping runs, again and again: every row there once, none lost, none doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faults.concurrent_runs import NEW, RUNS
from services.places import Place

ROUNDS = 20 if os.environ.get("MILLSTREAM_NIGHTLY") else 1


@pytest.mark.parametrize(
    ("kind", "machines"),
    [
        pytest.param("duckdb", False, marks=pytest.mark.nightly),
        pytest.param("postgres", True, marks=pytest.mark.xdist_group("postgres")),
    ],
)
def test_no_row_is_lost_or_doubled(
    kind: str, machines: bool, request: pytest.FixtureRequest
) -> None:
    place: Place = request.getfixturevalue(f"{kind}_place")
    task = {
        "destination": kind,
        "project": str(place.project),
        "rounds": ROUNDS,
        "machines": machines,
    }
    script = Path(__file__).with_name("concurrent_runs.py")
    path = os.pathsep.join([str(script.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        cwd=place.project,
        env={**os.environ, "PYTHONPATH": path},
    )
    codes = json.loads(done.stdout.splitlines()[-1])
    assert codes == [0] * len(RUNS) * ROUNDS, done.stderr[-4000:]

    def ask(tables: str) -> tuple[int, ...]:
        sql = f"SELECT COUNT(*), COUNT(DISTINCT p.n) FROM {tables}"
        if kind == "duckdb":
            import duckdb

            with duckdb.connect(str(place.project / "crowd_db.duckdb")) as connection:
                return tuple(connection.execute(sql).fetchall()[0])
        return tuple(place.query(sql)[0])

    rows = ROUNDS * NEW
    for parent, child, times, children in (
        ("events", "events__tags", 1, 1),
        ("sales", "sales__items", 3, 6),
        ("users", "users__mails", 1, 1),
    ):
        assert ask(f"crowd.{parent} AS p") == (times * rows, rows)
        joined = f"crowd.{child} AS c LEFT JOIN crowd.{parent} AS p ON c._dlt_parent_id = p._dlt_id"
        assert ask(joined) == (children * rows, rows)
