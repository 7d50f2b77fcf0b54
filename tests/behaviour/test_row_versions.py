"""Several versions of a row in one load: the last one read is loaded, with its child rows alone."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from behaviour.conftest import configured
from behaviour.feed import FEED
from millstream.config import DltConfig, FilesConfig, PipelineConfig, QuarantineConfig
from millstream.runs.runner import run
from services.places import Place

BOTH = ["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]
KEYS = 1500


def shop(place: Place, **arguments: Any) -> PipelineConfig:
    if place.upserts:
        arguments.setdefault("strategy", "upsert")
    return configured(place, DltConfig(path="behaviour.feed:versions", arguments=arguments))


def log(versions: int = 3, keys: int = KEYS) -> list[dict[str, Any]]:
    """A change log: each version of a row has one item fewer than the one before."""
    return [
        {"id": key, "v": v, "items": [{"sku": f"{key}-{v}-{n}"} for n in range(versions - v)]}
        for v in range(versions)
        for key in range(keys)
    ]


def children(place: Place) -> list[str]:
    return place.column("orders__items", "sku", "sku")


@pytest.fixture(params=["columns", "dlt", "no quarantine"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The engine's columns, dlt's normalizer, and dlt's normalizer where nothing is quarantined."""
    if request.param == "columns":
        return {}
    monkeypatch.setenv("MILLSTREAM_ENGINE", "dlt")
    if request.param == "dlt":
        return {}
    return {"quarantine": QuarantineConfig(enabled=False)}


@pytest.mark.nightly_on("bigquery")
def test_the_last_version_read_is_loaded(place: Place, way: dict[str, Any]) -> None:
    FEED.rows = log()[:-1]  # of the last key, an older version is the newest
    report = run(shop(place).model_copy(update=way), "orders")
    assert place.column("orders", "v") == [2] * (KEYS - 1) + [1]
    last = KEYS - 1
    expected = [f"{key}-2-0" for key in range(last)] + [f"{last}-1-0", f"{last}-1-1"]
    assert children(place) == sorted(expected)
    assert report.outdated == {"orders": 2 * KEYS - 1}
    assert [(table.name, table.rows) for table in report.tables] == [
        ("orders", KEYS),
        ("orders__items", KEYS + 1),
    ]


@pytest.mark.nightly_on("bigquery", "filesystem")
@pytest.mark.nightly_on("postgres")
def test_upserted_rows_have_their_own_child_rows(place: Place, way: dict[str, Any]) -> None:
    if not place.merges:
        pytest.skip("plain files are not upserted")
    FEED.rows = log(keys=300)
    run(shop(place, strategy="upsert").model_copy(update=way), "orders")
    assert place.column("orders", "v") == [2] * 300
    assert children(place) == sorted(f"{key}-2-0" for key in range(300))
    FEED.rows = [{"id": 7, "v": 9, "items": []}, {"id": 7, "v": 8, "items": [{"sku": "x"}]}]
    report = run(shop(place, strategy="upsert").model_copy(update=way), "orders")
    assert place.column("orders", "v")[7] == 8
    assert "x" in children(place)
    assert report.outdated == {"orders": 1}


