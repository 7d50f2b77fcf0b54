"""A partition whose run is killed, and run again: its changes are in the history once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.places import Place
from services.processes import python_code

RUN = """
import json, os, signal, sys
from pathlib import Path
from faults.overlap_worker import WORLD
from millstream.config import PipelineConfig
from millstream.runs import recorder, runner
from millstream.runs.stages import loading

task = json.loads(sys.argv[1])
WORLD.rows = task["rows"]
if task["dies_in"]:
    place = loading if task["dies_in"] == "_send" else recorder.RunRecorder
    setattr(place, task["dies_in"], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
runner.run(PipelineConfig.model_validate(task["config"]), "orders", partition=task["partition"])
"""


@pytest.mark.parametrize("dies_in", ["_send", pytest.param("record", marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    "kind", ["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]
)
@pytest.mark.nightly_on("postgres")
def test_a_change_is_there_once(kind: str, dies_in: str, request: pytest.FixtureRequest) -> None:
    place: Place = request.getfixturevalue(f"{kind}_place")

    def run(partition: str, value: Any, *, dies_in: str | None = None, home: str = "") -> int:
        task = {
            "rows": [{"id": n, "region": partition, "value": value} for n in (1, 2)],
            "dies_in": dies_in,
            "partition": partition,
            "config": {
                "name": "shop",
                "project": str(place.project),
                "destination": dict(place.destination),
                "schema_policy": "anything",
                "source": {
                    "type": "dlt",
                    "path": "faults.overlap_worker:shop",
                    "arguments": {"run": "run"},
                },
                "partitions": {
                    "type": "static",
                    "field": "region",
                    "values": ["eu", "us"],
                    "streams": ["orders"],
                },
            },
        }
        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        homes = os.environ["MILLSTREAM_HOME"] + home
        environment = {"PYTHONPATH": path, "MILLSTREAM_HOME": homes}
        done = python_code(RUN, json.dumps(task), folder=place.project, environment=environment)
        assert done.returncode in (0, -9), done.stderr
        return done.returncode

    run("eu", 1)
    assert run("us", "text", dies_in=dies_in) == -9
    run("eu", "text", home="-elsewhere")
    run("us", "text")
    changes = place.query(
        f"SELECT kind, column_name, load_id FROM {place.from_clause('_millstream_schema_changes')} "
        "WHERE column_name IS NOT NULL"
    )
    assert [each[:2] for each in changes] == [("variant_added", "value__v_text")]
    loads = place.query(
        f"SELECT load_id, row_count, seconds IS NULL FROM {place.from_clause('_millstream_loads')}"
    )
    complete = place.query(
        f"SELECT load_id FROM {place.from_clause('_dlt_loads')} WHERE schema_name = 'shop__orders'"
    )
    assert sorted(loads) == sorted((load_id, 2, False) for (load_id,) in complete)
    assert len(complete) == (3 if dies_in == "_send" else 4)
