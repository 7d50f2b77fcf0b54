"""Kill runs at chosen moments, then run again: a process of its own, for `test_kills.py`.

    echo TASK | python arena.py      TASK: {"disposition", "destination", "project", "points"}

A point says how many file operations the doomed run may make before it is killed; -1 lets it end,
and tells how many there were. Each point has a dataset of its own. A line of JSON comes out for
each. The destination's credentials come from the environment. Runs are forked, so that dlt is
imported once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import dlt

from millstream import runner
from millstream.config import TargetConfig

ROWS = 60  # a step; several files a table, since a file holds 25
OPERATIONS = frozenset({"os.rename", "os.remove", "os.link", "os.rmdir", "os.mkdir", "open"})


def world(step: int, disposition: str) -> list[dict[str, Any]]:
    """The rows that are new at a step of the world, each with two child rows."""
    start = (step - 1) * ROWS if disposition == "append" else 5 * step
    return [
        {"id": n, "step": step, "tags": [{"tag": n}, {"tag": -n}]}
        for n in range(start, start + ROWS)
    ]


def load(target: TargetConfig, step: int, disposition: str) -> None:
    @dlt.resource(
        name="things",
        write_disposition=disposition,
        primary_key="id" if disposition == "merge" else None,
    )
    def things() -> Any:
        if disposition == "replace":
            yield world(step, disposition)
            return
        state = dlt.current.resource_state()
        for each in range(state.get("read", 0) + 1, step + 1):
            yield world(each, disposition)
        state["read"] = step

    runner.run_data(things(), target)


def doomed(target: TargetConfig, disposition: str, point: int, told: Path) -> None:
    load(target, 1, disposition)
    operations = count()

    def hook(event: str, _: Any) -> None:
        if event in OPERATIONS and next(operations) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    load(target, 2, disposition)
    told.write_text(str(next(operations)))


def forked(work: Callable[..., None], *arguments: Any) -> int:
    """Do the work in a child; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            work(*arguments)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    task = json.load(sys.stdin)
    for module in ("duckdb", "psycopg2", "pyarrow.parquet", "dlt.destinations.impl.duckdb.duck"):
        import_module(module)  # before the first fork, or each child does it anew
    disposition, project = task["disposition"], Path(task["project"])
    for point in task["points"]:
        name = f"p_{point}" if point >= 0 else "p_end"
        target = TargetConfig.model_validate(
            {"name": name, "project": project, "destination": {"type": task["destination"]}}
        )
        told = project / f"{name}.operations"
        ended = forked(doomed, target, disposition, point, told)
        healed = forked(load, target, 2, disposition)
        operations = int(told.read_text()) if told.exists() else None
        line = {"name": name, "ended": ended, "healed": healed, "operations": operations}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
