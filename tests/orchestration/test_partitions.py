"""Partitions in Dagster: the same keys and windows, a run each or one for all, metadata each."""

from __future__ import annotations

from datetime import datetime, timezone

import dagster as dg
import pytest

import millstream
from millstream.config import TimePartitions
from millstream.orchestration import partitions

from . import shop
from .conftest import key, loaded, shop_config, specs_of

DAYS = {
    "type": "time",
    "every": "day",
    "start": "2024-01-01",
    "cursor": "at",
    "streams": ["orders"],
}


@pytest.fixture
def days(tmp_path):
    shop.rows["orders"] = [
        {"id": n, "at": f"2024-01-0{1 + n // 2}T12:00:00Z", "items": [{"n": 1}]} for n in range(6)
    ]
    return lambda **more: shop_config(tmp_path, partitions={**DAYS, **more})


@pytest.mark.parametrize(
    ("every", "start", "zone"),
    [
        ("hour", "2024-03-30", "UTC"),
        ("day", "2024-03-01", "Europe/Berlin"),
        ("day", "2024-10-20", "America/New_York"),
        ("week", "2024-03-06", "Europe/Berlin"),
        ("month", "2023-12-01", "Pacific/Auckland"),
    ],
)
def test_keys_and_windows_are_dagsters(every, start, zone):
    config = TimePartitions(every=every, start=start, timezone=zone)
    theirs = partitions._windows(config)
    now = datetime(2024, 4, 20, 7, 30, tzinfo=timezone.utc)
    if start > "2024-09":
        now = now.replace(month=11)
    keys = theirs.get_partition_keys(current_time=now)
    assert len(keys) > 2
    assert list(config.keys(now)) == list(keys)
    for each in keys:
        mine, window = config.partition("s", each), theirs.time_window_for_partition_key(each)
        assert mine.start.timestamp() == window.start.timestamp()
        assert mine.end.timestamp() == window.end.timestamp()


def test_a_run_loads_its_partition_and_says_which(days):
    definitions = millstream.step_assets(days())
    assert specs_of(definitions)[key("orders")].partitions_def is not None
    assert specs_of(definitions)[key("empty")].partitions_def is None
    assert {each.op.pool for each in definitions} == {"millstream_duckdb"}

    result = dg.materialize(definitions, selection=[key("orders")], partition_key="2024-01-02")

    assert result.success
    (event,) = [
        e.materialization
        for e in result.get_asset_materialization_events()
        if e.asset_key == key("orders")
    ]
    assert event.partition == "2024-01-02"
    assert event.metadata["rows_loaded"].value == 2
    assert loaded(result)["orders__items"]["rows_loaded"] == 2


def test_a_range_in_one_run_has_metadata_for_each_partition(days):
    shop.rows["orders"].pop()
    job = dg.Definitions(
        assets=millstream.step_assets(days(per_run=0)),
        jobs=[dg.define_asset_job("orders", selection=[key("orders")])],
    ).resolve_job_def("orders")

    result = job.execute_in_process(
        tags={
            "dagster/asset_partition_range_start": "2024-01-01",
            "dagster/asset_partition_range_end": "2024-01-03",
        }
    )

    assert result.success
    found = {
        e.materialization.partition: e.materialization.metadata["rows_loaded"].value
        for e in result.get_asset_materialization_events()
        if e.asset_key == key("orders")
    }
    assert found == {"2024-01-01": 2, "2024-01-02": 2, "2024-01-03": 1}


def test_a_schedule_runs_the_window_that_ended_last(days):
    made = millstream.definitions(days(streams=[]).model_copy(update={"schedule": "0 1 * * *"}))
    (schedule,) = made.schedules
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2024, 1, 5, 1, tzinfo=timezone.utc),
        repository_def=made.get_repository_def(),
    )
    (request,) = schedule.evaluate_tick(context).run_requests
    assert request.partition_key == "2024-01-04"
