"""Runs of a collection that is written to all the while, killed again and again."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest

from services.mongod import Mongod
from services.places import Place

KILLS = int(
    os.environ.get("MILLSTREAM_KILLS", "30" if os.environ.get("MILLSTREAM_NIGHTLY") else "3")
)
START = 2000
"""Documents that are there before the first run."""


@contextmanager
def written_to(collection: Any, *, deletes: bool) -> Iterator[None]:
    """Documents are inserted, changed and, if so, deleted until the block ends."""
    stop = Event()
    failures: list[BaseException] = []

    def document(key: int, version: int) -> dict[str, Any]:
        return {
            "_id": key,
            "version": version,
            "at": datetime.now(timezone.utc),
            "tags": [{"n": n} for n in range(version % 3)],
        }

    collection.insert_many([document(key, 1) for key in range(START)])

    def write() -> None:
        there, new = list(range(START)), START
        try:
            while not stop.is_set():
                what = random.random()
                if what < 0.4:
                    collection.insert_one(document(new, 1))
                    there.append(new)
                    new += 1
                elif what < 0.8 or not deletes:
                    key = random.choice(there)
                    old = collection.find_one({"_id": key})
                    collection.replace_one({"_id": key}, document(key, old["version"] + 1))
                else:
                    key = there.pop(random.randrange(len(there)))
                    collection.delete_one({"_id": key})
                stop.wait(0.002)
        except BaseException as error:
            failures.append(error)

    thread = Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures


@pytest.mark.parametrize("mode", ["cursor", "soft", "hard"])
@pytest.mark.parametrize(
    "kind", ["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]
)
def test_nothing_is_missed(
    kind: str, mode: str, request: pytest.FixtureRequest, mongodb_server: Mongod
) -> None:
    if KILLS == 3 and (kind, mode) != ("postgres", "soft"):
        pytest.skip("nightly")
    place: Place = request.getfixturevalue(f"{kind}_place")
    name = f"kills_{uuid4().hex[:8]}"
    settings: dict[str, Any] = {
        "cursor": {"collections": ["docs"], "settings": {"docs": {"cursor": "at", "lag": 20}}},
        "soft": {"collections": ["docs"], "changes": True, "deletes": "soft"},
        "hard": {"collections": ["docs"], "changes": True, "deletes": "hard"},
    }[mode]
    task = {
        "project": str(place.project),
        "stream": "docs",
        "config": {
            "name": "shop",
            "source": {"type": "mongodb", "databases": [name], **settings},
            "schema_policy": "anything",
            "destination": dict(place.destination),
        },
    }
    hunter = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("mongodb_kill_worker.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(place.project / "log").open("w"),
        text=True,
        env={**os.environ, "MONGODB_URI": mongodb_server.url(name)},
    )

    def run(after: float | None) -> int:
        assert hunter.stdin is not None
        assert hunter.stdout is not None
        hunter.stdin.write(json.dumps({**task, "after": after}) + "\n")
        hunter.stdin.flush()
        return int(hunter.stdout.readline())

    client = mongodb_server.client()
    collection = client[name].create_collection(
        "docs", changeStreamPreAndPostImages={"enabled": True}
    )
    codes = []
    try:
        with written_to(collection, deletes=mode != "cursor"):
            longest = 6.0
            for _ in range(KILLS):
                codes.append(run(random.uniform(0.2, longest)))
        codes.append(run(None))
        codes.append(run(None))
        found = {each["_id"]: (each["version"], len(each["tags"])) for each in collection.find()}
        latest = max(found)
    finally:
        hunter.communicate()
        client.drop_database(name)
        client.close()
    log = (place.project / "log").read_text()
    print(kind, mode, codes, len(found))
    assert set(codes) <= {0, -9}, log[-3000:]
    assert codes[-2:] == [0, 0], log[-3000:]
    docs, tags = place.from_clause("docs"), place.from_clause("docs__tags")
    alive = "WHERE d.deleted_at IS NULL" if mode == "soft" else ""
    rows = place.query(
        f"SELECT d._id, d.version, COUNT(t.n) FROM {docs} AS d LEFT JOIN {tags} AS t "
        f"ON t._dlt_parent_id = d._dlt_id {alive} GROUP BY d._id, d.version, d._dlt_id"
    )
    assert len(rows) == len({key for key, _, _ in rows})
    loaded = {int(key): (version, count) for key, version, count in rows}
    assert loaded == found, {
        "missing": sorted(found.keys() - loaded.keys()),
        "too many": sorted(loaded.keys() - found.keys()),
        "other": [key for key in found if key in loaded and loaded[key] != found[key]],
    }
    assert latest >= START
