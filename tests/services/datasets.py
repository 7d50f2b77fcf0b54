"""Real data out of packages, fetched once by name into the ignored cache, never committed.

    python -m tests.services.datasets    fetch all of it now

`npm pack` fetches the npm packages; without npm their tests are skipped. The source package of
pygithub (LGPL) is only ever read.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.services import CACHE, missing

NPM = {
    "movies": ("vega-datasets@3.2.1", "data/movies.json"),
    "twitter": ("simdjson@0.9.2", "jsonexamples/twitter.json"),
    "citm_catalog": ("simdjson@0.9.2", "jsonexamples/citm_catalog.json"),
    "apache_builds": ("simdjson@0.9.2", "jsonexamples/apache_builds.json"),
    "github_events": ("simdjson@0.9.2", "jsonexamples/github_events.json"),
    "sf_citylots": ("simdjson@0.9.2", "jsonexamples/sf_citylots.json.gz"),
}
PYGITHUB = "pygithub==2.10.0"
MOST = 400
"""Rows of a data set that are kept: enough for several lines of several loads."""


def rows(name: str) -> list[Any]:
    """The rows of a data set, at most `MOST`; ends the test where it can't be had."""
    folder = CACHE / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{name}.rows.json"
    with _locked(folder):
        if not kept.is_file():
            found = _pygithub(folder) if name == "pygithub_issues" else _npm(folder, name)
            new = kept.with_suffix(".new")
            new.write_text(json.dumps(found[:MOST]), encoding="utf-8")
            new.replace(kept)
    return list(json.loads(kept.read_text(encoding="utf-8")))


def inner_rows(document: Any) -> list[Any]:
    """Rows of a document; one object around them, as search results have it, goes."""
    if isinstance(document, dict):
        lists = (value for value in document.values() if isinstance(value, list))
        return list(max(lists, key=len, default=[document]))
    return list(document)


def _npm(folder: Path, name: str) -> list[Any]:
    package, member = NPM[name]
    packed = folder / f"{package.replace('@', '-')}.tgz"
    if not packed.is_file():
        if shutil.which("npm") is None:
            pytest.skip(f"no npm here, which fetches {package}")
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), package]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            missing(f"no {name}: `npm pack {package}` failed")
    with tarfile.open(packed) as archive:
        file = archive.extractfile(f"package/{member}")
        assert file is not None
        if member.endswith(".gz"):  # 190 MB of GeoJSON, a feature on each line
            with gzip.open(file) as lines:
                features = (line for line in lines if b'"Feature"' in line)
                return [json.loads(line.rstrip(b",\r\n ")) for line in islice(features, MOST)]
        return inner_rows(json.load(file))


def _pygithub(folder: Path) -> list[Any]:
    """Issues that are recorded in PyGithub's tests, in many versions over ten years."""
    packed = folder / f"{PYGITHUB.replace('==', '-')}.tar.gz"
    if not packed.is_file():
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        done = subprocess.run(
            [*pip, "--dest", str(folder), PYGITHUB], capture_output=True, check=False
        )
        if done.returncode:
            missing(f"no recordings of PyGithub: `pip download {PYGITHUB}` failed")
    found = []
    with tarfile.open(packed) as archive:
        members = sorted(archive.getmembers(), key=lambda member: member.name)
        for member in members:
            if "/ReplayData/" not in member.name or not member.isfile():
                continue
            file = archive.extractfile(member)
            assert file is not None
            for line in file.read().decode("utf-8", "replace").splitlines():
                if line.startswith(("{", "[{")):
                    found += _issues(line)
    return found


def _issues(line: str) -> Iterator[dict[str, Any]]:
    try:
        document = json.loads(line)
    except ValueError:  # headers are written as Python has them
        return
    for row in document if isinstance(document, list) else [document]:
        if isinstance(row, dict) and {"number", "title", "labels", "user", "comments"} <= {*row}:
            yield row


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    os.environ.pop("CI", None)
    for each in (*NPM, "pygithub_issues"):
        print(each, len(rows(each)), "rows")
