"""Run a project's job in this process, once or more, and say in JSON what each run did.

    python -m millstream.demo.materialize DEFS JOB [--moments URL MOMENT ...]

A process of its own, started by the demo: Dagster and dlt log to its stderr, which is a file, while
its stdout has one line of JSON a run. Runs and materializations go to the instance in DAGSTER_HOME.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import IO, Any

from millstream.schema_changes import accepted_file


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 when a run failed; no further run is started then."""
    parser = argparse.ArgumentParser(prog="python -m millstream.demo.materialize")
    parser.add_argument("defs", type=Path, help="the folder of defs.yaml")
    parser.add_argument("job")
    parser.add_argument("--server", help="the fixture server, told which time to serve")
    parser.add_argument("--moment", action="append", default=[], help="one run each; `now` is now")
    parser.add_argument(
        "--waits", action="store_true", help="also report what the source waits for"
    )
    options = parser.parse_args(arguments)

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what any library prints belongs into the log
    if options.waits:
        logging.getLogger("millstream").addHandler(_Waits(answers))

    for moment in options.moment or [None]:
        if moment is not None:
            _serve(options.server, None if moment == "now" else moment)
        answer = _run(options.defs, options.job)
        print(json.dumps(answer, default=str), file=answers)
        if answer["error"]:
            return 1
    return 0


def _run(folder: Path, job: str) -> dict[str, Any]:
    import dagster as dg

    started = perf_counter()
    # loaded anew for each run, as a reload in the UI does: new child tables are assets then
    definitions = dg.load_from_defs_folder(path_within_project=folder)
    with dg.DagsterInstance.get() as instance:
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=instance, raise_on_error=False
        )
        parents = {
            table.name: table.parent
            for version in accepted_file.load(folder).values()
            for table in version.tables
        }
        return {
            "run_id": result.run_id,
            "error": None if result.success else _error(result),
            "seconds": perf_counter() - started,
            "tables": list(_tables(result, parents)),
        }


def _tables(result: Any, parents: dict[str, str | None]) -> Iterator[dict[str, Any]]:
    """What each asset's metadata says, roots before their children."""
    found = {}
    for event in result.get_asset_materialization_events():
        materialization = event.materialization
        values = {name: value.value for name, value in materialization.metadata.items()}
        name = materialization.asset_key.path[-1]
        changes = materialization.metadata.get("schema_changes")
        found[name] = {
            "name": name,
            "parent": parents.get(name),
            "rows": values["rows_loaded"],
            "rows_total": values.get("dagster/row_count"),
            "bytes": values.get("bytes_loaded", 0),
            "full_name": values.get("dagster/table_name", name),
            "changes": [dict(record.data) for record in changes.records] if changes else [],
        }
    roots = [name for name in found if parents.get(name) is None]
    below = [name for name in parents if name in found and name not in roots]
    yield from (found[name] for name in (*roots, *below))


def _error(result: Any) -> str:
    """What the failed steps said; their tracebacks are in the log."""
    texts = []
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            said = failure.user_failure_data and failure.user_failure_data.description
            texts.append(said or failure.error.message)
    return "\n\n".join(text.strip() for text in texts) or "the run failed before its first step"


def _serve(server: str, moment: str | None) -> None:
    import requests

    answer = requests.post(f"{server}/_fixture/as-of", json={"as_of": moment}, timeout=30)
    answer.raise_for_status()


class _Waits(logging.Handler):
    """Passes on the lines that say what a long run is doing."""

    def __init__(self, answers: IO[str]) -> None:
        super().__init__(logging.INFO)
        self.answers = answers

    def emit(self, record: logging.LogRecord) -> None:
        print(json.dumps({"said": record.getMessage()}), file=self.answers)


if __name__ == "__main__":
    sys.exit(main())
