"""Resources of one source that share a table or a state, and such as choose tables by the row."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import pytest

import millstream
from behaviour.conftest import configured
from behaviour.resources import STEP
from millstream.config import DltConfig, PipelineConfig
from millstream.errors import ConfigError
from millstream.runs.runner import replay, run
from services.places import Place

BOTH = ["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]


def shop(place: Place, function: str, **settings: Any) -> PipelineConfig:
    return configured(place, DltConfig(path=f"behaviour.resources:{function}", **settings))


def loads(config: PipelineConfig, stream: str, *steps: int, **options: Any) -> Any:
    for step in steps:
        STEP["now"] = step
        report = run(config, stream, **options)
    return report


@pytest.mark.nightly_on("bigquery")
def test_rows_of_two_resources_share_a_table(place: Place) -> None:
    config = shop(place, "shared_table", arguments={"texts": True})
    report = loads(config, "orders", 1, 2)
    assert place.column("orders", "id") == [11, 12, 21, 22]
    assert place.column("orders", "ref") == [11, 12, None, None]
    assert place.column("orders", "ref__v_text")[2:] == ["no 21", "no 22"]
    assert place.column("orders__items", "n", "n") == [11, 12, 21, 22]
    # each has a state of its own, which is restored
    assert place.column("orders", "loads") == [1, 2, 1, 2]
    assert (report.stream, report.rows) == ("orders", 2)


@pytest.mark.parametrize("place", BOTH, indirect=True)
def test_a_shared_table_is_replaced_as_one(place: Place) -> None:
    config = shop(place, "shared_table", arguments={"write_disposition": "replace"})
    loads(config, "orders", 1, 2)
    assert place.column("orders", "id") == [12, 22]
    loads(config, "orders", 3, full_refresh=True)
    assert place.column("orders", "id") == [13, 23]


def test_a_member_of_a_group_is_no_stream(duckdb_place: Place) -> None:
    config = shop(duckdb_place, "shared_table")
    with pytest.raises(
        ConfigError, match="'orders_us' is loaded together with orders_eu"
    ) as caught:
        run(config, "orders_us")
    assert caught.value.hint == "load the stream 'orders'"


def test_streams_that_share_a_table_are_refused(duckdb_place: Place) -> None:
    named = shop(duckdb_place, "shared_table", streams=["orders_eu", "orders_us"])
    with pytest.raises(ConfigError, match="orders_eu, orders_us load into one table, 'orders'"):
        run(named, "orders_us")
    assert not duckdb_place.extra["file"].exists() or not duckdb_place.query(
        "SELECT 1 FROM information_schema.tables WHERE table_name = 'orders'"
    )
    grouped = shop(
        duckdb_place,
        "shared_table",
        streams=["orders_eu", "orders_us"],
        stream_groups={"both": ["orders_eu", "orders_us"]},
    )
    loads(grouped, "both", 1)
    assert duckdb_place.column("orders", "id") == [11, 21]


def test_a_group_shares_the_state_of_its_source(duckdb_place: Place) -> None:
    grouped = shop(duckdb_place, "shared_state", stream_groups={"crm": ["fields", "deals"]})
    report = run(grouped, "crm")
    assert duckdb_place.column("deals", "budget") == [100]
    assert report.rows == 2
    assert not report.warnings


def test_state_that_no_other_stream_sees_is_told(duckdb_place: Place) -> None:
    config = shop(duckdb_place, "shared_state")
    (warning,) = run(config, "fields").warnings
    assert "dlt.current.source_state(): `names`" in warning
    assert "stream_groups" in warning
    assert not run(config, "deals").warnings


def test_a_cursor_other_than_the_partitions_is_refused(duckdb_place: Place) -> None:
    days = {"type": "time", "every": "day", "start": "2024-01-01", "cursor": "created_at"}
    config = PipelineConfig.model_validate(
        {**dict(shop(duckdb_place, "other_cursor")), "partitions": {**days, "cursor_type": "text"}}
    )
    with pytest.raises(ConfigError, match="reads by 'updated_at', and partitions go by") as caught:
        run(config, "orders", partition="2024-01-01")
    assert "cursor: updated_at" in str(caught.value.hint)


def test_assets_of_a_stream_whose_rows_choose_tables(duckdb_place: Place) -> None:
    config = shop(duckdb_place, "tables_by_row").model_copy(update={"folder": duckdb_place.project})

    def tables() -> dict[str, Any]:
        result = dg.materialize(
            millstream.step_assets(config), instance=dg.DagsterInstance.ephemeral()
        )
        events = [event.materialization for event in result.get_asset_materialization_events()]
        return {
            event.asset_key.path[-1]: (
                getattr(event.metadata.get("dagster/table_name"), "value", None),
                event.metadata["rows_loaded"].value,
            )
            for event in events
        }

    first, reloaded = tables(), tables()
    assert first == reloaded
    assert first == {
        "events": (None, 3),
        "ev_click": ("warehouse.shop.ev_click", 1),
        "ev_buy": ("warehouse.shop.ev_buy", 2),
        "ev_buy__items": ("warehouse.shop.ev_buy__items", 1),
    }


def test_replayed_rows_go_to_the_table_they_came_for(duckdb_place: Place) -> None:
    names = ["customers", "orders", "events"]
    config = shop(duckdb_place, "limited_tables", stream_groups={"all": names})
    run(config, "all")
    entries = duckdb_place.query(
        f"SELECT id, document FROM {duckdb_place.from_clause('_millstream_quarantine')}"
    )
    assert len(entries) == 3
    for entry, document in entries:
        row = {**json.loads(document), "code": "new"}
        replay(config, "all", ids=[entry], corrected=json.dumps(row))
    assert duckdb_place.column("customers", "code") == ["abc"]
    assert duckdb_place.column("orders", "code") == ["abc", "new"]
    assert duckdb_place.column("ev_buy", "code") == ["a", "new"]
    assert duckdb_place.column("ev_click", "code") == ["a", "new"]


def test_rows_of_several_tables_are_replayed_together(duckdb_place: Place) -> None:
    names = ["customers", "orders", "events"]
    config = shop(duckdb_place, "limited_tables", stream_groups={"all": names})
    run(config, "all")
    # as if the tables had room by now: the rows that wait are short enough
    quarantine = duckdb_place.from_clause("_millstream_quarantine")
    duckdb_place.query(f"UPDATE {quarantine} SET document = replace(document, 'abcd', 'new')")
    _, planned = replay(config, "all")
    assert len(planned.rows) == 3
    assert duckdb_place.column("customers", "code") == ["abc"]
    assert duckdb_place.column("orders", "code") == ["abc", "new"]
    assert duckdb_place.column("ev_buy", "code") == ["a", "new"]
    assert duckdb_place.column("ev_click", "code") == ["a", "new"]
