"""JSON lines into PostgreSQL in bulk: Millstream beside its peers, whole processes, two cores each.

    make bench NAME=postgres                       100,000 issues, medians of three
    make bench NAME=postgres ARGS="--rows 20000"   fewer
    make bench NAME=postgres ARGS="--only millstream --only 'dlt, csv, at its best'"
    make bench NAME=postgres ARGS="--inserts"      also dlt as it comes, by INSERT statements
    python bench/postgres.py --contender NAME FILE URL    one of them, once

Each contender runs in an environment of its own under bench/.work (peers.py) and loads into a new
database of one real server, which is started for the benchmark and shares the two cores. All take
their turns in each round. What each made is counted: ingestr and Sling make one table and no child
tables. dlt's CSV is its fastest way, and turns empty text into null.
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
from bulk import PLAIN, SETTINGS, data
from harness import WORK, Run, Target, finish, median, run

OURS = "millstream"
BEST = "dlt, csv, at its best"
INSERTS = "dlt, as it comes"


def load_dlt(file: str, url: str, loader_format: str | None = "csv") -> dict[str, Any]:
    """dlt into PostgreSQL."""
    import dlt

    destination = dlt.destinations.postgres(url)
    folder = WORK / "postgres" / "pipeline"
    return peers.load_pages(file, destination, str(folder), loader_format)


def load_inserts(file: str, url: str) -> dict[str, Any]:
    """The same in dlt's own format for PostgreSQL."""
    return load_dlt(file, url, None)


def ingestr(file: str, url: str) -> dict[str, Any]:
    """ingestr: one table, objects and lists as JSON text."""
    peers.ingestr(f"jsonl://{file}", "issues", url, "public.issues")
    return {}


def sling(file: str, url: str) -> dict[str, Any]:
    """Sling: one table, objects as JSON text."""
    peers.sling(file, f"{url}?sslmode=disable", "public.issues", WORK / "postgres" / "sling")
    return {}


SCRIPTS: dict[str, tuple[str, Callable[[str, str], dict[str, Any]]]] = {
    INSERTS: ("dlt-postgres", load_inserts),
    BEST: ("dlt-postgres", load_dlt),
    "ingestr": ("ingestr", ingestr),
    "sling": ("sling", sling),
}
ENVIRONMENTS = {name: made for name, (made, _) in SCRIPTS.items()} | {OURS: "millstream-postgres"}


def once(name: str, file: Path, rows: int, server: Any) -> Run:
    """A contender, once; what it made is counted."""
    folder = WORK / "postgres"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    database = server.new_database()
    url = server.url(database)
    if name == OURS:
        target = {"type": "postgres"}
        contender = peers.millstream("millstream-postgres", folder, str(file), target)
        settings = {
            "DESTINATION__POSTGRES__CREDENTIALS": url,
            "MILLSTREAM_HOME": str(folder / "home"),
        }
    else:
        python = str(peers.python_of(ENVIRONMENTS[name]))
        contender, settings = [python, __file__, "--contender", name, str(file), url], {}
        if name == BEST:
            # two workers, and files for them to share
            settings |= PLAIN | {
                "NORMALIZE__WORKERS": "2",
                "SOURCES__DATA_WRITER__FILE_MAX_ITEMS": str(max(rows // 4, 1000)),
            }
    found = run(contender, SETTINGS | settings)
    if name == OURS:
        found = replace(found, said=found.said["reports"][0]["seconds"])
    schema = "bulk" if name.startswith(("dlt", OURS)) else "public"
    ((count,),) = server.query(database, f"SELECT count(*) FROM {schema}.issues")
    assert count == rows, f"{count} rows instead of {rows}"
    if schema == "bulk":
        ((labels,),) = server.query(database, "SELECT count(*) FROM bulk.issues__labels")
        assert labels
    server.query("postgres", f'DROP DATABASE "{database}"')
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{name}: {found.seconds:.2f} s, {found.cpu:.1f} s of CPU", file=sys.stderr)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--inserts", action="store_true")
    parser.add_argument("--only", choices=ENVIRONMENTS, action="append")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    chosen = [name for name in ENVIRONMENTS if name in (options.only or ENVIRONMENTS)]
    if not options.inserts:
        chosen = [name for name in chosen if name != INSERTS]
    problems = {name: peers.missing(name) for name in {ENVIRONMENTS[each] for each in chosen}}
    left_out = [text for text in problems.values() if text is not None]
    chosen = [name for name in chosen if problems[ENVIRONMENTS[name]] is None]
    sys.path.insert(0, str(peers.ROOT / "tests"))
    from services import postgres

    file = data(options.rows)
    runs: dict[str, list[Run]] = {name: [] for name in chosen}
    with postgres.running() as server:
        for _ in range(options.repeat):
            for name in [*runs]:
                try:
                    runs[name].append(once(name, file, options.rows, server))
                except (RuntimeError, AssertionError) as error:
                    if name in (OURS, BEST):
                        raise
                    left_out.append(f"{name}: {str(error)[-300:]}")
                    del runs[name]
    seconds = {name: statistics.median(run.seconds for run in each) for name, each in runs.items()}
    targets = [
        Target(f"{OURS}, times {peer}", seconds[peer] / seconds[OURS], least)
        for peer, least in ((BEST, 3.0), ("ingestr", 1.0), ("sling", 1.0))
        if peer in seconds and OURS in seconds
    ]
    results = [median(name, each, _notes(each)) for name, each in runs.items()]
    return finish(
        "postgres",
        results,
        targets,
        check=options.check,
        left_out=left_out,
        rows=options.rows,
    )


def _notes(runs: list[Run]) -> str:
    spans = {
        step: statistics.median(run.said[step] for run in runs)
        for step in ("extract", "normalize", "load")
        if all(step in run.said for run in runs)
    }
    notes = [f"{step} {span:.1f}" for step, span in spans.items()]
    return ", ".join([*notes, f"{statistics.median(run.cpu for run in runs):.1f} s of CPU"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--contender"]:
        print(json.dumps(SCRIPTS[sys.argv[2]][1](*sys.argv[3:5])))
    else:
        sys.exit(main())
