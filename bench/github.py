"""GitHub issues into DuckDB: 40 pages of 100 issues, 200 ms a response.

    python bench/github.py [--check] [--runs 3]

The peers use dlt as it comes: the loop of the blog post that Millstream starts from, which sleeps
two seconds a page, and dlt's own `rest_api` source as its documentation shows it. Whole processes,
all in one environment that has Millstream's core and no extras.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import WORK, Run, Target, core_python, finish, median, run

PAGES = 40
ISSUES = PAGES * 100
LATENCY = 0.2
REPOSITORY = "octo/hello"
FOLDER = WORK / "github"


def post(url: str, folder: Path) -> None:
    """The blog post's resource: page by page, two seconds of sleep after each."""
    import time

    import dlt
    import requests

    @dlt.resource(name="issues", write_disposition="merge", primary_key="id")
    def issues() -> Iterator[Any]:
        page = (
            f"{url}/repos/{REPOSITORY}/issues?per_page=100&sort=updated&directions=desc&state=all"
        )
        while True:
            response = requests.get(page, timeout=60)
            response.raise_for_status()
            yield response.json()
            time.sleep(2)
            if "next" not in response.links:
                break
            page = response.links["next"]["url"]

    _pipeline("post", folder).run(issues())


def rest_api(url: str, folder: Path) -> None:
    """dlt's declarative source, configured as its documentation does for GitHub."""
    from dlt.sources.rest_api import rest_api_source

    source = rest_api_source(
        {
            "client": {"base_url": url, "paginator": "header_link"},
            "resource_defaults": {
                "primary_key": "id",
                "write_disposition": "merge",
                "endpoint": {"params": {"per_page": 100}},
            },
            "resources": [
                {
                    "name": "issues",
                    "endpoint": {
                        "path": f"repos/{REPOSITORY}/issues",
                        "params": {"sort": "updated", "direction": "desc", "state": "all"},
                    },
                }
            ],
        }
    )
    _pipeline("rest_api", folder).run(source)


def millstream(peer: str, url: str, folder: Path) -> list[str]:
    """Ours: the command `millstream run`, on a `defs.yaml` as `millstream init` writes it."""
    endpoint = {
        "path": f"repos/{REPOSITORY}/issues",
        "params": {"per_page": 100, "sort": "updated", "direction": "desc", "state": "all"},
    }
    issues = {
        "name": "issues",
        "primary_key": "id",
        "write_disposition": "merge",
        "endpoint": endpoint,
    }
    sources: dict[str, Any] = {
        "millstream": {"type": "github", "repositories": [REPOSITORY], "base_url": url},
        "millstream_rest_api": {
            "type": "rest_api",
            "client": {"base_url": url, "paginator": "header_link"},
            "resources": [issues],
        },
    }
    target = {"type": "duckdb", "database": str(folder / "issues.duckdb"), "dataset": "github"}
    attributes = {"name": "github", "source": sources[peer], "destination": target}
    (folder / "defs.yaml").write_text(
        json.dumps({"type": "millstream.Pipeline", "attributes": attributes})
    )
    command = Path(core_python()).with_name("millstream")
    return [str(command), "run", str(folder), "--stream", "issues"]


SCRIPTS: dict[str, Callable[[str, Path], None]] = {"post": post, "rest_api": rest_api}
PEERS = {
    "post": "the post's loop",
    "rest_api": "dlt rest_api",
    "millstream": "millstream",
    "millstream_rest_api": "millstream, type: rest_api",
}


def _pipeline(name: str, folder: Path) -> Any:
    import dlt

    return dlt.pipeline(
        f"bench_{name}",
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.duckdb(str(folder / "issues.duckdb")),
        dataset_name="github",
    )


@contextmanager
def server() -> Iterator[str]:
    """The fixture server in a process of its own; yields its URL."""
    command = [sys.executable, "-m", "millstream.demo.github_server"]
    command += ["--generate", str(ISSUES), "--latency", str(LATENCY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        process.stdout.readline()
        try:
            yield url
        finally:
            process.terminate()


def measure(peer: str, url: str, number: int) -> tuple[Run, dict[str, Any]]:
    """One run into an empty database; what the server counted, and whether all issues are there."""
    folder = FOLDER / f"{peer}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _server(url, "/_fixture/forget")
    if peer in SCRIPTS:
        command = [core_python(), __file__, "--script", peer, "--url", url, "--folder", str(folder)]
    else:
        command = millstream(peer, url, folder)
    timed = run(
        command,
        env={
            "DLT_DATA_DIR": str(folder / "dlt"),
            "MILLSTREAM_HOME": str(folder / "home"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
        },
    )
    counted = _server(url, "/_fixture/stats")
    import duckdb

    with duckdb.connect(str(folder / "issues.duckdb"), read_only=True) as connection:
        rows, distinct = connection.execute(
            "select count(*), count(distinct id) from github.issues"
        ).fetchall()[0]
    return timed, {**counted, "complete": rows == distinct == ISSUES}


def _server(url: str, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(url + path, method="POST")) as answer:
        return dict(json.load(answer))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 below the targets")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--script", choices=list(SCRIPTS), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.script:
        SCRIPTS[options.script](options.url, options.folder)
        return 0
    results, counted = {}, {}
    with server() as url:
        for peer in options.only:
            measured = [measure(peer, url, number) for number in range(options.runs)]
            counted[peer] = [stats for _, stats in measured]
            notes = f"{counted[peer][-1]['requests']} requests"
            results[peer] = median(PEERS[peer], [timed for timed, _ in measured], notes)
    targets = []
    if "millstream" in results:
        ours = results["millstream"].seconds
        for peer, least in (("post", 20.0), ("rest_api", 5.0)):
            if peer in results:
                name = f"times as fast as {PEERS[peer]}"
                targets.append(Target(name, round(results[peer].seconds / ours, 2), least))
        never = all(stats["refused"] == 0 for stats in counted["millstream"])
        once = all(stats["complete"] for stats in counted["millstream"])
        targets.append(Target("rate limit never exceeded (1: yes)", float(never), 1))
        targets.append(Target("every issue loaded once (1: yes)", float(once), 1))
    if {"rest_api", "millstream_rest_api"} <= results.keys():
        ratio = results["rest_api"].seconds / results["millstream_rest_api"].seconds
        targets.append(Target("type: rest_api, times dlt rest_api", round(ratio, 2), 5.0))
        once = all(stats["complete"] for stats in counted["millstream_rest_api"])
        targets.append(Target("type: rest_api, every issue once (1: yes)", float(once), 1))
    return finish(
        "github",
        list(results.values()),
        targets,
        check=options.check,
        pages=PAGES,
        issues=ISSUES,
        latency=LATENCY,
        server=counted,
    )


if __name__ == "__main__":
    sys.exit(main())
