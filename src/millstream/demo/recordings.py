"""Real GitHub data out of recorded exchanges in the source package of github3.py (BSD-3).

The package's tests hold 1,059 exchanges with GitHub's API, recorded from 2013 to 2023. Many show
the same issue at different times, with the fields that GitHub had then: real rows that change, and
real schema evolution. The package is fetched by name with pip into a folder that git ignores.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from millstream.demo.generated import generate
from millstream.demo.history import age

PACKAGE = "github3.py==4.0.1"
AS_OF = "2017-12-10T00:00:00Z"
"""The earlier date of the demo: at it, most rows were there, and many changed afterwards."""

REPOSITORIES = ("sigmavirus24/github3.py", "betamaxpy/betamax", "requests/requests")
"""The repositories with the most recorded rows."""

Rows = dict[str, list[dict[str, Any]]]
Dataset = dict[str, Rows]
"""`{"owner/name": {"issues": [rows], "labels": ...}}`; a row may be there in several versions."""

_VERSION = 1
_SHAPES: dict[str, tuple[str, frozenset[str]]] = {
    # stream: the end of a row's url, and what it has unless it is a mere mention in another row
    "issues": (
        r"/issues/\d+",
        frozenset({"id", "number", "title", "state", "user", "labels", "created_at", "updated_at"}),
    ),
    "issue_comments": (
        r"/issues/comments/\d+",
        frozenset({"id", "body", "user", "created_at", "updated_at"}),
    ),
    "issue_events": (r"/issues/events/\d+", frozenset({"id", "event", "actor", "created_at"})),
    "pull_requests": (
        r"/pulls/\d+",
        frozenset({"id", "number", "title", "state", "head", "base", "created_at", "updated_at"}),
    ),
    "labels": (r"/labels/[^/]+", frozenset({"id", "name", "color"})),
    "milestones": (
        r"/milestones/\d+",
        frozenset({"id", "number", "title", "state", "created_at", "updated_at"}),
    ),
    "releases": (r"/releases/\d+", frozenset({"id", "tag_name", "author", "created_at"})),
    "commits": (r"/commits/[0-9a-f]{40}", frozenset({"sha", "commit", "parents", "author"})),
}
_ROW = re.compile(r"https://api\.github\.com/repos/([^/]+/[^/]+)(/.+)")
_STARS = re.compile(r"/(?:repos/([^/]+/[^/]+)|repositories/(\d+))/stargazers")


@dataclass(frozen=True)
class Recordings:
    """A dataset, and where it is from in one sentence for people."""

    dataset: Dataset
    origin: str


def load(cache: Path) -> Recordings:
    """The recorded rows, fetched into `cache` when they are not there yet.

    Where they can't be fetched, generated rows of the same shape; `origin` says so, and why.
    """
    ready = cache / f"recordings-v{_VERSION}.json"
    if not ready.is_file():
        try:
            sdist = fetch(cache)
            dataset = read(sdist)
        except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            names = ", ".join(REPOSITORIES)
            return Recordings(
                {
                    name: age(generate(name, seed=seed), AS_OF)
                    for seed, name in enumerate(REPOSITORIES)
                },
                f"generated rows of the same shape under the names {names}, since the recordings "
                f"in {PACKAGE} could not be fetched: {_reason(error)}",
            )
        partial = ready.with_suffix(".partial")
        partial.write_text(json.dumps(dataset), encoding="utf-8")
        partial.replace(ready)
    else:
        dataset = json.loads(ready.read_text(encoding="utf-8"))
    return Recordings(dataset, f"real rows, recorded in the tests of {PACKAGE}")


def fetch(cache: Path) -> Path:
    """The source package, downloaded by pip unless `cache` has it.

    Raises:
        subprocess.SubprocessError: pip failed, or took longer than five minutes.
    """
    cache.mkdir(parents=True, exist_ok=True)
    found = sorted(cache.glob("github3*py-4.0.1.tar.gz"))
    if not found:
        subprocess.run(  # noqa: S603 - its own interpreter, fixed arguments
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
             "--no-deps", "--no-binary", ":all:", "--dest", str(cache), PACKAGE],
            check=True, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        found = sorted(cache.glob("github3*py-4.0.1.tar.gz"))
    if not found:
        raise FileNotFoundError(f"pip left no source package of {PACKAGE} in {cache}")
    return found[0]


def read(sdist: Path) -> Dataset:
    """Every row in the recordings, by repository and stream, oldest version first.

    Of versions with the same time of update, the first recorded counts: GitHub adds fields to rows
    that nobody touched, and an incremental load does not see these again either.
    """
    found: dict[tuple[str, str, str, str], tuple[str, dict[str, Any]]] = {}
    spelling: dict[str, str] = {}
    ids: dict[str, str] = {}
    stars: list[tuple[str, str, dict[str, Any]]] = []
    for recorded_at, path, document in _exchanges(sdist):
        for value in _objects(document):
            if "full_name" in value and "id" in value:
                ids[str(value["id"])] = str(value["full_name"])
            if (place := _place(value)) is None:
                continue
            repository, stream = place
            repository = spelling.setdefault(repository.lower(), repository)
            key = (repository, stream, str(value.get("id", value.get("sha"))), moment(value) or "")
            if key not in found or recorded_at < found[key][0]:
                found[key] = (recorded_at, value)
        star = _STARS.match(path)
        if star and isinstance(document, list):
            repository = star[1] or star[2]
            stars += [(recorded_at, repository, item) for item in document if "starred_at" in item]
    for recorded_at, repository, value in stars:
        repository = ids.get(repository, repository)
        repository = spelling.setdefault(repository.lower(), repository)
        key = (repository, "stargazers", str(value["user"]["id"]), value["starred_at"])
        found.setdefault(key, (recorded_at, value))
    dataset: Dataset = {}
    for (repository, stream, _, _), (recorded_at, value) in sorted(found.items()):
        value = {name: v for name, v in value.items() if name not in ("files", "stats")}
        rows = dataset.setdefault(repository, {}).setdefault(stream, [])
        rows.append({**value, "_recorded_at": recorded_at})
    return dataset


def moment(row: dict[str, Any]) -> str | None:
    """When a row last changed, ISO 8601 in UTC; None where GitHub does not say."""
    for name in ("updated_at", "starred_at", "created_at"):
        if isinstance(row.get(name), str):
            return str(row[name])
    commit = row.get("commit")
    if isinstance(commit, dict) and commit.get("committer"):
        return str(commit["committer"]["date"])
    return None


def _exchanges(sdist: Path) -> Iterator[tuple[str, str, Any]]:
    with tarfile.open(sdist) as package:
        members = [m for m in package.getmembers() if "/tests/cassettes/" in m.name and m.isfile()]
        for member in members:
            file = package.extractfile(member)
            if file is None or not member.name.endswith(".json"):
                continue
            for exchange in json.load(file)["http_interactions"]:
                document = _body(exchange["response"]["body"])
                if document is not None:
                    path = urlsplit(exchange["request"]["uri"]).path
                    yield exchange["recorded_at"], path, document


def _body(body: dict[str, str]) -> Any:
    """The JSON of a recorded body, plain or as base64 of gzip; None where it is something else."""
    if encoded := body.get("base64_string"):
        raw = base64.b64decode(encoded)
        text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    else:
        text = body.get("string", "").encode()
    try:
        return json.loads(text)
    except ValueError:
        return None  # diffs, archives, poems of an octocat


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _place(value: dict[str, Any]) -> tuple[str, str] | None:
    match = _ROW.fullmatch(str(value.get("url")))
    if match is None:
        return None
    for stream, (end, needed) in _SHAPES.items():
        if re.fullmatch(end, match[2]) and needed <= value.keys():
            return match[1], stream
    return None


def _reason(error: BaseException) -> str:
    output = getattr(error, "stderr", None)
    lines = str(output or error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
