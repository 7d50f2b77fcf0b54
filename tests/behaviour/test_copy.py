"""PostgreSQL: what COPY loads from columns is what INSERT statements load, value by value."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from behaviour.conftest import configured
from behaviour.feed import FEED
from behaviour.values import MOMENT, TEXTS, WITH_NUL, rows
from millstream.config import DltConfig
from millstream.errors import RunError
from millstream.model import RunReport
from millstream.runs.runner import run
from services.places import NAME, Place


def columns(place: Place, dataset: str, table: str) -> list[tuple[str, str]]:
    asked = (
        "SELECT column_name, data_type FROM information_schema.columns "
        f"WHERE table_schema = '{dataset}' AND table_name = '{table}' ORDER BY column_name"
    )
    found = place.query(asked)
    return [(name, kind) for name, kind in found if not name.startswith("_dlt_")]


def differing(place: Place, other: str, table: str, key: str = "id") -> dict[str, list[Any]]:
    """Values of a table of two datasets that are not the same, by column."""
    found = {}
    for name, kind in columns(place, NAME, table):
        as_text = f'"{name}"::text' if kind != "bytea" else f"encode(\"{name}\", 'hex')"
        each = [
            place.query(f'SELECT {key} k, {as_text} FROM {dataset}."{table}" ORDER BY k')
            for dataset in (NAME, other)
        ]
        wrong = [(one, two) for one, two in zip(*each) if one != two]
        if wrong or len(each[0]) != len(each[1]):
            found[name] = [str(pair)[:200] for pair in wrong]
    return found


def load(place: Place, dataset: str, given: Any, **destination: Any) -> RunReport:
    FEED.rows = given
    config = configured(
        place, DltConfig(path="behaviour.feed:valued"), dataset=dataset, **destination
    )
    return run(config, "orders")


@pytest.mark.parametrize("engine", ["millstream", "dlt"])
def test_it_loads_what_insert_loads(
    postgres_place: Place, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLSTREAM_ENGINE", engine)
    copied = load(postgres_place, NAME, rows())
    inserted = load(postgres_place, "other", rows(), loader_file_format="insert_values")
    assert copied.engine_rows == {engine: len(rows())}
    assert inserted.engine_rows == {"dlt": len(rows())}
    for table in ("orders", "orders__items", "orders__tags"):
        assert columns(postgres_place, NAME, table) == columns(postgres_place, "other", table)
    # INSERT reads the literal -0.0 as a decimal, which has no such zero
    assert differing(postgres_place, "other", "orders") == {"ratio": ["((31, '-0'), (31, '0'))"]}
    assert differing(postgres_place, "other", "orders__items", "sku") == {}
    assert differing(postgres_place, "other", "orders__tags", "value") == {}
    assert [each for each in copied.warnings if "NUL" in each]
    load(postgres_place, NAME, [{"id": -1, "doc": WITH_NUL}])
    ((held,),) = postgres_place.query(f"SELECT doc FROM {NAME}.orders WHERE id = -1")
    assert held == {"nul": "a\u2400b\u2400\u2400", "kept": "\\u0000"}
    texts = postgres_place.column("orders", "body")[1 : len(TEXTS) + 1]
    assert texts == [text.replace("\0", "\u2400") for text in TEXTS]


def test_arrow_tables_load_as_they_are(postgres_place: Place) -> None:
    table = pa.table(
        {
            "id": pa.array(range(4), pa.int32()),
            "body": pa.array(["", None, "\\N", 'a "b"\n\0'], pa.large_string()),
            "kind": pa.array(["x", "", None, "x"]).dictionary_encode(),
            "raw": pa.array([b"", None, b"\x00\xff", b"\\"]),
            "ratio": pa.array([-0.0, None, float("nan"), 5e-324]),
            "price": pa.array([None, Decimal("1.50"), Decimal("-2.25"), None], pa.decimal128(6, 2)),
            "at": pa.array([MOMENT, None, None, MOMENT], pa.timestamp("ns", "UTC")),
            "day": pa.array([None, date(2024, 2, 29), None, None]),
            "doc": pa.array([{"a": 1}, None, {"a": None}, {"a": 2}]),
            "tags": pa.array([["a", ""], [], None, ["\\"]]),
        }
    )
    load(postgres_place, NAME, table)
    assert postgres_place.column("orders", "body") == ["", None, "\\N", 'a "b"\n\u2400']
    assert postgres_place.column("orders", "kind") == ["x", "", None, "x"]
    raw = postgres_place.column("orders", "raw")
    assert [each and bytes(each) for each in raw] == [b"", None, b"\x00\xff", b"\\"]
    assert postgres_place.column("orders", "ratio::text") == ["-0", None, "NaN", "5e-324"]
    assert postgres_place.column("orders", "price") == table["price"].to_pylist()
    assert postgres_place.column("orders", "at") == [MOMENT, None, None, MOMENT]
    assert postgres_place.column("orders", "day") == table["day"].to_pylist()
    assert postgres_place.column("orders", "doc") == table["doc"].to_pylist()
    assert postgres_place.column("orders", "tags") == table["tags"].to_pylist()


@pytest.mark.nightly
def test_a_waiting_package_of_inserts_is_loaded_first(
    postgres_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a version before left it, which wrote INSERT statements."""
    from dlt.destinations.job_client_impl import SqlJobClientBase

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr("millstream.runs.stages.loading.sleep", lambda _: None)
        patch.setattr(SqlJobClientBase, "create_load_job", fail)
        with pytest.raises(RunError, match="went dead"):
            load(postgres_place, NAME, [{"id": 1, "body": ""}], loader_file_format="insert_values")
    report = load(postgres_place, NAME, [{"id": 2, "body": ""}, {"id": 3}])
    assert "loaded first what an earlier run had extracted" in report.warnings
    assert postgres_place.column("orders", "id") == [1, 2, 3]
    assert postgres_place.column("orders", "body") == ["", "", None]


