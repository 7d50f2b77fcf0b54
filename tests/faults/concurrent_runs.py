"""Eight runs of one pipeline at a time, round after round: a process of its own.

    echo TASK | python concurrent_runs.py    TASK: {"destination", "project", "rounds", "machines"}

`machines` gives each run a home of its own, as if each were on another machine. Runs are forked, so
that dlt is imported once. The rounds' exit codes come out as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import dlt

from millstream.config import PipelineConfig
from millstream.runs import runner

NEW = 20  # rows a round


def shop(number: int = 1) -> Any:
    """The shop after so many rounds; each round brings a column that its runs race to add."""

    @dlt.resource(write_disposition="append")
    def events() -> Any:
        state = dlt.current.resource_state()
        read, end = state.get("read", 0), number * NEW
        if read < end:
            yield [{"n": n, f"c{number}": True, "tags": [{"t": n}]} for n in range(read, end)]
        state["read"] = end

    @dlt.resource(write_disposition="append")
    def sales() -> Any:
        for region in ("eu", "us", "asia"):
            yield [
                {"n": n, "region": region, f"c{number}": n, "items": [{"t": n}, {"t": -n}]}
                for n in range(number * NEW)
            ]

    @dlt.resource(primary_key="n", write_disposition="merge")
    def users() -> Any:
        yield [{"n": n, f"c{number}": str(n), "mails": [{"t": n}]} for n in range(number * NEW)]

    return dlt.source(lambda: [events, sales, users], name="shop")()


RUNS = (
    *[("events", None)] * 3,
    *[("sales", key) for key in ("eu", "us", "asia")],
    *[("users", None)] * 2,
)


def main() -> None:
    task = json.load(sys.stdin)
    for module in ("duckdb", "psycopg2", "pyarrow.parquet", "dlt.destinations.impl.duckdb.duck"):
        import_module(module)  # before the first fork, or each child does it anew
    codes = []
    for number in range(1, task["rounds"] + 1):
        config = PipelineConfig.model_validate(
            {
                "name": "crowd",
                "schema_policy": "anything",  # the subject is rows
                "project": Path(task["project"]),
                "destination": {"type": task["destination"]},
                "source": {
                    "type": "dlt",
                    "path": "faults.concurrent_runs:shop",
                    "arguments": {"number": number},
                },
                "partitions": {
                    "type": "static",
                    "field": "region",
                    "values": ["eu", "us", "asia"],
                    "streams": ["sales"],
                },
            }
        )
        children = [child(config, *run, n, task["machines"]) for n, run in enumerate(RUNS)]
        codes += [os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in children]
    print(json.dumps(codes))


def child(
    config: PipelineConfig, stream: str, partition: str | None, number: int, machines: bool
) -> int:
    process = os.fork()
    if process:
        return process
    try:
        if machines:
            os.environ["MILLSTREAM_HOME"] += f"-{number}"
        runner.run(config, stream, partition=partition)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main()
