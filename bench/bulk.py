"""JSON lines into DuckDB in bulk: Millstream beside dlt and DuckDB, whole processes, two workers.

    make bench NAME=bulk                       100,000 issues, medians of three
    make bench NAME=bulk ARGS="--rows 20000"   fewer
    make bench NAME=bulk ARGS="--default-rows 2000"   dlt as it comes takes minutes: on fewer rows,
                                               scaled in the table, which says so
    python bench/bulk.py --contender NAME FILE DATABASE    one of them, once

Each contender runs in an environment of its own under bench/.work, made once. `dicts` contenders
load the same rows as Python dicts through an unchanged dlt script, with and without `accelerate()`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

PACKAGES = {
    "millstream": ["-e", str(ROOT)],
    "dlt": ["dlt[duckdb,parquet]==1.31.0", "sqlglot<30.22", "orjson"],
    "duckdb": ["duckdb"],
}
LEFT_OUT = ("ingestr 1.1.22, Sling 1.4.11 and PyAirbyte 0.71: this script does not set them up",)
# the same for Millstream and for dlt at its best
SETTINGS = {
    "NORMALIZE__WORKERS": "2",
    "SOURCES__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "SOURCES__DATA_WRITER__BUFFER_MAX_ITEMS": "1000",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
}
PAGE = 1000


def environment(name: str) -> Path:
    """The Python of a contender's environment, made when it is not there."""
    from harness import WORK

    folder = WORK / "envs" / name
    python = folder / "bin" / "python"
    done = folder / ".done"
    if not done.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run(
            [*uv, "venv", "-q", "--clear", "-p", sys.executable, str(folder)], check=True
        )
        install = [*uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(python)]
        constraints = ["-c", str(ROOT / "constraints.txt")]
        subprocess.run([*install, *constraints, *PACKAGES[name]], check=True)
        done.touch()
    return python


def load_files(file: str, database: str) -> dict[str, Any]:
    """Millstream: its files source through its engine."""
    from millstream import engine
    from millstream.config import FilesConfig
    from millstream.sources.files import FilesSource

    engine.enable()
    config = FilesConfig(streams={"issues": {"path": file}})
    return _pipeline(FilesSource(config).open("issues"), database, "parquet")


def load_dlt(file: str, database: str, loader_format: str | None = "parquet") -> dict[str, Any]:
    """dlt: a resource that parses the file as fast as Python can, a page at a time."""
    import dlt

    return _pipeline(dlt.resource(_pages(file), name="issues"), database, loader_format)


def load_dicts(file: str, database: str) -> dict[str, Any]:
    """The same dlt script, and one line before it."""
    import millstream

    millstream.accelerate()
    return load_dlt(file, database)


def load_read_json(file: str, database: str) -> dict[str, Any]:
    """DuckDB's own reader, objects flattened one level and lists unnested; no keys, no state."""
    import duckdb

    with duckdb.connect(database) as connection:
        connection.execute(
            f"CREATE TABLE raw AS SELECT * FROM read_json('{file}', format='newline_delimited')"
        )
        connection.execute(
            'CREATE TABLE issues AS SELECT * EXCLUDE (labels, assignees, "user", reactions, '
            'milestone, assignee), unnest("user", max_depth := 2), '
            "unnest(reactions, max_depth := 2), unnest(milestone, max_depth := 3), "
            "unnest(assignee, max_depth := 2) FROM raw"
        )
        for child in ("labels", "assignees"):
            connection.execute(
                f"CREATE TABLE issues__{child} AS "
                f"SELECT id AS issue_id, unnest({child}, recursive := true) FROM raw"
            )
        connection.execute("DROP TABLE raw")
        rows = connection.execute("SELECT count(*) FROM issues").fetchone()[0]
    return {"rows": rows}


def _pages(file: str) -> Iterator[list[dict[str, Any]]]:
    import orjson

    page = []
    with Path(file).open("rb") as lines:
        for line in lines:
            page.append(orjson.loads(line))
            if len(page) == PAGE:
                yield page
                page = []
    if page:
        yield page


