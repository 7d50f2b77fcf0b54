"""The history, in every destination, beside a stream's own tables."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
import pytest

from millstream import destinations
from millstream.config import PolicyConfig, TargetConfig
from millstream.model import ColumnProfile, RunReport, SchemaVersion, TableLoad
from millstream.schema_changes import canonical, diff, fingerprint, govern, snapshot
from millstream.schema_changes import history as history_module
from millstream.schema_changes.sketch import SIZE
from services.places import NAME, Place

from .sketches import sketch
from .strategies import with_profile


def target(place: Place) -> TargetConfig:
    return TargetConfig(name=NAME, destination=place.destination, project=place.project)


def history_of(place: Place) -> history_module.Place:
    config = target(place)
    return history_module.Place(destinations.build(config), config.dataset)


def pipeline_of(config: TargetConfig, folder: Path) -> Any:
    """A dlt pipeline as the runner has one when it records what its run did."""
    return dlt.pipeline(
        f"{NAME}__orders",
        destination=destinations.build(config),
        dataset_name=config.dataset,
        pipelines_dir=str(folder / "working"),
    )


def report(before: SchemaVersion, schema: SchemaVersion, load_id: str = "1") -> RunReport:
    return RunReport(
        pipeline=NAME,
        stream="orders",
        destination="any",
        dataset=NAME,
        load_id=load_id,
        started_at=datetime.now(timezone.utc),
        seconds={},
        tables=tuple(TableLoad(t.name, t.parent, 2, 2, 10, t.name) for t in schema.tables),
        changes=diff(before, schema),
        schema=schema,
        decisions=govern(before, None, schema, PolicyConfig(), stream="orders"),
    )


def load(place: Place, folder: Path, rows: list[dict[str, Any]]) -> tuple[Any, SchemaVersion]:
    """A stream's load as the runner makes it, in a folder of its own; its state and schema."""
    config = target(place)
    pipeline = dlt.pipeline(
        f"{NAME}__orders",
        destination=destinations.build(config),
        dataset_name=config.dataset,
        pipelines_dir=str(folder),
    )
    pipeline.run(
        dlt.resource(
            rows,
            name="orders",
            incremental=dlt.sources.incremental("id"),
            write_disposition="append",
        ),
        loader_file_format=destinations.loader_file_format(config),
    )
    return pipeline.state, snapshot(pipeline.default_schema)


@pytest.mark.nightly_on("bigquery")
def test_what_runs_changed_is_read_back(place: Place, tmp_path: Path) -> None:
    history = history_of(place)
    assert history_module.changes(history, NAME) == []
    assert history_module.versions(history, NAME) == []
    assert history_module.profiles(history, NAME, "orders") == []

    _, first = load(place, tmp_path / "1", [{"id": 1, "n": 1, "items": [{"sku": 'it\'s "a"'}]}])
    pipeline = pipeline_of(target(place), tmp_path)
    assert history_module.record(pipeline, report(SchemaVersion(), first))
    _, second = load(place, tmp_path / "2", [{"id": 2, "n": "two", "note": "x"}])
    second_report = report(first, second, "2")
    assert history_module.record(pipeline, second_report)
    assert history_module.record(pipeline, report(second, second, "3")), (
        "nothing changed, rows came"
    )
    none = replace(report(second, second, "4"), load_id=None)
    assert not history_module.record(pipeline, none), "there was nothing to load"
    loads = history_module.loads(history, NAME)
    assert [(each.load_id, each.rows, each.tables["orders"]) for each in loads] == [
        (number, 2, 2) for number in ("1", "2", "3")
    ]

    told = history_module.changes(history, NAME, "orders")
    assert [(row["load_id"], row["kind"], row["column_name"], row["action"]) for row in told] == [
        ("1", "table_added", None, "allow"),
        ("1", "table_added", None, "allow"),
        ("2", "variant_added", "n__v_text", "warn"),
        ("2", "column_added", "note", "allow"),
    ]
    variant = told[2]
    assert (variant["was"], variant["is_now"]) == ("bigint", "text")
    assert variant["severity"] == "risky"
    assert variant["reason"] == "preset evolve: risky"
    assert variant["message"] == second_report.changes[0].message
    assert variant["change_id"] == fingerprint(second_report.changes[0])
    assert variant["row_count"] == 2
    seen = [history_module.version_from(row) for row in history_module.versions(history, NAME)]
    assert seen == [canonical(first), canonical(second)]
    assert history_module.changes(history, NAME, "other") == []
    assert history_module.changes(history, "other") == []


