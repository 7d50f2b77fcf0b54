"""Runs of one pipeline, each a process of its own, at the same time, into an empty place."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from behaviour.conftest import configured
from millstream.config import DltConfig
from services.places import Place
from services.processes import python_code

# what a worker of Dagster's does: the same pipeline, one stream of it
RUN = """
import json, sys
from millstream.config import PipelineConfig
from millstream.runs.runner import run

given = json.loads(sys.argv[1])
report = run(PipelineConfig(**given), sys.argv[2])
print(json.dumps({table.name: table.rows_total for table in report.tables}))
"""


@pytest.mark.nightly_on("bigquery", "filesystem", "postgres")
def test_streams_do_not_get_in_each_others_way(place: Place):
    streams = range(2 if place.kind == "bigquery" else 3)  # the emulator is slow
    config = configured(place, DltConfig(path="behaviour.feed:shelves"))
    given = json.dumps({**config.model_dump(mode="json"), "project": str(place.project)})
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])

    def run(number: int) -> subprocess.CompletedProcess[str]:
        return python_code(
            RUN,
            given,
            f"shelf_{number}",
            folder=place.project,
            environment={"PYTHONPATH": path},
        )

    with ThreadPoolExecutor(len(streams)) as pool:
        ended = list(pool.map(run, streams))
    for number, done in enumerate(ended):
        assert done.returncode == 0, done.stderr[-3000:]
        counts = json.loads(done.stdout.strip().splitlines()[-1])
        assert counts == {f"shelf_{number}": 50, f"shelf_{number}__books": 50}
    for number in streams:
        assert place.count(f"shelf_{number}") == 50
        assert place.count(f"shelf_{number}__books") == 50