def _pipeline(data: Any, database: str, loader_format: str | None) -> dict[str, Any]:
    import dlt

    pipeline = dlt.pipeline(
        "bulk",
        pipelines_dir=f"{database}.pipeline",
        destination=dlt.destinations.duckdb(database),
        dataset_name="bulk",
    )
    times = [time.perf_counter()]
    pipeline.extract(data, loader_file_format=loader_format)
    times.append(time.perf_counter())
    pipeline.normalize()
    times.append(time.perf_counter())
    pipeline.load()
    times.append(time.perf_counter())
    extract, normalize, load = (round(b - a, 2) for a, b in pairwise(times))
    with pipeline.sql_client() as client, client.execute_query("SELECT count(*) FROM issues") as c:
        rows = c.fetchone()[0]
    return {"rows": rows, "extract": extract, "normalize": normalize, "load": load}


CONTENDERS = {
    "millstream": ("millstream", load_files),
    "millstream, dicts": ("millstream", load_dicts),
    "dlt, parquet": ("dlt", load_dlt),
    "dlt, as it comes": ("dlt", lambda file, database: load_dlt(file, database, None)),
    "duckdb read_json": ("duckdb", load_read_json),
}


def measure(name: str, file: Path, repeat: int, settings: dict[str, str]) -> Any:
    """A contender's median, and what its last run said."""
    from harness import WORK, median, run

    python = environment(CONTENDERS[name][0])
    runs = []
    for number in range(repeat):
        database = WORK / "bulk" / f"{number}.duckdb"
        subprocess.run(["rm", "-rf", str(database), f"{database}.pipeline"], check=True)
        database.parent.mkdir(parents=True, exist_ok=True)
        command = [str(python), __file__, "--contender", name, str(file), str(database)]
        # several processes and files of bytecode: as on any machine after the first run
        runs.append(run(command, {**settings, "PYTHONDONTWRITEBYTECODE": ""}))
        subprocess.run(["rm", "-rf", str(database), f"{database}.pipeline"], check=True)
    said = runs[-1].said
    notes = ", ".join(f"{k} {said[k]}" for k in ("extract", "normalize", "load", "mb") if k in said)
    return median(name, runs, notes), runs


def main() -> int:
    from bulk_data import write
    from harness import WORK, Target, finish

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--default-rows", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    file = WORK / f"issues-{options.rows}.jsonl"
    write(file, options.rows)
    messy = WORK / f"messy-{options.rows}.jsonl"
    write(messy, options.rows, messy=True)
    share = {"SOURCES__DATA_WRITER__FILE_MAX_ITEMS": str(max(options.rows // 4, 1000))}
    settings = {**SETTINGS, **share}
    results = []
    steps: dict[str, float] = {}

    def go(name: str, where: Path, label: str | None = None) -> float:
        result, runs = measure(name, where, options.repeat, settings)
        label = label or name
        results.append(type(result)(label, result.seconds, result.runs, result.notes))
        spans = sorted(run.said.get("normalize", 0.0) for run in runs)
        steps[label] = spans[len(spans) // 2]
        print(f"{label}: {result.seconds} s ({result.notes})", file=sys.stderr)
        return float(result.seconds)

    dlt = go("dlt, parquet", file)
    dicts = go("millstream, dicts", file)
    go("dlt, parquet", messy, "dlt, parquet, messy")
    go("millstream, dicts", messy, "millstream, dicts, messy")
    read_json = go("duckdb read_json", file)
    default = 0.0
    if options.default_rows:
        few = WORK / f"issues-{options.default_rows}.jsonl"
        write(few, options.default_rows)
        label = f"dlt, as it comes, {options.default_rows} rows"
        default = go("dlt, as it comes", few, label) * options.rows / options.default_rows
    ours = go("millstream", file)
    targets = [
        Target("as fast as dlt with parquet", dlt / ours, 6),
        Target("as fast as DuckDB's read_json", read_json / ours, 1),
        Target("dicts, whole run, against dlt", dlt / dicts, 3),
        Target(
            "dicts, normalize, against dlt", steps["dlt, parquet"] / steps["millstream, dicts"], 5
        ),
        Target(
            "messy, normalize, against dlt",
            steps["dlt, parquet, messy"] / steps["millstream, dicts, messy"],
            3,
        ),
    ]
    if default:
        targets.append(Target("as fast as dlt as it comes (scaled)", default / ours, 60))
    return finish(
        "bulk", results, targets, check=options.check, left_out=LEFT_OUT, rows=options.rows
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contender"]:
        said = CONTENDERS[sys.argv[2]][1](*sys.argv[3:5])
        peak = max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        print(json.dumps({**said, "mb": peak // 1024, "cpus": os.cpu_count()}))
    else:
        sys.exit(main())
