"""Which file format loads fastest into each destination: one process per load.

    python bench/formats.py [--rows 20000] [--only postgres] [--check]

The rows are nested: an issue, its user, two labels, so that a load fills a root and a child table.
PostgreSQL and the BigQuery emulator are real servers, started here. What decides is normalize (it
writes the files) and load together; the whole process is shown beside them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import harness

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

FORMATS = {
    "duckdb": ("insert_values", "jsonl", "parquet"),
    "postgres": ("insert_values", "csv", "parquet"),
    "bigquery": ("jsonl", "parquet"),
    "filesystem": ("jsonl", "csv", "parquet"),
}
RUNS = 3


def issues(rows: int) -> Any:
    """A dlt resource of generated issues; the same rows each time."""
    import dlt

    @dlt.resource(name="issues", primary_key="id", write_disposition="append")
    def pages() -> Iterator[list[dict[str, Any]]]:
        start = datetime(2024, 1, 1, tzinfo=timezone.utc)
        for first in range(0, rows, 1000):
            yield [
                {
                    "id": number,
                    "title": f"Issue {number}: it fails when the {number % 97}th is missing",
                    "body": "It fails. " * (number % 40),
                    "comments": number % 13,
                    "locked": number % 7 == 0,
                    "score": number / 3,
                    "created_at": start + timedelta(seconds=number),
                    "user": {"login": f"user{number % 500}", "id": number % 500},
                    "labels": [
                        {"name": f"label {(number + i) % 30}", "color": "d73a4a"} for i in (0, 1)
                    ],
                }
                for number in range(first, first + 1000)
            ]

    return pages


def one(kind: str, file_format: str, rows: int, folder: Path) -> None:
    """Load once, into what the environment names; print the seconds of each step.

    Through dlt itself, since Millstream refuses some of the formats that are compared here.
    """
    import dlt

    from millstream import destinations
    from millstream.config import TargetConfig

    options = {"bucket_url": "lake"} if kind == "filesystem" else {}
    target = TargetConfig(
        name="formats",
        destination={"type": kind, "dataset": f"d{os.getpid()}", "options": options},
        project=folder,
    )
    destinations.ensure_ready(target)
    dlt.config["data_writer.disable_compression"] = True  # as in Millstream's runs
    pipeline = dlt.pipeline(
        "formats",
        pipelines_dir=str(folder),
        destination=destinations.build(target),
        dataset_name=target.dataset,
    )
    pipeline.extract(issues(rows), loader_file_format=file_format)
    seconds = {}
    for step in (pipeline.normalize, pipeline.load):
        started = time.perf_counter()
        step()
        seconds[step.__name__] = time.perf_counter() - started
    tables = ["issues", "issues__labels"]
    counts = destinations.row_counts(pipeline, pipeline.default_schema, tables)
    assert list(counts.values()) == [rows, 2 * rows]
    print(json.dumps(seconds))


@contextmanager
def server(kind: str) -> Iterator[Mapping[str, str]]:
    """The environment under which a destination is found."""
    from services import bigquery, postgres

    if kind == "postgres":
        with postgres.running() as running:
            url = running.url(running.new_database())
            yield {"DESTINATION__POSTGRES__CREDENTIALS": url}
    elif kind == "bigquery":
        with bigquery.running() as emulator:
            yield emulator.environment
    else:
        yield {}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=20_000)
    arguments.add_argument("--only", choices=FORMATS)
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("--one", nargs=3, metavar=("KIND", "FORMAT", "FOLDER"))
    given = arguments.parse_args()
    if given.one:
        one(given.one[0], given.one[1], given.rows, Path(given.one[2]))
        return 0

    targets, left_out, shown = [], [], []
    results: list[harness.Result] = []
    for kind, formats in FORMATS.items():
        if given.only not in (None, kind):
            continue
        loads: dict[str, float] = {}
        steps: dict[tuple[str, str], float] = {}
        with server(kind) as environment:
            for file_format in formats:
                if (kind, file_format) == ("postgres", "parquet") and not _has_adbc():
                    left_out.append("postgres parquet: adbc-driver-postgresql is not installed")
                    continue
                runs = [_measure(kind, file_format, given.rows, environment) for _ in range(RUNS)]
                for step in ("normalize", "load"):
                    steps[file_format, step] = statistics.median(r.said[step] for r in runs)
                loads[file_format] = sum(steps[file_format, s] for s in ("normalize", "load"))
                result = harness.median(f"{kind} {file_format}", runs)
                results.append(result)
                shown.append((kind, file_format, result.seconds))
        fastest = min(loads.values())
        rows = [
            [
                name,
                f"{steps[name, 'normalize']:.2f} s",
                f"{steps[name, 'load']:.2f} s",
                f"{loads[name] / fastest:.1f}x",
                f"{seconds:.2f} s",
            ]
            for shown_kind, name, seconds in shown
            if shown_kind == kind
        ]
        headers = [kind, "normalize", "load", "both, against the fastest", "whole process"]
        print(harness.table(headers, rows))
        print(flush=True)
        chosen = _chosen(kind)
        if chosen in loads:
            slowest = max(loads.values())
            targets.append(
                harness.Target(f"{kind}: {chosen} against the slowest", slowest / loads[chosen], 1)
            )
    return harness.finish(
        "formats", results, targets, check=given.check, left_out=left_out, rows=given.rows
    )


def _measure(kind: str, file_format: str, rows: int, environment: Mapping[str, str]) -> harness.Run:
    harness.WORK.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="formats-", dir=harness.WORK))
    try:
        return harness.run(
            [sys.executable, __file__, f"--rows={rows}", "--one", kind, file_format, str(folder)],
            {
                **environment,
                "MILLSTREAM_HOME": str(folder / "home"),
                "RUNTIME__DLTHUB_TELEMETRY": "false",
            },
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _chosen(kind: str) -> str | None:
    from millstream import destinations
    from millstream.config import TargetConfig

    return destinations.loader_file_format(TargetConfig(name="x", destination={"type": kind}))


def _has_adbc() -> bool:
    return importlib.util.find_spec("adbc_driver_postgresql") is not None


if __name__ == "__main__":
    sys.exit(main())
