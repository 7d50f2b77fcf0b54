"""Reads from a secondary that lags behind: as the connection string prefers, and none missed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import WriteConcern

from parts import mongod
from sources.mongodb_kit import Shop

pytestmark = pytest.mark.xdist_group("mongodb")

Pair = tuple[mongod.Mongod, mongod.Mongod]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with mongod.with_secondary() as found:
        yield found


def returned(server: mongod.Mongod) -> int:
    with server.client() as client:
        return int(client.admin.command("serverStatus")["metrics"]["document"]["returned"])


@pytest.mark.parametrize("settings", [{}, {"cursor": "n"}])
def test_the_member_that_is_preferred_is_read_and_what_it_lacks_is_waited_for(
    pair: Pair, settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, secondary = pair
    url = f"mongodb://127.0.0.1:{primary.port}/?replicaSet=rs0&readPreference=secondary"
    monkeypatch.setenv("MONGODB_URI", url)
    with primary.client() as client, secondary.client() as follower:
        client.drop_database("app")
        shop = Shop(primary, client.app, tmp_path, {"settings": {"things": settings}})
        everywhere = client.app.things.with_options(write_concern=WriteConcern(w=2))
        everywhere.insert_many([{"_id": n, "n": n} for n in range(500)])
        before = returned(primary), returned(secondary)
        assert shop.load("things").rows == 500
        assert returned(primary) - before[0] < 100
        assert returned(secondary) - before[1] >= 500

        stop = {"configureFailPoint": "rsSyncApplyStop"}
        follower.admin.command({**stop, "mode": "alwaysOn"})
        goes_on = threading.Timer(1.0, lambda: follower.admin.command({**stop, "mode": "off"}))
        try:
            alone = client.app.things.with_options(write_concern=WriteConcern(w=1))
            alone.insert_many([{"_id": n, "n": n} for n in range(500, 600)])
            assert follower.app.things.count_documents({}) == 500
            goes_on.start()
            shop.load("things")
        finally:
            goes_on.cancel()
            follower.admin.command({**stop, "mode": "off"})
    assert [n for (n,) in shop.rows("things", "_id")] == list(range(600))
