"""A full refresh takes nothing out of the tables before its own load is complete."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from behaviour.feed import FEED
from millstream.config import DltConfig, PipelineConfig
from millstream.errors import RunError
from millstream.runs.runner import run
from services.places import NAME, Place

OLD = [{"id": n, "v": 1, "lines": [{"sku": f"{n}"}]} for n in range(50)]
NEW = [{"id": n, "v": 2, "lines": [{"sku": f"{n}"}, {"sku": "x"}]} for n in range(40, 60)]


def shop(place: Place, disposition: Any, **more: Any) -> PipelineConfig:
    return PipelineConfig(
        name=NAME,
        source=DltConfig(
            path="behaviour.feed:disposed", arguments={"write_disposition": disposition}
        ),
        destination=place.destination,
        project=place.project,
        **more,
    )


def state(place: Place) -> tuple[list[Any], int]:
    rows = place.query(f"SELECT id, v FROM {place.from_clause('orders')} ORDER BY 1, 2")
    return rows, place.count("orders__lines")


def before() -> tuple[list[Any], int]:
    return [(n, 1) for n in range(50)], 50


def after() -> tuple[list[Any], int]:
    return [(n, 2) for n in range(40, 60)], 40


KEPT = {
    "scd2": {"disposition": "merge", "strategy": "scd2"},
    "insert-only": {"disposition": "merge", "strategy": "insert-only"},
    "unchanged": {"disposition": "merge", "strategy": "upsert", "skip_unchanged_rows": True},
}
"""Merges that keep rows of earlier loads as they are."""

DISPOSITIONS = [
    "append",
    "merge",
    "replace",
    "scd2",
    "insert-only",
    pytest.param("unchanged", marks=pytest.mark.nightly),
]


@pytest.mark.nightly_on("bigquery", "postgres")
@pytest.mark.parametrize("disposition", DISPOSITIONS)
def test_rows_stay_until_the_load_is_complete(
    place: Place, disposition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if disposition in KEPT and (place.upserts or not place.merges):
        pytest.skip("files are not merged so")
    config = shop(place, KEPT.get(disposition, disposition))
    FEED.rows = OLD
    run(config, "orders")
    FEED.rows = NEW
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient
    from dlt.destinations.job_client_impl import SqlJobClientBase

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr("millstream.runs.stages.loading.sleep", lambda _: None)
        # nothing of the nested table gets through, and no load becomes complete
        for client in (SqlJobClientBase, FilesystemClient):
            create = client.create_load_job

            def job(self: Any, table: Any, *args: Any, create: Any = create, **more: Any) -> Any:
                if table["name"] == "orders__lines":
                    fail()
                return create(self, table, *args, **more)

            patch.setattr(client, "create_load_job", job)
        patch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
        with pytest.raises(RunError, match="went dead"):
            run(config, "orders", full_refresh=True)
        rows, lines = state(place)
        assert [row for row in rows if row[1] == 1] == before()[0]
        if place.merges:
            assert (rows, lines) == before()
    run(config, "orders")
    if disposition == "append" or (disposition == "merge" and not place.merges):
        # what was extracted, and what this run read
        assert state(place) == (sorted([*after()[0], *after()[0]]), 80)
    else:
        assert state(place) == after()


@pytest.mark.parametrize("disposition", ["append", pytest.param(KEPT["unchanged"], id="upsert")])
@pytest.mark.nightly_on("bigquery")
def test_rows_stay_where_new_ones_are_refused(place: Place, disposition: Any) -> None:
    if place.kind not in ("duckdb", "postgres"):
        pytest.skip("its tables have no unique indexes")
    config = shop(place, disposition)
    FEED.rows = OLD
    run(config, "orders")
    table, lines = place.from_clause("orders"), place.from_clause("orders__lines")
    refused = lines if isinstance(disposition, dict) else table  # the second table is half-way
    column = "sku" if isinstance(disposition, dict) else "id"
    place.query(f"CREATE UNIQUE INDEX one ON {refused} ({column})")
    FEED.rows = [*NEW, {"id": NEW[0]["id"], "v": 3, "lines": []}]
    with pytest.raises(RunError, match=r"(?i)unique"):
        run(config, "orders", full_refresh=True)
    assert state(place) == before()


@pytest.mark.nightly_on("bigquery", "filesystem")
@pytest.mark.parametrize("disposition", DISPOSITIONS)
@pytest.mark.nightly_on("postgres")
def test_all_rows_are_those_of_the_refresh(place: Place, disposition: str) -> None:
    if disposition in KEPT and (place.upserts or not place.merges):
        pytest.skip("files are not merged so")
    config = shop(place, KEPT.get(disposition, disposition))
    FEED.rows = OLD
    run(config, "orders")
    if disposition in KEPT:
        # 45 is as the refresh has it, 46 goes and comes back
        FEED.rows = [*OLD[:45], *NEW[5:6]]
        run(config, "orders")
    FEED.rows = NEW
    run(config, "orders", full_refresh=True)
    assert state(place) == after()
    FEED.rows = [{"id": 59, "v": 3, "lines": []}]
    run(config, "orders")
    if disposition == "append":
        assert state(place) == ([*after()[0], (59, 3)], 40)
    elif disposition == "merge" and place.merges:
        assert state(place) == ([*after()[0][:-1], (59, 3)], 38)
    elif disposition == "scd2":
        assert state(place) == ([*after()[0], (59, 3)], 40)
    elif disposition == "insert-only":
        assert state(place) == after()
    rows = state(place)[0]
    FEED.rows = []
    report = run(config, "orders", full_refresh=True)
    if place.merges:
        told = (
            f"table orders: the source has no rows any more; the full refresh deleted {len(rows)}"
        )
        assert any(warning.startswith(told) for warning in report.warnings)
    assert place.merges is False or state(place) == ([], 0)


@pytest.mark.nightly_on("bigquery")
@pytest.mark.parametrize(
    ("disposition", "lost"),
    [
        ("append", "all"),
        ("merge", "all"),
        ("scd2", "all"),
        ("replace", "orders"),
        ("merge", "orders__lines"),
    ],
)
def test_tables_that_were_dropped_get_the_types_of_the_rows(
    place: Place, disposition: str, lost: str
) -> None:
    """A column was of its first type for good, and values of another one in a variant beside it."""
    if disposition == "scd2" and (place.upserts or not place.merges):
        pytest.skip("files are not merged so")
    config = shop(place, KEPT.get(disposition, disposition), schema_policy="anything")
    FEED.rows = [{"id": n, "v": f"v{n}", "lines": [{"sku": f"s{n}"}]} for n in range(3)]
    run(config, "orders")
    FEED.rows = [{"id": n, "v": n, "lines": [{"sku": n}]} for n in range(1, 4)]
    run(config, "orders")
    tables = ["orders__lines", "orders"] if lost == "all" else [lost]
    for table in tables:
        if "bucket" in place.extra:
            shutil.rmtree(place.full_name(table))
        else:
            place.query(f"DROP TABLE {place.from_clause(table)}")
    run(config, "orders", full_refresh=True)
    FEED.rows = [{"id": 9, "v": 9, "lines": [{"sku": 9}]}]
    run(config, "orders")
    rows = [1, 2, 3, 9] if disposition != "replace" else [9]
    assert place.column("orders", "id") == rows
    own, nested = lost == "all", lost != "orders"  # what is below a table says what it was
    assert place.column("orders", "v" if own else "v__v_bigint", "id") == rows
    lines = place.column("orders__lines", "sku" if nested else "sku__v_bigint", "1")
    assert sorted(lines) == rows
