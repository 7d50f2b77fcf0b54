"""JSON lines into DuckDB in bulk: Millstream beside its peers, whole processes, two cores each.

    make bench NAME=bulk                       100,000 issues, medians of three
    make bench NAME=bulk ARGS="--rows 20000"   fewer
    make bench NAME=bulk ARGS="--only millstream --only 'duckdb read_json'"
    make bench NAME=bulk ARGS="--default-rows 2000"   dlt as it comes takes minutes: on fewer rows,
                                               scaled in the table, which says so
    make bench NAME=bulk ARGS="--large 1000000"       Millstream on more rows
    python bench/bulk.py --contender NAME FILE DATABASE    one of them, once

Each contender runs in an environment of its own under bench/.work, made once (peers.py); one that
can't be made is left out and named. All take their turns in each round, so that a busy minute is
everyone's. `dicts` contenders load the same rows as Python dicts through an unchanged dlt script,
with and without `accelerate()`, and get the same two normalize workers; or one, as dlt comes, whose
own normalizer uses one core then. `as it comes` has nothing set, unless its name says so.
`millstream` is `millstream run` as it comes: one worker, whose threads use both. Memory is that of
all processes of a contender together, in one more run: looking at it takes time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import peers
from harness import WORK, Result, Run, Target, finish, median, run

SETTINGS = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
# dlt at its best: nothing is packed between the steps
PLAIN = {
    "SOURCES__DATA_WRITER__DISABLE_COMPRESSION": "true",
    "SOURCES__DATA_WRITER__BUFFER_MAX_ITEMS": "1000",
}
MOST_MEMORY = 600
MOST_PER_ROW = 1.15
DEFAULT = "dlt, as it comes"


def load_dlt(file: str, database: str, loader_format: str | None = "parquet") -> dict[str, Any]:
    """dlt into DuckDB."""
    import dlt

    destination = dlt.destinations.duckdb(database)
    return peers.load_pages(file, destination, f"{database}.pipeline", loader_format)


def load_default(file: str, database: str) -> dict[str, Any]:
    """The same, in dlt's own format for DuckDB."""
    return load_dlt(file, database, None)


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
    return {}


SCRIPTS: dict[str, tuple[str, Callable[[str, str], dict[str, Any]]]] = {
    "dlt, parquet": ("dlt", load_dlt),
    "dlt, parquet, at its best": ("dlt", load_dlt),
    "millstream, dicts": ("millstream", load_dicts),
    "dlt, parquet, one worker": ("dlt", load_dlt),
    "millstream, dicts, one worker": ("millstream", load_dicts),
    DEFAULT: ("dlt", load_default),
    f"{DEFAULT}, two workers": ("dlt", load_default),
    "dlt, parquet, messy": ("dlt", load_dlt),
    "millstream, dicts, messy": ("millstream", load_dicts),
    "duckdb read_json": ("duckdb", load_read_json),
    **peers.FILES,
}
OURS = "millstream"
ENVIRONMENTS = {name: environment for name, (environment, _) in SCRIPTS.items()} | {OURS: OURS}


