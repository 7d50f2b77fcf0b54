"""Faults of a real server in the middle of a load, and values that a destination can't hold."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from bson import Code, Decimal128, Int64, MinKey, ObjectId, Regex, Timestamp

import millstream
from millstream.config import PipelineConfig
from millstream.runs.runner import run
from services import wait_for
from services.places import Place
from sources.mongodb_kit import Shop

pytestmark = pytest.mark.xdist_group("mongodb")


def test_a_primary_that_steps_down_in_mid_read(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs up on nobody that only reads; whoever waits for a primary finds it again."""
    from pymongo.errors import AutoReconnect, OperationFailure

    shop.db.things.insert_many([{"_id": n, "text": "x" * 200} for n in range(4000)])
    admin = shop.db.client.admin
    stepped_down = threading.Event()

    def step_down() -> None:
        # the first batches are on their way when it happens
        wait_for(lambda: shop.commands() > before + 200, seconds=60, what="the first batches")
        try:
            admin.command("replSetStepDown", 1, secondaryCatchUpPeriodSecs=0, force=True)
        except (AutoReconnect, OperationFailure):
            pass  # it may hang up before it answers
        if not admin.command("hello")["isWritablePrimary"]:
            stepped_down.set()

    before = shop.commands()
    other = threading.Thread(target=step_down)
    other.start()
    try:
        report = shop.load("things", chunk_size=20, parallel=2)
    finally:
        other.join()
        wait_for(
            lambda: admin.command("hello")["isWritablePrimary"], seconds=60, what="a new primary"
        )

    assert stepped_down.is_set()
    assert report.rows == 4000
    assert [n for (n,) in shop.rows("things", "_id")] == list(range(4000))


def test_a_primary_that_steps_down_under_a_change_stream(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n} for n in range(3)])
    shop.load("things", changes=True)
    shop.db.things.insert_one({"_id": 3})
    admin = shop.db.client.admin
    with shop.failing("getMore aggregate", {"times": 2}, code=189):
        shop.load("things", changes=True)
    assert [n for (n,) in shop.rows("things", "_id")] == [0, 1, 2, 3]
    assert admin.command("hello")["isWritablePrimary"]


def test_a_dropped_connection_costs_one_collection(shop: Shop) -> None:
    import dagster as dg

    names = ["a", "b", "c", "d"]
    for name in names:
        shop.db[name].insert_many([{"_id": n} for n in range(300)])
    config = shop.config(collections=names, chunk_size=10)
    with shop.failing("getMore", {"times": 5}):
        result = dg.materialize(millstream.step_assets(config))
    assert result.success
    for name in names:
        assert [n for (n,) in shop.rows(name, "_id")] == list(range(300))


def loaded(shop: Shop, place: Place, **settings: Any) -> Any:
    config = PipelineConfig.model_validate(
        {**shop.config(**settings).model_dump(), "destination": place.destination}
        | {"project": place.project}
    )
    return run(config, "things")


def test_nul_characters_reach_postgres_as_a_sign_and_are_counted(
    shop: Shop, postgres_place: Place
) -> None:
    texts = ["a", "a\0", "\0", "it's \\ \0\n", "␀"]
    shop.db.things.insert_many(
        [{"_id": text, "n": n, "tags": [text]} for n, text in enumerate(texts)]
    )
    report = loaded(shop, postgres_place, collections=["things"])
    signed = [text.replace("\0", "␀") for text in texts]
    # "\0" and "␀" are two documents, and stay two rows
    assert postgres_place.column("things", "_id", order="n") == signed
    values = postgres_place.query("SELECT value FROM shop.things__tags")
    assert sorted(value for (value,) in values) == sorted(signed)
    (warning,) = [each for each in report.warnings if "NUL" in each]
    assert warning.startswith("NUL characters in 6 texts: postgres can't store them")
    shop.db.things.delete_many({"_id": {"$regex": "\\x00"}})
    again = loaded(shop, postgres_place, collections=["things"])
    assert not [each for each in again.warnings if "NUL" in each]


def test_nul_characters_stay_what_they_are_where_they_can(shop: Shop) -> None:
    shop.db.things.insert_one({"_id": "a\0", "t": "\0"})
    report = shop.load("things")
    assert shop.rows("things", "_id", "t") == [("a\0", "\0")]
    assert not report.warnings


def test_postgres_gets_the_same_from_columns_and_from_dlt(
    shop: Shop, postgres_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: list[Any] = [
        "", "\\N", 'a "b"\n', 1, Int64(2**62), 1.5, float("nan"), float("-inf"), -0.0, True,
        datetime(2024, 2, 29, 12, 30, 15, 123000, tzinfo=timezone.utc), ObjectId(b"012345678901"),
        Decimal128("1.50"), b"\x00\xff", None, [], {}, [1, "a"], {"a": {"b": [{"c": ""}, {}]}},
        Regex("^a", "i"), Timestamp(1, 2), Code("x"), MinKey(),
    ]  # fmt: skip
    shop.db.things.insert_many(
        [{"_id": n, f"f{n % len(values)}": values[n % len(values)]} for n in range(500)]
        + [{"_id": 500 + n, "mixed": value} for n, value in enumerate(values)]
    )
    report = loaded(shop, postgres_place, collections=["things"])
    assert {*report.engine_rows} >= {"millstream"}
    monkeypatch.setenv("MILLSTREAM_ENGINE", "dlt")
    other = replace(postgres_place, destination={"type": "postgres", "dataset": "other"})
    loaded(shop, other, collections=["things"])
    tables = [table.name for table in report.tables]
    assert len(tables) > 2
    for table in tables:
        ((names,),) = postgres_place.query(
            "SELECT string_agg(quote_ident(column_name) || '::text', ', ' ORDER BY column_name) "
            "FROM information_schema.columns WHERE table_schema = 'shop' "
            f"AND table_name = '{table}' AND column_name NOT LIKE '\\_dlt\\_%'"
        )
        one, two = (f"SELECT {names} FROM {dataset}.{table}" for dataset in ("shop", "other"))
        for first, second in ((one, two), (two, one)):
            assert postgres_place.query(f"{first} EXCEPT ALL {second}") == []