@pytest.mark.parametrize("place", BOTH, indirect=True)
@pytest.mark.parametrize("step", ["manifests.forget", "shutil.rmtree", "os.link"])
@pytest.mark.nightly_on("postgres")
def test_a_run_that_stops_in_between(
    place: Place, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    FEED.rows = log(keys=50)

    def stop(*_: Any, **__: Any) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patched:
        patched.setattr(f"millstream.runs.deduplication.{step}", stop)
        with pytest.raises(SystemExit):
            run(shop(place), "orders")
    run(shop(place), "orders")
    assert place.column("orders", "v") == [2] * 50
    assert children(place) == sorted(f"{key}-2-0" for key in range(50))


@pytest.mark.nightly_on("bigquery")
@pytest.mark.nightly_on("postgres")
def test_lists_that_only_outdated_versions_hold(place: Place, way: dict[str, Any]) -> None:
    rows = [{"id": n, "v": 1, "items": [{"sku": "x", "parts": [n]}]} for n in range(KEYS)]
    FEED.rows = rows + [{"id": n, "v": 2} for n in range(KEYS)]
    report = run(shop(place).model_copy(update=way), "orders")
    assert place.column("orders", "v") == [2] * KEYS
    assert [table.name for table in report.tables] == ["orders"]
    FEED.rows = [{"id": n, "v": 3, "items": [{"sku": f"{n}"}]} for n in range(KEYS)]
    run(shop(place).model_copy(update=way), "orders")
    assert children(place) == sorted(map(str, range(KEYS)))


@pytest.mark.nightly_on("bigquery", "postgres", "filesystem")
def test_columns_that_only_outdated_versions_hold(place: Place, way: dict[str, Any]) -> None:
    FEED.rows = [{"id": n, "v": 1, "items": [{"sku": f"{n}"}]} for n in range(5)]
    run(shop(place).model_copy(update=way), "orders")
    FEED.rows = [
        {"id": 1, "v": 2, "items": [{"sku": "1b", "colour": "red"}, {"sku": 7}]},
        {"id": 1, "v": 3},
    ]
    run(shop(place).model_copy(update=way), "orders")
    assert place.column("orders", "v", "id, v")[-4:] == [3, 1, 1, 1]
    FEED.rows = [{"id": 1, "v": 4, "items": [{"sku": "1c", "colour": "blue"}]}]
    run(shop(place).model_copy(update=way), "orders")
    assert place.column("orders__items", "colour", "colour NULLS LAST")[0] == "blue"


@pytest.mark.parametrize("place", BOTH, indirect=True)
def test_keys_of_several_columns_and_kinds(place: Place) -> None:
    at = datetime(2024, 1, 1, tzinfo=timezone.utc)
    rows = [
        {"a": f"k{n % 3}", "b": n % 2, "at": at + timedelta(days=n % 2), "amount": n}
        for n in range(2000)
    ]
    FEED.rows = [{"key": {**row}, "n": n} for n, row in enumerate(rows)]
    hints = {"key__b": {"data_type": "decimal"}}
    report = run(shop(place, key=["key__a", "key__b", "key__at"], hints=hints), "orders")
    assert place.column("orders", "n", "n") == list(range(1994, 2000))
    assert report.outdated == {"orders": 1994}


@pytest.mark.parametrize("place", BOTH, indirect=True)
def test_a_column_orders_versions(place: Place) -> None:
    FEED.rows = [
        {"id": 1, "at": 3, "v": "newest"},
        {"id": 1, "at": 1, "v": "late arrival"},
        {"id": 1, "at": None, "v": "nobody knows when"},
        {"id": 2, "at": 5, "v": "first of two"},
        {"id": 2, "at": 5, "v": "last of two"},
    ]
    config = shop(place).model_copy(update={"dedup_sort": {"orders": "at"}})
    run(config, "orders")
    assert place.column("orders", "v") == ["newest", "last of two"]
    FEED.rows = [{"id": 1, "at": 9, "v": "high"}, {"id": 1, "at": 2, "v": "low"}]
    run(shop(place, hints={"at": {"dedup_sort": "asc"}}), "orders")
    assert place.column("orders", "v")[0] == "low"
    FEED.rows = [{"id": 1, "v": "without it"}, {"id": 1, "v": "the same, later"}]
    run(config, "orders")
    assert place.column("orders", "v")[0] == "the same, later"


@pytest.mark.nightly_on("postgres")
@pytest.mark.parametrize("place", BOTH, indirect=True)
def test_keys_and_orders_within_objects(place: Place) -> None:
    """Numbers and times of which some need a variant are compared with the others."""
    streams = {
        "orders": {"path": "orders*.jsonl", "primary_key": ["meta.id"]},
        "visits": {"path": "visits*.jsonl", "primary_key": "id"},
    }
    sorts = {"orders": "更新.n", "visits": "at"}
    values = {"orders": (2, 2.5, 1, "9"), "visits": ("10:00:00Z", "05:00:00-09:00", "11:00:00Z")}
    config = PipelineConfig(
        name="shop",
        source=FilesConfig(streams=streams),
        destination=place.destination,
        project=place.project,
        dedup_sort=sorts,
    )
    rows = {
        "orders": [{"meta": {"id": 1}, "更新": {"n": n}, "v": f"{n}"} for n in values["orders"]],
        "visits": [{"id": 1, "at": f"2024-01-01T{at}", "v": at} for at in values["visits"]],
    }
    for stream, each in rows.items():
        (place.project / f"{stream}.jsonl").write_text("\n".join(map(json.dumps, each)))
        run(config, stream)
    assert place.column("orders", "v", "meta__id") == ["2.5"]
    assert place.column("visits", "v") == ["05:00:00-09:00"]
    late = [{"meta": {"id": n}, "更新": {"n": 0.5}, "v": "late"} for n in (1, 2)]
    (place.project / "orders2.jsonl").write_text("\n".join(map(json.dumps, late)))
    run(config, "orders")
    assert place.column("orders", "v", "meta__id") == ["late", "late"]


@pytest.mark.parametrize("strategy", ["delete-insert", "upsert"])
@pytest.mark.parametrize("place", BOTH, indirect=True)
def test_a_row_deleted_and_made_again_stays(place: Place, strategy: str) -> None:
    hints = {"gone": {"hard_delete": True, "data_type": "bool"}}
    FEED.rows = [
        {"id": 1, "v": 1, "items": [{"sku": "a"}]},
        {"id": 2, "v": 1, "items": [{"sku": "b"}]},
        {"id": 1, "v": 2, "gone": True, "items": []},
        {"id": 2, "v": 2, "gone": True, "items": []},
        {"id": 2, "v": 3, "gone": False, "items": [{"sku": "c"}]},
    ]
    run(shop(place, hints=hints, strategy=strategy), "orders")
    assert place.column("orders", "v") == [3]
    assert children(place) == ["c"]
    FEED.rows = [
        {"id": 1, "v": 4, "gone": True, "items": [{"sku": "d"}]},  # it is not in the table
        {"id": 2, "v": 4, "gone": True, "items": []},
        {"id": 3, "v": 4, "items": [{"sku": "e"}]},
    ]
    run(shop(place, hints=hints, strategy=strategy), "orders")
    assert place.column("orders", "id") == [3]
    assert children(place) == ["e"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"strategy": "insert-only"}, ["a", "c"]),  # as if the versions came in two loads
        ({"disposition": "append"}, ["a", "b", "c"]),
        ({"disposition": "replace"}, ["a", "b", "c"]),
        ({"strategy": "scd2", "key": None}, ["a", "b", "c"]),
        ({"form": "arrow", "page": 1}, ["b", "c"]),
    ],
    ids=["insert-only", "append", "replace", "scd2", "arrow"],
)
def test_which_versions_other_ways_keep(
    duckdb_place: Place, arguments: dict[str, Any], expected: list[str]
) -> None:
    FEED.rows = [{"id": 1, "v": "a"}, {"id": 1, "v": "b"}, {"id": 2, "v": "c"}]
    run(shop(duckdb_place, **arguments), "orders")
    assert duckdb_place.column("orders", "v", "v") == expected