@pytest.mark.nightly_on("bigquery")
def test_profiles_are_read_back(place: Place, tmp_path: Path) -> None:
    _, schema = load(place, tmp_path / "1", [{"id": 1, "n": 1}])
    counted = ColumnProfile(
        rows=100,
        present=90,
        nulls=12,
        minimum="1",
        maximum="9",
        distinct=9,
        longest=None,
        sketch=sketch(range(200))[:SIZE],
    )
    history = history_of(place)
    pipeline = pipeline_of(target(place), tmp_path)
    for number in range(3):
        profiled = with_profile(schema, {"orders": {"n": counted}})
        history_module.record(pipeline, report(profiled, profiled, f"{number}"))
    loads = history_module.profiles(history, NAME, "orders", loads=2)
    assert [load_id for load_id, _ in loads] == ["1", "2"]
    assert loads[0][1] == {"orders": {"n": counted}}
    seen = history_module.recent(pipeline, NAME, "orders", loads=2)
    assert sum(each.profile["orders"]["n"].rows for each in seen) == 200
    assert list(history_module.recent(pipeline, NAME, "other")) == []


def test_a_long_history_is_not_read_whole(
    duckdb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millstream.model import Column, Table

    history = history_of(duckdb_place)
    for number in range(4):
        seen = ColumnProfile(10 + number, 5, 5)
        columns = tuple(Column(name, "text", profile=seen) for name in "abc")
        schema = SchemaVersion((Table("orders", None, columns),))
        history_module.append(history, report(schema, schema, f"{number}"))
    monkeypatch.setattr(history_module, "NEWEST_PROFILES", 8)
    loads = history_module.profiles(history, NAME, "orders")
    # the third is cut in two by the limit, and half a load would look like missing columns
    assert [load_id for load_id, _ in loads] == ["2", "3"]
    assert all(len(tables["orders"]) == 3 for _, tables in loads)


@pytest.mark.nightly_on("bigquery")
def test_the_streams_own_state_and_schema_stay_as_they_are(place: Place, tmp_path: Path) -> None:
    state, schema = load(place, tmp_path / "1", [{"id": 1}])
    config = target(place)
    history_module.record(pipeline_of(config, tmp_path), report(SchemaVersion(), schema))
    elsewhere = dlt.pipeline(
        f"{NAME}__orders",
        destination=destinations.build(config),
        dataset_name=config.dataset,
        pipelines_dir=str(tmp_path / "elsewhere"),
    )
    elsewhere.sync_destination()
    assert elsewhere.schema_names == ["shop_orders"]
    assert snapshot(elsewhere.default_schema) == schema
    assert elsewhere.state["sources"] == state["sources"]
    assert "id" in str(elsewhere.state["sources"]), "the cursor is there"


def _record(config: TargetConfig, number: int) -> bool:
    from millstream.model import Column, Table

    schema = SchemaVersion((Table(f"t{number}", None, (Column("id", "bigint"),)),))
    with TemporaryDirectory() as folder:
        pipeline = pipeline_of(config, Path(folder))
        return history_module.record(pipeline, report(SchemaVersion(), schema, str(number)))


@pytest.mark.xdist_group("postgres")
def test_runs_that_write_at_the_same_time_lose_nothing(postgres_place: Place) -> None:
    """The first four all find the tables missing; a DuckDB file has one writer at a time."""
    config = target(postgres_place)
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as workers:
        assert all(workers.map(_record, [config] * 8, range(8)))
    told = history_module.changes(history_of(postgres_place), NAME)
    assert sorted(row["table_name"] for row in told) == [f"t{number}" for number in range(8)]
    assert len(history_module.versions(history_of(postgres_place), NAME)) == 8


def test_a_destination_that_can_not_be_written_says_so(duckdb_place: Place) -> None:
    (duckdb_place.project / "warehouse.duckdb").write_bytes(b"no database")
    with pytest.raises(Exception, match=r"DuckDB database file"):
        _record(target(duckdb_place), 1)
