"""A MongoDB collection in partitions through Dagster: a backfill loads each document once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest

import millstream
from millstream.config import PipelineConfig, parse_pipeline
from services.mongod import Mongod

pytestmark = pytest.mark.xdist_group("mongodb")

DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
REGIONS = ["eu", "us", 'it\'s "asia"']


@pytest.fixture
def orders(mongodb_server: Mongod, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Six orders a day, from midnight to the last millisecond, of three regions."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server.url())
    with mongodb_server.client() as client:
        database = client[f"test_{uuid4().hex[:8]}"]
        hours = [(0, 0), (4, 0), (12, 0), (18, 0), (23, 0), (23, 999)]
        database.orders.insert_many(
            {
                "_id": 10 * day + n,
                "at": datetime(2024, 1, day, hour, 59 if ms else 0, 59 if ms else 0, ms * 1000),
                "region": REGIONS[n % 3],
                "items": [{"sku": f"{day}-{n}"}] * (n % 3),
            }
            for day in range(1, 4)
            for n, (hour, ms) in enumerate(hours)
        )
        yield database
        client.drop_database(database.name)


def config(folder: Path, database: Any, **partitions: Any) -> PipelineConfig:
    source = {"type": "mongodb", "databases": [database.name], "collections": ["orders"]}
    attributes = {"name": "shop", "source": source, "partitions": partitions}
    return parse_pipeline(attributes, where="a test", project=folder, folder=folder)


def found(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    import duckdb

    with duckdb.connect(str(folder / "shop_db.duckdb")) as connection:
        return connection.execute(sql).fetchall()


def backfill(made: PipelineConfig, keys: list[str]) -> dict[str, int]:
    """What each run of a backfill says that it loaded."""
    definitions = millstream.step_assets(made)
    loaded = {}
    for key in keys:
        result = dg.materialize(definitions, partition_key=key)
        for event in result.get_asset_materialization_events():
            if event.asset_key.path[-1] == "orders":
                assert event.partition == key
                loaded[key] = event.materialization.metadata["rows_loaded"].value
    return loaded


def test_a_backfill_by_time_loads_each_document_once(orders: Any, tmp_path: Path) -> None:
    made = config(tmp_path, orders, type="time", every="day", start=DAYS[0], cursor="at")

    assert backfill(made, [*reversed(DAYS), DAYS[1]]) == dict.fromkeys(DAYS, 6)

    assert found(tmp_path, "SELECT _id, _millstream_partition FROM shop.orders ORDER BY 1") == [
        (10 * day + n, DAYS[day - 1]) for day in range(1, 4) for n in range(6)
    ]
    assert found(
        tmp_path,
        "SELECT count(*), count(DISTINCT i.sku) FROM shop.orders AS o "
        "JOIN shop.orders__items AS i ON i._dlt_parent_id = o._dlt_id",
    ) == [(18, 12)]
    assert found(tmp_path, "SELECT count(*) FROM shop.orders__items") == [(18,)]

    # what changes, comes or goes within a day is all that another run of the day changes
    orders.orders.delete_one({"_id": 21})
    orders.orders.update_one({"_id": 22}, {"$set": {"region": "sea"}})
    moved = datetime(2024, 1, 3, 1, tzinfo=timezone.utc)
    orders.orders.update_one({"_id": 23}, {"$set": {"at": moved}})
    assert backfill(made, [DAYS[2], DAYS[1]]) == {DAYS[2]: 7, DAYS[1]: 4}
    assert found(
        tmp_path,
        "SELECT _id, region, _millstream_partition FROM shop.orders WHERE _id // 10 = 2 ORDER BY 1",
    ) == [
        (20, REGIONS[0], DAYS[1]),
        (22, "sea", DAYS[1]),
        (23, REGIONS[0], DAYS[2]),
        (24, REGIONS[1], DAYS[1]),
        (25, REGIONS[2], DAYS[1]),
    ]


@pytest.mark.nightly
def test_a_backfill_by_key_loads_each_document_once(orders: Any, tmp_path: Path) -> None:
    made = config(tmp_path, orders, type="static", field="region", values=REGIONS)

    assert backfill(made, [*REGIONS, REGIONS[2]]) == dict.fromkeys(REGIONS, 6)

    assert found(
        tmp_path, "SELECT _id, region, _millstream_partition FROM shop.orders ORDER BY 1"
    ) == [(10 * day + n, REGIONS[n % 3], REGIONS[n % 3]) for day in range(1, 4) for n in range(6)]
