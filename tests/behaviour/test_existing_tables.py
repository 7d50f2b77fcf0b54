"""A dataset in which dlt, or another tool, has made the tables that a stream is to load into."""

from __future__ import annotations

from typing import Any

import dlt
import pytest

from behaviour.conftest import configured
from behaviour.feed import FEED
from millstream import destinations
from millstream.config import DltConfig, PipelineConfig, TargetConfig
from millstream.errors import ConfigError
from millstream.runs.runner import run, run_data
from services.places import Place

BOTH = ["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]
OLD = [{"id": 1, "price": 5, "items": [{"sku": "a"}]}, {"id": 2, "price": 6, "items": []}]
NEW = [{"id": 3, "price": 9.75, "items": [{"sku": "b"}]}]


def shop(place: Place, disposition: str = "append", **options: Any) -> PipelineConfig:
    source = DltConfig(path="behaviour.feed:orders", arguments={"write_disposition": disposition})
    return configured(place, source).model_copy(update=options)


def dlt_loads(place: Place, name: str, rows: list[dict[str, Any]]) -> None:
    """What a script of dlt's alone has loaded before."""
    config = configured(place)
    pipeline = dlt.pipeline(
        pipeline_name="old_script",
        pipelines_dir=str(place.project / "old"),
        destination=destinations.build(config),
        dataset_name=place.dataset,
    )
    pipeline.run(
        rows,
        table_name=name,
        primary_key="id" if name == "orders" else None,
        loader_file_format="parquet" if place.destination["type"] == "filesystem" else None,
    )
    pipeline.deactivate()


@pytest.mark.nightly_on("bigquery")
def test_tables_of_dlts_are_refused_before_the_source_is_asked(place: Place) -> None:
    dlt_loads(place, "orders", OLD)
    FEED.rows = NEW
    with pytest.raises(ConfigError, match="already has the table `orders`, made by the dlt schema"):
        run(shop(place), "orders")
    assert FEED.asked == 0
    assert place.count("orders") == 2
    # other tables of the dataset are nobody's business
    run_data(
        [{"id": 1}],
        TargetConfig(
            name="notes",
            destination={**place.destination, "dataset": place.dataset},
            project=place.project,
        ),
        stream="notes",
    )
    assert place.count("notes") == 1


@pytest.mark.not_on("delta", "iceberg")
@pytest.mark.nightly_on("bigquery")
@pytest.mark.nightly_on("postgres")
def test_accepted_tables_keep_their_columns(place: Place) -> None:
    dlt_loads(place, "orders", OLD)
    FEED.rows = NEW
    for _ in range(2):  # the second run knows the tables as its own
        report = run(shop(place, accept_existing=True), "orders")
    assert report.rows == 1
    assert place.count("orders") == 4
    prices = place.query(
        f"SELECT id, price, price__v_double FROM {place.from_clause('orders')} ORDER BY id"
    )
    assert [tuple(row) for row in prices] == [(1, 5, None), (2, 6, None)] + [(3, None, 9.75)] * 2
    assert place.column("orders__items", "sku", "sku") == ["a", "b", "b"]
    FEED.rows = OLD
    run(shop(place), "orders")  # they are the stream's by now
    assert place.count("orders") == 6


@pytest.mark.parametrize("place", BOTH, indirect=True)
def test_a_child_table_of_dlts_is_refused_before_the_load(place: Place) -> None:
    dlt_loads(place, "orders__items", [{"sku": 1}])
    FEED.rows = NEW
    with pytest.raises(ConfigError, match="already has the table `orders__items`"):
        run(shop(place), "orders")
    assert place.column("orders__items", "sku", "sku") == [1]
    # nothing waits: the source is asked again
    FEED.rows = [{"id": 4, "price": 1}]
    run(shop(place), "orders")
    assert place.column("orders", "id") == [4]


def test_tables_of_other_tools_are_refused(duckdb_place: Place) -> None:
    import duckdb

    with duckdb.connect(str(duckdb_place.extra["file"])) as connection:
        connection.execute("CREATE SCHEMA shop; CREATE TABLE shop.orders (id INTEGER)")
    for accept in (False, True):
        with pytest.raises(ConfigError, match="made by another tool"):
            run(shop(duckdb_place, accept_existing=accept), "orders")


def test_two_pipelines_share_a_dataset_but_no_table(duckdb_place: Place) -> None:
    FEED.rows = OLD
    run(shop(duckdb_place), "orders")
    target = TargetConfig(
        name="other", destination={**duckdb_place.destination, "dataset": "shop"},
        project=duckdb_place.project,
    )  # fmt: skip
    run_data([{"id": 1}], target, stream="customers")
    with pytest.raises(ConfigError, match="made by the dlt schema `shop__orders`"):
        run_data([{"id": 1}], target, stream="orders")
    with pytest.raises(ConfigError, match="holds a list of `orders`") as refused:
        run_data([{"id": 1}], target, stream="orders__items")
    assert "another name" in str(refused.value.hint)
    assert duckdb_place.count("orders") == 2
    assert duckdb_place.count("orders__items") == 1