def once(name: str, file: Path, rows: int, *, watch_memory: bool = False) -> Run:
    """A contender, once; what it made is counted."""
    folder = WORK / "bulk"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    database = folder / "out.duckdb"
    settings = SETTINGS | {"MILLSTREAM_HOME": str(folder / "home")}
    if name == OURS:
        target = {"type": "duckdb", "database": str(database)}
        contender = peers.millstream("millstream", folder, str(file), target)
    else:
        python = str(peers.python_of(ENVIRONMENTS[name]))
        contender = [python, __file__, "--contender", name, str(file), str(database)]
        if not name.endswith(("one worker", DEFAULT)):
            # two workers, and files for them to share
            file_max_items = str(max(rows // 4, 1000))
            settings |= {
                "NORMALIZE__WORKERS": "2",
                "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": file_max_items,
            }
    if name.endswith("at its best"):
        settings |= PLAIN
    found = run(contender, settings, watch_memory=watch_memory)
    if name == OURS:
        found = replace(found, said=found.said["reports"][0]["seconds"])
    count(database, rows, children=name.startswith(("dlt", "millstream")))
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{name}: {found.seconds:.2f} s, {found.cpu:.1f} s of CPU", file=sys.stderr)
    return found


def count(database: Path, rows: int, *, children: bool) -> None:
    import duckdb

    with duckdb.connect(str(database), read_only=True) as connection:
        tables: dict[str, str] = dict(
            connection.execute(
                "SELECT table_name, table_schema FROM information_schema.tables"
            ).fetchall()
        )
        found = connection.execute(f'SELECT count(*) FROM "{tables["issues"]}".issues').fetchone()
    assert found == (rows,), f"{found} rows instead of {rows}"
    assert not children or "issues__labels" in tables


def data(rows: int, *, messy: bool = False) -> Path:
    from bulk_data import write  # not every contender has orjson

    file = WORK / f"{'messy' if messy else 'issues'}-{rows}.jsonl"
    write(file, rows, messy=messy)
    return file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--default-rows", type=int, default=0)
    parser.add_argument("--large", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=ENVIRONMENTS, action="append")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    chosen = [name for name in ENVIRONMENTS if name in (options.only or ENVIRONMENTS)]
    if not options.default_rows:
        chosen = [name for name in chosen if not name.startswith(DEFAULT)]
    problems = {name: peers.missing(name) for name in {ENVIRONMENTS[each] for each in chosen}}
    left_out = [text for text in problems.values() if text is not None]
    chosen = [name for name in chosen if problems[ENVIRONMENTS[name]] is None]
    sizes = dict.fromkeys(chosen, options.rows)
    sizes |= {name: options.default_rows for name in chosen if name.startswith(DEFAULT)}
    files = {name: data(sizes[name], messy=name.endswith("messy")) for name in chosen}
    runs: dict[str, list[Run]] = {name: [] for name in chosen}
    for _ in range(options.repeat):
        for name in chosen:
            runs[name].append(once(name, files[name], sizes[name]))
    peaks = {name: once(name, files[name], sizes[name], watch_memory=True) for name in chosen}
    results = [_result(name, runs[name], peaks[name].peak) for name in chosen]
    targets = _targets(runs, sizes)
    more: dict[str, Any] = {}
    if options.large and "millstream" in runs:
        file = data(options.large)
        large = once("millstream", file, options.large)
        peak = once("millstream", file, options.large, watch_memory=True).peak
        label = f"millstream, {options.large:,} rows"
        results.insert(-1, _result(label, [large], peak))
        small = statistics.median(run.seconds for run in runs["millstream"]) / options.rows
        per_row = large.seconds / options.large / small
        targets += [
            Target(f"{MOST_PER_ROW} over time a row, against fewer", MOST_PER_ROW / per_row, 1),
            Target(f"{MOST_MEMORY} MB over peak memory", MOST_MEMORY / peak, 1),
        ]
        more = {"large": options.large}
    return finish(
        "bulk",
        results,
        targets,
        check=options.check,
        left_out=left_out,
        rows=options.rows,
        default_rows=options.default_rows,
        **more,
    )


def _result(name: str, runs: list[Run], peak: float) -> Result:
    spans = {
        step: statistics.median(run.said[step] for run in runs)
        for step in ("extract", "normalize", "load")
        if all(step in run.said for run in runs)
    }
    notes = [f"{step} {span:.1f}" for step, span in spans.items()]
    notes.append(f"{statistics.median(run.cpu for run in runs):.1f} s of CPU")
    notes.append(f"{peak:.0f} MB")
    return median(name, runs, ", ".join(notes))


def _targets(runs: dict[str, list[Run]], sizes: dict[str, int]) -> list[Target]:
    def seconds(name: str) -> float:
        return statistics.median(run.seconds for run in runs[name]) / sizes[name]

    def normalize(name: str) -> float:
        return statistics.median(run.said["normalize"] for run in runs[name])

    whole = [
        ("millstream", "dlt, parquet", 6.0),
        ("millstream", DEFAULT, 60.0),
        ("millstream", f"{DEFAULT}, two workers", 60.0),
        ("millstream", "ingestr", 3.0),
        ("millstream", "sling", 3.0),
        ("millstream", "duckdb read_json", 1.0),
        ("millstream, dicts", "dlt, parquet", 3.0),
        ("millstream, dicts, one worker", "dlt, parquet, one worker", 3.0),
    ]
    targets = [
        Target(f"{ours}, whole run, times {peer}", seconds(peer) / seconds(ours), least)
        for ours, peer, least in whole
        if runs.get(ours) and runs.get(peer)
    ]
    for ours, peer, least in (
        ("millstream, dicts", "dlt, parquet", 5.0),
        ("millstream, dicts, one worker", "dlt, parquet, one worker", 5.0),
        ("millstream, dicts, messy", "dlt, parquet, messy", 3.0),
    ):
        if runs.get(ours) and runs.get(peer):
            targets.append(
                Target(f"{ours}, normalize, times {peer}", normalize(peer) / normalize(ours), least)
            )
    return targets


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contender"]:
        print(json.dumps(SCRIPTS[sys.argv[2]][1](*sys.argv[3:5])))
    else:
        sys.exit(main())