def test_rows_without_a_key_are_one_row_where_dlt_says_so(duckdb_place: Place) -> None:
    hints = {"id": {"nullable": True, "data_type": "bigint"}}
    FEED.rows = [{"id": None, "v": "a"}, {"id": None, "v": "b"}, {"id": 2, "v": "c"}]
    run(shop(duckdb_place, hints=hints), "orders")
    assert duckdb_place.column("orders", "v", "v") == ["b", "c"]


@pytest.mark.parametrize("full_refresh", [False, True])
@pytest.mark.parametrize("place", BOTH, indirect=True)
def test_files_are_read_in_the_order_of_their_names(place: Place, full_refresh: bool) -> None:
    folder = place.project / "data"
    folder.mkdir()
    for number in range(12):
        rows = [{"id": n, "v": number, "items": [{"sku": f"{n}-{number}"}]} for n in range(400)]
        text = "\n".join(map(json.dumps, rows))
        if number % 4 == 2:  # an array among files of lines
            (folder / f"{number:02}.json").write_text(json.dumps(rows))
        else:
            (folder / f"{number:02}.jsonl").write_text(text)
    source = FilesConfig(streams={"orders": {"path": "data/*", "primary_key": ["id"]}})
    report = run(
        PipelineConfig(
            name="shop", source=source, destination=place.destination, project=place.project
        ),
        "orders",
        full_refresh=full_refresh,
    )
    assert place.column("orders", "v") == [11] * 400
    assert children(place) == sorted(f"{n}-11" for n in range(400))
    assert report.outdated == {"orders": 11 * 400}


