"""What is waited for before anything is loaded: `millstream --help`, and Dagster's definitions.

    python bench/startup.py [--check]

The definitions are those of all of GitHub's streams, from a `defs.yaml`. What they add is timed
within a process that has imported Dagster already; the others are whole processes. Nothing of it
may import dlt, which takes over a second by itself and is shown for comparison.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import harness

RUNS = 3

PYPROJECT = (
    '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "startup_trial"\n'
)
DEFS = """\
type: millstream.Pipeline
attributes:
  name: github
  source:
    type: github
    repositories: [duckdb/duckdb]
    streams: [issues, issue_comments, issue_events, pull_requests, labels, milestones, stargazers,
      releases, commits]
"""
LOAD = """
import json, sys
import dagster as dg
from pathlib import Path
from time import perf_counter
started = perf_counter()
defs = dg.load_from_defs_folder(path_within_project=Path.cwd())
dg.Definitions.validate_loadable(defs)
seconds = perf_counter() - started
assert len(defs.resolve_all_asset_specs()) == 9
print(json.dumps({"seconds": seconds, "dlt": "dlt" in sys.modules}))
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when a target is missed")
    options = parser.parse_args()

    python = sys.executable
    command = str(Path(python).with_name("millstream"))
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        defs = project / "src" / "startup_trial" / "defs" / "github"
        defs.mkdir(parents=True)
        (project / "pyproject.toml").write_text(PYPROJECT)
        (defs / "defs.yaml").write_text(DEFS)
        os.chdir(project)
        environment = {"PYTHONPATH": str(project / "src")}

        def three(*program: str) -> list[harness.Run]:
            harness.run(program, environment)  # once before: byte code and the page cache
            return [harness.run(program, environment) for _ in range(RUNS)]

        loads = three(python, "-c", LOAD)
        assert not any(run.said["dlt"] for run in loads), "the definitions imported dlt"
        help_ = harness.median("millstream --help", three(command, "--help"))
        added = harness.median(
            "what definitions add",
            [harness.Run(run.said["seconds"]) for run in loads],
            notes="after import dagster",
        )
        results = [
            help_,
            added,
            harness.median("import dlt", three(python, "-c", "import dlt")),
            harness.median("import dagster and definitions", loads),
            harness.median("import dagster", three(python, "-c", "import dagster")),
        ]
    return harness.finish(
        "startup",
        results,
        [
            harness.Target("0.3 s / millstream --help", round(0.3 / help_.seconds, 2), 1),
            harness.Target("1 s / what definitions add", round(1 / added.seconds, 2), 1),
        ],
        check=options.check,
    )


if __name__ == "__main__":
    sys.exit(main())
