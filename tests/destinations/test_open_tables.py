"""Delta and Iceberg tables, read by the packages that write them; nightly more, on `place`."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import pytest

from millstream import destinations
from millstream.config import (
    FilesConfig,
    MongoDBConfig,
    PipelineConfig,
    PolicyConfig,
    TargetConfig,
)
from millstream.destinations import table_formats
from millstream.errors import ConfigError, MissingDependencyError, RunError
from millstream.model import RunReport
from millstream.runs import runner
from services import places
from services.places import NAME, Place

PACKAGES = {"delta": "deltalake", "iceberg": "pyiceberg"}
ORDERS = [
    {"id": 1, "customer": "Ann", "items": [{"sku": "a"}, {"sku": "b"}]},
    {"id": 2, "customer": "Bob", "items": [{"sku": "c"}]},
    {"id": 3, "customer": "Cid", "items": [{"sku": "d"}]},
]


@pytest.fixture(params=["delta", "iceberg"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    pytest.importorskip(PACKAGES[request.param])
    return places.lake(tmp_path, request.param)


@pytest.fixture
def delta(tmp_path: Path) -> Place:
    """In a folder whose name is another one in a URL."""
    pytest.importorskip("deltalake")
    project = tmp_path / "a läke"
    project.mkdir()
    return places.lake(project, "delta")


def load(
    place: Place, rows: list[Any], disposition: Any = "merge", key: Any = "id", **hints: Any
) -> RunReport:
    resource = dlt.resource(
        rows, name="orders", write_disposition=disposition, primary_key=key, **hints
    )
    return runner.run_data(resource, target(place))


def target(place: Place, **destination: Any) -> TargetConfig:
    return TargetConfig(
        name=NAME, destination={**place.destination, **destination}, project=place.project
    )


def items(place: Place) -> list[tuple[Any, ...]]:
    """Each item with the order that it hangs on."""
    orders, lines = place.from_clause("orders"), place.from_clause("orders__items")
    return place.query(
        f"SELECT o.id, i.sku FROM {lines} AS i LEFT JOIN {orders} AS o "
        "ON i._dlt_parent_id = o._dlt_id ORDER BY 1, 2"
    )


def test_lists_with_a_key_of_their_own_are_tables_of_the_format(lake: Place) -> None:
    """They were plain files, which are not merged: each load would add their rows again."""
    nested: Any = {"items": {"primary_key": "sku", "write_disposition": "merge"}}
    for size in (1, 2):
        rows = [{"id": 1, "items": [{"sku": "a", "size": size, "tags": ["x"] * size}]}]
        load(lake, rows, nested_hints=nested)
    assert lake.column("orders__items", "size", "sku") == [2]
    assert lake.count("orders__items__tags") == 2


def test_rows_are_merged_with_their_lists(lake: Place) -> None:
    load(lake, ORDERS)
    changed = [
        {"id": 1, "customer": "Ann", "vip": True, "items": [{"sku": "a2"}]},
        {"id": 2, "customer": "Bea", "items": []},
        {"id": 4, "customer": "Dan", "items": [{"sku": "e", "n": 1}]},
    ]
    report = load(lake, changed)
    assert lake.query(f"SELECT id, customer, vip FROM {lake.from_clause('orders')} ORDER BY 1") == [
        (1, "Ann", True),
        (2, "Bea", None),
        (3, "Cid", None),
        (4, "Dan", None),
    ]
    assert items(lake) == [(1, "a2"), (3, "d"), (4, "e")]
    assert [(table.name, table.rows, table.rows_total) for table in report.tables] == [
        ("orders", 3, 4),
        ("orders__items", 2, 3),
    ]
    assert {(each.kind, each.column) for each in report.changes} == {
        ("column_added", "vip"),
        ("column_added", "n"),
    }


def test_nothing_is_printed_of_a_table_that_is_replaced(
    lake: Place, recwarn: pytest.WarningsRecorder
) -> None:
    for rows in (ORDERS, [{"id": 1, "items": []}], ORDERS):
        load(lake, rows, "replace")
    assert not [each for each in recwarn if "did not match any" in str(each.message)]


@pytest.mark.nightly_on("iceberg")
def test_an_append_that_fails_half_way_is_there_once(
    lake: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS", "10")
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    monkeypatch.setattr("millstream.runs.stages.loading.sleep", lambda _: None)
    load(lake, [{"id": 0, "items": [{"sku": "first"}]}], "append")
    # the first file of the load does not have the column of the last
    rows = [
        {"id": n, "items": [{"sku": f"{n}"}], **({"late": n} if n > 20 else {})}
        for n in range(1, 30)
    ]
    from millstream.destinations.open_tables.client import OpenTableClient

    create = OpenTableClient.create_load_job

    def job(self: Any, table: Any, *args: Any, **more: Any) -> Any:
        if table["name"] == "orders__items":
            raise ConnectionError("the line went dead")
        return create(self, table, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(OpenTableClient, "create_load_job", job)
        with pytest.raises(RunError, match="went dead"):
            load(lake, rows, "append")
    load(lake, [], "append")
    assert lake.column("orders", "id") == [*range(30)]
    assert lake.column("orders", "late") == [None] * 21 + [*range(21, 30)]
    assert items(lake) == sorted([(0, "first"), *((n, f"{n}") for n in range(1, 30))])


@pytest.mark.parametrize(
    ("disposition", "key", "hints", "why"),
    [
        ({"disposition": "merge", "strategy": "scd2"}, "id", {}, "and not by `scd2`"),
        ({"disposition": "merge", "strategy": "insert-only"}, "id", {}, "not by `insert-only`"),
        ("merge", None, {}, "by a primary key"),
        ("merge", "id", {"columns": {"gone": {"hard_delete": True}}}, "tell of a deletion"),
        ("merge", "id", {"merge_key": "day"}, "by `merge_key`"),
    ],
)
def test_what_is_not_merged_is_refused_before_anything_is_read(
    delta: Place, disposition: Any, key: Any, hints: Any, why: str
) -> None:
    def rows() -> Any:
        raise AssertionError("the source was asked")
        yield

    with pytest.raises(ConfigError, match=why) as refused:
        load(delta, rows, disposition, key, **hints)
    assert refused.value.hint


def test_a_column_keeps_its_type(delta: Place) -> None:
    """Delta takes 9.75 into a column of integers, as 9."""
    load(delta, [{"id": 1, "v": 5}], columns={"v": {"data_type": "bigint"}})
    decimal = dlt.resource(
        [{"id": 2, "v": Decimal("9.75")}],
        name="orders",
        write_disposition="merge",
        primary_key="id",
        columns={"v": {"data_type": "decimal"}},
    )
    # else the policy holds it before
    anything = target(delta).model_copy(update={"schema_policy": PolicyConfig(preset="anything")})
    with pytest.raises(ConfigError, match="`v` of table orders is bigint, and was to become"):
        runner.run_data(decimal, anything)
    # of rows that say nothing of types, it is a variant
    load(delta, [{"id": 3, "v": Decimal("9.75")}], columns={"v": {"data_type": "bigint"}})
    assert delta.query(
        f"SELECT v, v__v_decimal FROM {delta.from_clause('orders')} ORDER BY id"
    ) == [(5, None), (None, Decimal("9.75"))]


def test_files_do_not_become_tables(delta: Place) -> None:
    plain = {**delta.destination, "table_format": None}
    runner.run_data(
        ORDERS, TargetConfig(name=NAME, destination=plain, project=delta.project), stream="orders"
    )
    with pytest.raises(ConfigError, match="are plain files, and would become Delta's") as refused:
        load(delta, ORDERS)
    assert "another `destination.dataset`" in str(refused.value.hint)


def test_which_destinations_have_them(delta: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="duckdb has no 'delta' tables"):
        destinations.build(
            TargetConfig(name=NAME, destination={"type": "duckdb", "table_format": "delta"})
        )
    with pytest.raises(ConfigError, match="no such destination: 'iceberg'") as refused:
        destinations.build(TargetConfig(name=NAME, destination={"type": "iceberg"}))
    assert "table_format: iceberg" in str(refused.value.hint)
    with pytest.raises(ConfigError, match="made of Parquet files"):
        destinations.build(target(delta, loader_file_format="jsonl"))
    monkeypatch.setattr(table_formats, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError) as missing:
        destinations.build(target(delta))
    assert missing.value.hint == 'pip install "millstream[delta]"'


@pytest.mark.nightly
def test_merges_go_on_after_a_full_refresh(delta: Place) -> None:
    """Which replaces all rows of files: their ids must be those by which a merge finds them."""
    data = delta.project / "data"
    data.mkdir()
    streams = {"orders": {"path": str(data / "*.jsonl"), "primary_key": ["id"]}}
    config = PipelineConfig(
        name=NAME,
        source=FilesConfig.model_validate({"type": "files", "streams": streams}),
        destination=delta.destination,
        project=delta.project,
    )
    lines = [json.dumps(row) for row in ORDERS]
    (data / "a.jsonl").write_text("\n".join(lines))
    runner.run(config, "orders")
    (data / "a.jsonl").write_text("\n".join(lines[:2]))
    runner.run(config, "orders", full_refresh=True)
    assert items(delta) == [(1, "a"), (1, "b"), (2, "c")]
    (data / "b.jsonl").write_text(json.dumps({"id": 1, "items": [{"sku": "z"}]}))
    runner.run(config, "orders")
    assert items(delta) == [(1, "z"), (2, "c")]
    assert delta.count("orders") == 2


def test_the_password_of_a_catalog_is_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyiceberg")
    catalog = {
        "type": "sql",
        "uri": "sqlite:////no/such/folder/c?password=s3cret",
        "warehouse": "w",
    }
    monkeypatch.setenv("ICEBERG_CATALOG__ICEBERG_CATALOG_CONFIG", json.dumps(catalog))
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    monkeypatch.setattr("millstream.runs.stages.loading.sleep", lambda _: None)
    with pytest.raises(RunError) as refused:
        load(places.lake(tmp_path, "iceberg"), ORDERS)
    assert "s3cret" not in str(refused.value)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.suffix == ".parquet" for file in files)  # the package that waits
    assert not [file for file in files if b"s3cret" in file.read_bytes()]


def test_a_folder_that_dlt_would_misname_is_refused(tmp_path: Path) -> None:
    """dlt would write Iceberg tables into the folder `a%20lake`."""
    pytest.importorskip("pyiceberg")
    project = tmp_path / "a lake"
    project.mkdir()
    with pytest.raises(ConfigError, match=r"would write them into .*a%20lake"):
        load(places.lake(project, "iceberg"), ORDERS)
    assert not (tmp_path / "a%20lake").exists()
    with pytest.raises(ConfigError, match="with its apostrophe"):
        load(places.filesystem(tmp_path / "it's mine"), ORDERS)


def test_collections_that_are_merged_after_a_full_load_are_refused(delta: Place) -> None:
    config = PipelineConfig(
        name=NAME,
        source=MongoDBConfig(collections=("orders",), changes=True),
        destination=delta.destination,
        project=delta.project,
    )
    pipeline = dlt.pipeline(
        NAME, pipelines_dir=str(delta.project), destination=destinations.build(config)
    )
    resource = dlt.resource([], name="orders", write_disposition="merge", primary_key="_id")
    with pytest.raises(ConfigError, match="is read whole once, and merged into from then on"):
        destinations.choose_format(config, pipeline, dlt.Schema(NAME), resource, "shop.orders")


def test_times_without_a_zone_are_counted_and_compared(lake: Place) -> None:
    rows = [{"id": 1, "moment": datetime(2024, 1, 2, 3, 4, 5, 6)}]
    config = target(lake).model_copy(update={"receipts": "sample"})
    columns: Any = {"moment": {"data_type": "timestamp", "timezone": False}}
    for _ in range(2):
        orders = dlt.resource(
            rows, name="orders", write_disposition="merge", primary_key="id", columns=columns
        )
        report = runner.run_data(orders, config)
        assert report.warnings == ()
        assert [each.rows_total for each in report.tables] == [1]
        assert [(each.checked, each.problems) for each in report.receipts] == [(1, ())]
    assert lake.column("orders", "moment") == [rows[0]["moment"]]
