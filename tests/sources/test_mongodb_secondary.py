"""Reads from a secondary that lags behind: as the connection string prefers, and none missed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import WriteConcern

from millstream.config import StaticPartitions
from millstream.runs.runner import run
from services import mongod
from sources.mongodb_kit import Shop

pytestmark = pytest.mark.xdist_group("mongodb")

Pair = tuple[mongod.Mongod, mongod.Mongod]
STOP = {"configureFailPoint": "rsSyncApplyStop"}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with mongod.with_secondary() as found:
        yield found


@pytest.fixture
def shop(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """500 documents that both members have; whoever loads prefers the secondary."""
    primary, _ = pair
    url = f"mongodb://127.0.0.1:{primary.port}/?replicaSet=rs0&readPreference=secondary"
    monkeypatch.setenv("MONGODB_URI", url)
    with primary.client() as client:
        client.drop_database("app")
        insert(client.app, range(500), members=2)
        yield Shop(primary, client.app, tmp_path)


def insert(database: Any, numbers: range, *, members: int) -> None:
    things = database.things.with_options(write_concern=WriteConcern(w=members))
    things.insert_many([{"_id": n, "n": n, "kind": "a"} for n in numbers])


def returned(server: mongod.Mongod) -> int:
    with server.client() as client:
        return int(client.admin.command("serverStatus")["metrics"]["document"]["returned"])


@contextmanager
def behind(secondary: mongod.Mongod, *, until_waited_for: bool) -> Iterator[None]:
    """The secondary takes nothing over, until a read has waited for it for a while."""
    ended = threading.Event()

    def goes_on() -> None:
        # a monitor's `hello` waits by design
        mine = {"appName": "millstream", "active": True, "command.hello": {"$exists": False}}
        with secondary.client() as client:
            deadline = time.monotonic() + 30
            while not ended.wait(0.05) and time.monotonic() < deadline:
                waits = client.admin.aggregate([{"$currentOp": {}}, {"$match": mine}])
                if any(each.get("microsecs_running", 0) > 300_000 for each in waits):
                    break
            client.admin.command({**STOP, "mode": "off"})

    with secondary.client() as client:
        client.admin.command({**STOP, "mode": "alwaysOn"})
        watching = threading.Thread(target=goes_on)
        if until_waited_for:
            watching.start()
        try:
            yield
        finally:
            ended.set()
            if until_waited_for:
                watching.join()
            client.admin.command({**STOP, "mode": "off"})


def test_the_member_that_is_preferred_is_read(pair: Pair, shop: Shop) -> None:
    before = [returned(member) for member in pair]
    assert shop.load("things").rows == 500
    read = [returned(member) - known for member, known in zip(pair, before)]
    assert read[0] < 100
    assert read[1] >= 500


@pytest.mark.parametrize("partition", [None, "a"])
def test_what_it_lacks_is_waited_for(pair: Pair, shop: Shop, partition: str | None) -> None:
    """A load of all, or of a partition, is not repeated soon: whoever wrote before it is in it."""
    config = shop.config(collections=["things"])
    if partition:
        parts = StaticPartitions(field="kind", values=("a",))
        config = config.model_copy(update={"partitions": parts})
    with behind(pair[1], until_waited_for=True):
        insert(shop.db, range(500, 600), members=1)
        run(config, "things", partition=partition)
    assert [n for (n,) in shop.rows("things", "_id")] == list(range(600))


def test_what_it_lacks_is_above_the_cursor_of_the_next_run(pair: Pair, shop: Shop) -> None:
    settings = {"things": {"cursor": "n"}}
    shop.load("things", settings=settings)
    with behind(pair[1], until_waited_for=False):
        insert(shop.db, range(500, 600), members=1)
        shop.load("things", settings=settings)
    insert(shop.db, range(600, 601), members=2)
    shop.load("things", settings=settings)
    assert [n for (n,) in shop.rows("things", "_id")] == list(range(601))
