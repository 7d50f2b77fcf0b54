"""Runs that are killed after some time: a process of its own, for `test_mongodb_kills.py`.

    python mongodb_kill_worker.py      reads lines of JSON: {"config", "stream", "project", "after"}

The run's exit code comes out for each. Runs are forked, so that everything is imported once. After
`after` seconds a run is killed; null lets it end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from millstream.config import parse_pipeline
from millstream.runs import runner

MODULES = ("pymongo", "duckdb", "psycopg2", "pyarrow.parquet", "millstream.engine.dlt.patch")


def main() -> None:
    for module in MODULES:
        import_module(module)
    for line in sys.stdin:
        print(hunted(json.loads(line)), flush=True)


def hunted(task: dict[str, Any]) -> int:
    child = os.fork()
    if child == 0:
        try:
            config = parse_pipeline(task["config"], where="test", project=Path(task["project"]))
            runner.run(config, task["stream"])
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    end = None if task["after"] is None else time.monotonic() + task["after"]
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        if end is not None and time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            found = os.waitpid(child, 0)
            break
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(found[1])


if __name__ == "__main__":
    main()
