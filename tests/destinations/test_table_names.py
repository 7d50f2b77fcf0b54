"""Full names of tables without a connection: as dlt names them in the destination."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.config import TargetConfig
from millstream.destinations.table_names import dataset_name, nested_table, table_name


def target(kind: str = "duckdb", dataset: str | None = None, **options: Any) -> TargetConfig:
    destination = {"type": kind, "dataset": dataset, "options": options}
    return TargetConfig.model_validate(
        {"name": "shop", "destination": destination, "project": Path("/project")}
    )


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (target(), "shop_db.shop.orders"),
        (target(dataset="raw"), "shop_db.raw.orders"),
        (target("postgres", "raw"), "raw.orders"),
        (target("bigquery", "raw"), "raw.orders"),
        (target("bigquery", "raw", project_id="p-1"), "p-1.raw.orders"),
        (target("snowflake", "raw"), "RAW.ORDERS"),
        (target("filesystem", "raw", bucket_url="s3://bucket/x/"), "s3://bucket/x/raw/orders"),
        (target("filesystem", "raw", bucket_url="file:///data"), "/data/raw/orders"),
    ],
)
def test_the_full_name_of_a_table(config: TargetConfig, name: str) -> None:
    assert table_name(config, "orders") == name


names = st.text("aB1_-é", min_size=1, max_size=5).filter(lambda name: name.strip("_-"))
SCHEMA = dlt.Schema("shop")


@settings(max_examples=12)
@given(names)
def test_odd_names_are_those_dlt_gives(name: str) -> None:
    assert table_name(target("postgres", "raw"), name) == (
        f"raw.{SCHEMA.naming.normalize_tables_path(name)}"
    )


@settings(max_examples=12)
@given(st.lists(st.text("aB1", min_size=1, max_size=4), min_size=1, max_size=3))
def test_the_table_of_a_list_is_the_one_dlt_makes(keys: list[str]) -> None:
    row: Any = [{"x": 1}]
    for key in reversed(keys):
        row = {key: row}
    found = [
        table
        for (table, *_), _ in SCHEMA.data_item_normalizer.normalize_data_item(row, "1", "orders")
    ]
    assert nested_table(target("postgres"), "orders", keys) == found[-1]


def test_long_names_are_cut_as_dlt_cuts_them() -> None:
    keys = ["a" * 40, "b" * 40]
    found = nested_table(target("postgres"), "orders", keys)
    assert len(found) == 63
    assert nested_table(target("postgres"), "orders", [*keys, "c"]) != found


@pytest.mark.parametrize(
    ("dataset", "options", "name"),
    [
        ("My-Data", {}, "my_data"),
        ("My-Data", {"enable_dataset_name_normalization": False}, "My-Data"),
        ("raw", {}, "raw"),
    ],
)
def test_the_name_of_a_dataset(dataset: str, options: Any, name: str) -> None:
    assert dataset_name(target("postgres", dataset, **options)) == name