def test_outdated_versions_count_for_the_share_of_bad_rows(duckdb_place: Place) -> None:
    rows = [json.dumps({"id": n % 5, "v": n}) for n in range(200)]
    (duckdb_place.project / "log.jsonl").write_text("\n".join([*rows, *["{no JSON"] * 12]))
    source = FilesConfig(streams={"orders": {"path": "log.jsonl", "primary_key": ["id"]}})
    report = run(configured(duckdb_place, source), "orders")
    assert duckdb_place.column("orders", "v", "v") == [195, 196, 197, 198, 199]
    assert report.outdated == {"orders": 195}


def test_several_workers_know_the_order_of_files(
    duckdb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMALIZE__WORKERS", "2")
    test_files_are_read_in_the_order_of_their_names(duckdb_place, False)


@pytest.mark.parametrize("place", BOTH, indirect=True)
@pytest.mark.parametrize("engine", ["millstream", pytest.param("dlt", marks=pytest.mark.nightly)])
def test_a_row_that_comes_twice_is_one_version_of_scd2(
    place: Place, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hash is its id: PostgreSQL refused the load, and each one after it."""
    monkeypatch.setenv("MILLSTREAM_ENGINE", engine)
    config = shop(place, strategy="scd2", key=None)
    row = {"id": 1, "v": 1, "items": [{"sku": "a"}, {"sku": "b"}]}
    for rows in ([row, row], [row, {**row, "v": 2}, row, {**row, "v": 2}]):
        FEED.rows = [*rows, {"id": 2, "v": 0}]
        run(config, "orders")
    assert place.column("orders", "v", "v") == [0, 1, 2]
    assert children(place) == ["a", "a", "b", "b"]


@pytest.mark.not_on("delta", "iceberg")
@pytest.mark.nightly_on("bigquery")
def test_insert_only_brings_no_child_to_a_row_that_stays(place: Place) -> None:
    if not place.merges:
        pytest.skip(f"{place.kind} appends")
    config = shop(place, strategy="insert-only")
    FEED.rows = [{"id": 1, "v": 1, "items": [{"sku": "a", "parts": [1]}]}]
    run(config, "orders")
    new = [{"sku": "b", "parts": [2, 3]}, {"sku": "c", "parts": [4]}]
    FEED.rows = [{"id": 1, "v": 2, "items": new}, {"id": 2, "v": 1, "items": new[1:]}]
    run(config, "orders")
    assert place.column("orders", "v") == [1, 1]
    assert children(place) == ["a", "c"]
    assert sorted(place.column("orders__items__parts", "value", "value")) == [1, 4]