def test_long_values_are_compressed_as_the_server_was_told(postgres_place: Place) -> None:
    has_lz4 = "SELECT 1 FROM pg_settings WHERE 'lz4' = ANY (enumvals)"
    if not postgres_place.query(has_lz4):
        pytest.skip("this PostgreSQL was built without LZ4")
    asked = f"SELECT DISTINCT pg_column_compression(body) FROM {NAME}.orders"
    load(postgres_place, NAME, [{"id": 1, "body": "long " * 2000}])
    assert postgres_place.query(asked) == [("lz4",)]
    database = postgres_place.extra["database"]
    postgres_place.query(f"ALTER DATABASE {database} SET default_toast_compression = 'pglz'")
    load(postgres_place, NAME, [{"id": 2, "body": "long " * 2000}])
    assert sorted(postgres_place.query(asked)) == [("lz4",), ("pglz",)]


@pytest.mark.parametrize("disposition", ["append", "merge"])
def test_a_check_that_fails_is_named_with_its_columns(
    postgres_place: Place, disposition: str
) -> None:
    source = DltConfig(path="behaviour.feed:disposed", arguments={"write_disposition": disposition})
    config = configured(postgres_place, source)
    FEED.rows = [{"id": 1, "price": 2, "size": 1}]
    run(config, "orders")
    postgres_place.query("ALTER TABLE shop.orders ADD CONSTRAINT sane CHECK (price > size)")
    FEED.rows = [{"id": 2, "price": 2, "size": 7777}]
    with pytest.raises(RunError) as refused:
        run(config, "orders")
    said = str(refused.value)
    assert 'new row for relation "orders" violates check constraint "sane"' in said
    assert ": it is CHECK ((price > size)), on `price`, `size`\n" in said
    assert "7777" not in said


@pytest.mark.nightly  # each attempt waits longer than the one before
@pytest.mark.xdist_group("postgres")
def test_a_lost_connection_shows_no_row(
    postgres_place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    source = DltConfig(path="behaviour.feed:orders", arguments={"write_disposition": "append"})
    FEED.rows = [{"id": 1, "name": "a"}]
    run(configured(postgres_place, source), "orders")
    table = postgres_place.from_clause("orders")
    postgres_place.query(
        "CREATE FUNCTION ends() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;"
        f"CREATE TRIGGER ends BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION ends()"
    )
    FEED.rows = [{"id": 2, "name": "secret"}]
    with pytest.raises(RunError, match="terminating connection due to administrator command"):
        run(configured(postgres_place, source), "orders")
    out, err = capfd.readouterr()
    assert "secret" not in out + err
    postgres_place.query(f"DROP TRIGGER ends ON {table}")
    FEED.rows = []
    run(configured(postgres_place, source), "orders")
    assert postgres_place.column("orders", "name", "id") == ["a", "secret"]
