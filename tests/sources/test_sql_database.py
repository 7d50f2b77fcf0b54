"""Tables of SQL databases: every value as it was, what is new alone, and what is wrong."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any

import pytest

from millstream.cli import main
from services import mariadb
from services.places import Place
from services.postgres import Postgres
from sources.sql_kit import SqlProject, mariadb_project, postgres_project, sqlite_project

UTC = timezone.utc


@pytest.fixture
def lite(
    duckdb_place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> SqlProject:
    return sqlite_project(duckdb_place, capsys, monkeypatch)


@pytest.fixture
def pg(
    duckdb_place: Place,
    postgres_server: Postgres,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> SqlProject:
    return postgres_project(duckdb_place, postgres_server, capsys, monkeypatch)


TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN cents AS numeric(12, 2);
CREATE TABLE types (
    id bigint PRIMARY KEY, small smallint, yes boolean, price numeric(10, 2), owed cents,
    free numeric, huge numeric(50, 10), thousands numeric(4, -3), ratio double precision,
    float4 real, name text, code char(5), bytes bytea, day date, at timestamp,
    moment timestamptz, clock time, zoned timetz, span interval, uid uuid, feeling mood,
    host inet, range int4range, money money, "CamelCase" text, "größe" int,
    "100% Sure" int
)
"""
ROW = """
INSERT INTO types VALUES (
    9223372036854775807, -32768, true, 12345678.90, 0.10, 1.123456789,
    1234567890123456789012345678901234567890.5, 1234000, 'NaN', 0.1, E'a,"b"\\n\\\\.\\t', 'ab',
    '\\x00ff22', '0001-01-01', '2024-02-29 23:59:59.123456', '2024-01-01 00:00:00.5+05:30',
    '24:00:00'::time - interval '1 microsecond', '10:00+02', '-1 year 2 days 3 hours',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'happy', '10.0.0.1/8', '[1,5)', 12.5, '', 7, 8
), (3, 1, false, -0.01, 1, 5, 5, 5000, '-Infinity', 3.4e38, '', '', '', '9999-12-31', 'epoch',
    'epoch', '00:00', '00:00Z', '0', NULL, 'sad', '::1', 'empty', 0, 'x', NULL, NULL);
INSERT INTO types VALUES (2)
"""


def test_values_of_postgres_are_exact(pg: SqlProject) -> None:
    pg.execute(TYPES)
    pg.execute(ROW)
    pg.define("types")
    pg.run()
    columns = (
        "id, small, yes, price, owed, free, huge, thousands, ratio, float4, name, code, "
        "bytes, day, "
        '"at", '
        "epoch_us(moment), clock, zoned, span, uid, feeling, host, range, money, camel_case, "
        "grosse, _100_sure"
    )
    none, low, high = pg.rows(columns, "types")
    assert none == (2, *[None] * 26)
    assert str(high[8]) == "nan"
    assert high[:8] + high[9:] == (
        9223372036854775807,
        -32768,
        True,
        Decimal("12345678.90"),
        Decimal("0.10"),
        Decimal("1.123456789"),
        "1234567890123456789012345678901234567890.5000000000",
        Decimal(1234000),
        0.1,
        'a,"b"\n\\.\t',
        "ab   ",
        b"\x00\xff\x22",
        date(1, 1, 1),
        datetime(2024, 2, 29, 23, 59, 59, 123456),
        1704047400500000,
        time(23, 59, 59, 999999),
        "10:00:00+02",
        "-1 years +2 days 03:00:00",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "happy",
        "10.0.0.1/8",
        "[1,5)",
        "$12.50",
        "",
        7,
        8,
    )
    assert low[8] == float("-inf")
    assert low[10:13] == ("", "     ", b"")
    assert pg.rows("COUNT(DISTINCT _dlt_id), COUNT(DISTINCT _dlt_load_id)", "types") == [(3, 1)]


ORDERS = """
CREATE TABLE orders (
    id int PRIMARY KEY, customer text, doc jsonb, tags text[], amounts numeric[], at timestamptz
);
INSERT INTO orders VALUES
    (1, 'Ann', '{"items": [{"name": "pen", "big": 12345678901234567890}], "to": {"zip": "02139"}}',
        '{a,NULL,"b c"}', '{1.10,12345678901234567890.123}', '2024-01-01 10:00:00+00'),
    (2, 'Bob', NULL, '{}', NULL, '2023-12-31 10:00:00+00'),
    (3, 'Cy', '{"items": []}', NULL, NULL, NULL)
"""


@pytest.mark.nightly_on("postgres_place")
@pytest.mark.parametrize("place_name", ["duckdb_place", "postgres_place"])
def test_json_and_arrays_become_child_tables(
    place_name: str,
    request: pytest.FixtureRequest,
    postgres_server: Postgres,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place: Place = request.getfixturevalue(place_name)
    pg = postgres_project(place, postgres_server, capsys, monkeypatch)
    pg.execute(ORDERS)
    pg.define("orders", settings={"orders": {"cursor": "at"}})
    pg.run()
    assert pg.rows("id, customer, doc__to__zip", "orders") == [
        (1, "Ann", "02139"),
        (2, "Bob", None),
        (3, "Cy", None),
    ]
    assert pg.rows("name", "orders__doc__items") == [("pen",)]
    assert pg.rows("_dlt_list_idx, value", "orders__tags") == [(0, "a"), (1, None), (2, "b c")]
    assert pg.rows("value", "orders__amounts", "_dlt_list_idx") == [
        ("1.10",),
        ("12345678901234567890.123",),
    ]
    pg.execute(
        "UPDATE orders SET tags = '{z}', at = '2024-02-01' WHERE id = 1;"
        "UPDATE orders SET customer = 'behind the cursor' WHERE id = 2;"
        "UPDATE orders SET at = '2023-01-01', customer = 'late' WHERE id = 3;"
        "INSERT INTO orders VALUES (4, 'Di', '[1]', NULL, NULL, NULL)"
    )
    pg.execute("UPDATE orders SET at = '2024-03-01' WHERE id = 3")
    assert "3 rows" in pg.run()
    assert pg.rows("id, customer", "orders") == [(1, "Ann"), (2, "Bob"), (3, "late"), (4, "Di")]
    assert pg.rows("value", "orders__tags") == [("z",)]


def test_rows_merge_and_tables_without_key_are_replaced(pg: SqlProject) -> None:
    pg.execute(
        "CREATE TABLE keyed (a int, b text, n int, PRIMARY KEY (a, b));"
        'CREATE TABLE plain ("100% n" int);'
        "CREATE VIEW seen AS SELECT a, n FROM keyed;"
        "INSERT INTO keyed VALUES (1, 'x', 1), (1, 'y', 2); INSERT INTO plain VALUES (1), (1)"
    )
    pg.define()
    assert "keyed  SQL table keyed" in pg.command("discover")
    pg.run()
    pg.execute(
        "DELETE FROM keyed WHERE b = 'y'; UPDATE keyed SET n = 9; INSERT INTO keyed "
        "VALUES (2, '', NULL);"
        "TRUNCATE plain; ALTER TABLE keyed ADD COLUMN more jsonb DEFAULT '{\"k\": [1]}'"
    )
    pg.run()
    assert pg.rows("a, b, n", "keyed", "1, 2") == [(1, "x", 9), (1, "y", 2), (2, "", None)]
    assert pg.rows("COUNT(*)", "plain") == [(0,)]
    assert pg.rows("a, n", "seen") == [(1, 9), (2, None)]
    assert pg.rows("value", "keyed__more__k") == [(1,), (1,)]


def test_values_that_do_not_fit_are_kept(pg: SqlProject) -> None:
    pg.execute(
        "CREATE TABLE odd (id int PRIMARY KEY, day date, at timestamp, n numeric(5, 2), "
        "free numeric);"
        "INSERT INTO odd VALUES (1, '2024-01-01', '2024-01-01', 1.5, 1), (2, 'infinity', "
        "'-infinity',"
        " 'NaN', 1), (3, '0044-03-15 BC', '20000-01-01', 2, 1), (4, NULL, NULL, 3, 0.1234567890123)"
    )
    pg.define("odd")
    assert "_millstream_quarantine 1" in pg.run()
    assert pg.rows("id, day, day__v_text, at__v_text, n, n__v_text", "odd") == [
        (1, date(2024, 1, 1), None, None, Decimal("1.5"), None),
        (2, None, "infinity", "-infinity", None, "NaN"),
        (3, None, "0044-03-15 BC", "20000-01-01 00:00:00", Decimal(2), None),
    ]
    pg.define("odd", settings={"odd": {"types": {"free": "text"}}})
    pg.more["destination"] = {**pg.place.destination, "dataset": "as_text"}
    pg.define("odd", settings={"odd": {"types": {"free": "text"}}})
    pg.run()
    found = pg.place.query("SELECT free FROM as_text.odd ORDER BY id")
    assert found[-1] == ("0.1234567890123",)


@pytest.mark.nightly
@pytest.mark.parametrize("place_name", ["duckdb_place", "postgres_place"])
def test_columns_that_get_another_type(
    place_name: str,
    request: pytest.FixtureRequest,
    postgres_server: Postgres,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They get a type that holds all values; else these go to variants, none to quarantine."""
    place: Place = request.getfixturevalue(place_name)
    pg = postgres_project(place, postgres_server, capsys, monkeypatch)
    pg.execute(
        "CREATE TABLE t (id int PRIMARY KEY, code int, price numeric(6, 2), note text, "
        "yes boolean, size int);"
        "INSERT INTO t SELECT i, i, i + 0.25, '2024-01-0' || i, true, i "
        "FROM generate_series(1, 6) i"
    )
    pg.more["schema_policy"] = "evolve"
    cursor = {"t": {"cursor": "id"}}
    pg.define("t", settings=cursor)
    pg.run()
    pg.execute(
        "ALTER TABLE t ALTER code TYPE text, ALTER price TYPE numeric(12, 6), "
        "ALTER note TYPE timestamptz USING note::timestamptz, "
        "ALTER yes TYPE int USING yes::int, ALTER size TYPE double precision;"
        "INSERT INTO t VALUES (7, '007', 7.000001, '2024-01-07 01:00+01', 1, 7.5), "
        "(8, 'x', 8, NULL, NULL, 8)"
    )
    said = pg.run(fails=True)
    assert "held: 1 schema change must be accepted first" in said
    assert "column `code` is now text, before bigint" in said
    assert main(["schema", "accept", str(place.project)]) == 0
    pg.run()
    assert "_millstream_quarantine" not in pg.said
    assert pg.rows("id, code, price, note, yes, yes__v_bigint, size, size__v_double", "t")[5:] == [
        (6, "6", Decimal("6.25"), None, None, 1, 6, None),
        (7, "007", Decimal("7.000001"), None, None, 1, None, 7.5),
        (8, "x", Decimal(8), None, None, None, 8, None),
    ]
    assert pg.rows("epoch(note__v_timestamp)" if place.kind == "duckdb" else
                   "extract(epoch from note__v_timestamp)::float", "t", "id")[6:] == [
        (1704585600.0,), (None,),
    ]  # fmt: skip
    pg.run()
    assert "no schema changes" in pg.said
    # digits of a number are none of a text
    pg.execute(
        "ALTER TABLE t ALTER price TYPE text;"
        "INSERT INTO t VALUES (9, NULL, 'twenty characters of text', NULL, NULL, NULL)"
    )
    assert "column `price` is now text, before decimal(12,6)" in pg.run(fails=True)
    assert main(["schema", "accept", str(place.project)]) == 0
    pg.run()
    assert pg.rows("price", "t", "id")[6:] == [
        ("7.000001",),
        ("8.000000",),
        ("twenty characters of text",),
    ]
    pg.execute("ALTER TABLE t ALTER id TYPE text")
    said = pg.run(fails=True)
    assert "the cursor `id` is text now, which can't be compared with the last run's" in said
    assert "column `id` is now text, before bigint" in said


def test_a_column_goes_on_with_its_time_zone_or_without(pg: SqlProject) -> None:
    """What the database adds or takes away changes no column, so that there is nothing to tell."""
    pg.execute(
        "CREATE TABLE t (id int PRIMARY KEY, day timestamp, moment timestamptz);"
        "INSERT INTO t VALUES (1, '2024-01-01', '2024-01-01Z')"
    )
    pg.more["schema_policy"] = "evolve"
    pg.define("t")
    pg.run()
    pg.execute(
        "ALTER TABLE t ALTER day TYPE timestamptz USING day AT TIME ZONE 'UTC', "
        "ALTER moment TYPE timestamp USING moment AT TIME ZONE 'UTC';"
        "INSERT INTO t VALUES (2, '2024-01-02 01:00+01', '2024-01-02')"
    )
    assert "no changes" in pg.command("schema", "diff")
    assert "no schema changes" in pg.run()
    assert re.search(r" day +timestamp without time zone\n", pg.command("schema", "show"))
    assert pg.rows("typeof(day), typeof(moment), epoch(day), epoch(moment)", "t", "id") == [
        ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", day, day) for day in (1704067200, 1704153600)
    ]


def test_a_column_that_keeps_its_type_keeps_its_digits(pg: SqlProject) -> None:
    """Else a value with more digits than the column has would be rounded, or refused for good."""
    pg.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n numeric(6, 2), day numeric(6, 2));"
        "INSERT INTO t VALUES (1, 1.25, 1.25)"
    )
    pg.more["schema_policy"] = "evolve"
    pg.define("t")
    pg.run()
    pg.execute(
        "ALTER TABLE t ALTER n TYPE bigint, ALTER day TYPE date USING NULL;"
        "INSERT INTO t VALUES (2, 7, '2024-01-31'), (3, 123456, NULL)"
    )
    said = pg.run()
    assert "is now decimal" not in said
    assert pg.rows("id, n, n__v_bigint, day, day__v_date", "t") == [
        (1, Decimal(1), None, None, None),
        (2, Decimal(7), None, None, date(2024, 1, 31)),
        (3, None, 123456, None, None),
    ]
    assert pg.rows("typeof(n), typeof(day)", "t")[0] == ("DECIMAL(6,2)", "DECIMAL(6,2)")


def test_a_number_without_a_limit_has_the_digits_that_it_had(pg: SqlProject) -> None:
    """Whether its rows come as Arrow tables, which name their digits, or one by one."""
    pg.execute("CREATE TABLE t (id int PRIMARY KEY, n numeric); INSERT INTO t VALUES (1, 1.5)")
    pg.more["schema_policy"] = "evolve"
    pg.define("t")
    pg.run()
    pg.execute("INSERT INTO t VALUES (2, 0.12345678901)")
    assert "no schema changes\n  1 row in quarantine\n" in pg.run()
    pg.execute("DELETE FROM t WHERE id = 2")
    assert "no schema changes" in pg.run()


def test_windows_keep_the_types_of_their_table(pg: SqlProject) -> None:
    pg.execute(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL, v int);"
        "INSERT INTO t VALUES (1, '2024-01-01', 1), (2, '2024-01-02', 2)"
    )
    days = {"type": "time", "every": "day", "start": "2024-01-01", "cursor": "at"}
    pg.more["partitions"] = days
    pg.define("t")
    pg.run("--partition", "2024-01-01...2024-01-02")
    pg.execute("ALTER TABLE t ALTER v TYPE text USING 'x' || v")
    pg.run("--partition", "2024-01-02")
    assert pg.rows("id, v, v__v_text", "t") == [(1, 1, None), (2, None, "x2")]


def test_a_column_that_is_dropped_is_told(lite: SqlProject) -> None:
    """Of however few rows: the database knows. What is in its JSON comes and goes."""
    lite.execute(
        "CREATE TABLE t (id int PRIMARY KEY, note text, empty text, doc text);"
        """INSERT INTO t VALUES (1, 'a', NULL, '{"a": 1}'), (2, 'b', NULL, '{"a": 2}')"""
    )
    lite.define("t", settings={"t": {"types": {"doc": "nested"}}})
    lite.run()
    lite.execute("UPDATE t SET note = NULL, doc = NULL")
    assert "no schema changes" in lite.run()
    lite.execute("ALTER TABLE t DROP COLUMN note; ALTER TABLE t DROP COLUMN empty;")
    said = lite.run()
    assert "2 schema changes\n" in said
    assert "`empty` no longer arrives" in said
    assert "`note` no longer arrives: in none of 2 rows, before in 100%" in said
    assert "no schema changes" in lite.run()


def test_a_column_renamed_behind_a_cursor_is_told(pg: SqlProject) -> None:
    pg.execute(
        "CREATE TABLE t (id int PRIMARY KEY, n int);"
        "INSERT INTO t SELECT i, i FROM generate_series(1, 30) i"
    )
    pg.define("t", settings={"t": {"cursor": "id"}})
    pg.run()
    pg.execute("ALTER TABLE t RENAME n TO m; INSERT INTO t VALUES (31, NULL), (32, NULL)")
    said = pg.run()
    assert "new column `m`" in said
    assert "`n` no longer arrives: in none of 3 rows, before in 100%" in said
    assert "no schema changes" in pg.run()


def test_values_of_sqlite_are_exact(lite: SqlProject) -> None:
    lite.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, r REAL, price DECIMAL(10, "
        "2), yes BOOLEAN,"
        " noon DATETIME, utc TIMESTAMP, unix DATETIME, day DATE, b BLOB, zip TEXT, "
        "anything, doc JSON);"
        "INSERT INTO t VALUES (1, 9007199254740993, 0.1, 10.10, 1, '2024-01-01 10:00:00',"
        " '2024-01-01T10:00:00.5Z', 1704103200, '2024-01-01', x'00ff', '02139', 'x', "
        "'{\"a\": [1]}');"
        "INSERT INTO t VALUES (2, 'many', NULL, 3, 0, NULL, NULL, NULL, 'soon', NULL, '', 5, NULL);"
        "INSERT INTO t (id, yes, noon) VALUES (3, 2, 5), (4, 'y', '2024-02-29 10:00');"
    )
    lite.define("t", settings={"t": {"types": {"doc": "nested"}}})
    lite.run()  # what a value becomes does not depend on those that are read with it
    assert lite.rows("yes, yes__v_bigint, yes__v_text, noon, noon__v_bigint", "t", "id") == [
        (True, None, None, datetime(2024, 1, 1, 10), None),
        (False, None, None, None, None),
        (None, 2, None, None, 5),
        (None, None, "y", datetime(2024, 2, 29, 10), None),
    ]
    lite.execute("DELETE FROM t WHERE id > 2")
    lite.run("--full-refresh")
    assert lite.rows("id, n, n__v_text, r, price, yes, noon, unix, day, day__v_text", "t") == [
        (1, 9007199254740993, None, 0.1, 10.1, True, datetime(2024, 1, 1, 10), 1704103200,
         date(2024, 1, 1), None),
        (2, None, "many", None, 3.0, False, None, None, None, "soon"),
    ]  # fmt: skip
    assert lite.rows("b, zip, anything, anything__v_bigint, epoch_ms(utc)", "t", "id") == [
        (b"\x00\xff", "02139", "x", None, 1704103200500),
        (None, "", None, 5, None),
    ]
    assert lite.rows("value", "t__doc__a") == [(1,)]


@pytest.fixture(scope="module")
def mariadb_server() -> Iterator[mariadb.MariaDB]:
    with mariadb.running() as server:
        yield server


def test_values_of_mariadb_are_exact(
    duckdb_place: Place,
    mariadb_server: mariadb.MariaDB,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maria = mariadb_project(duckdb_place, mariadb_server, capsys, monkeypatch)
    maria.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, u BIGINT UNSIGNED, m MEDIUMINT UNSIGNED, yes BOOL,"
        " price DECIMAL(12, 4), huge DECIMAL(60, 2), f FLOAT, g FLOAT, d DOUBLE, name "
        "VARCHAR(20), zip CHAR(5),"
        " bytes VARBINARY(4), fixed BINARY(3), blobs BLOB, day DATE, noon DATETIME(6), "
        "moment TIMESTAMP(3) NULL,"
        " span TIME, y YEAR, bits BIT(10), feeling ENUM('sad', 'happy'), colours "
        "SET('red', 'blue'), doc JSON);"
        "SET time_zone = '+05:30';"
        "INSERT INTO t VALUES (1, 18446744073709551615, 16777215, 1, 12345678.9, 1e50, "
        "0.1, 16777215, 0.1, 'Ä😀', '02139',"
        " x'00ff', x'01', '', '1000-01-01', '2024-02-29 23:59:59.123456', '2024-01-01 "
        "05:30:00.5', '-101:30:00',"
        " 1999, b'1000000001', 'happy', 'red,blue', '{\"a\": [1]}');"
        "INSERT INTO t (id) VALUES (2);"
        "SET sql_mode = ''; INSERT INTO t (id, day, noon) VALUES (3, '0000-00-00', '2024-00-00')"
    )
    maria.define("t", settings={"t": {"types": {"doc": "nested"}}})
    maria.run()
    columns = "id, u, m, yes, price, huge, f, g, d, name, zip, bytes, fixed, blobs, day, noon"
    assert maria.rows(columns, "t")[0] == (
        1,
        18446744073709551615,
        16777215,
        1,
        Decimal("12345678.9"),
        f"1{'0' * 50}.00",
        0.1,
        16777215.0,
        0.1,
        "Ä😀",
        "02139",
        b"\x00\xff",
        b"\x01\x00\x00",
        b"",
        date(1000, 1, 1),
        datetime(2024, 2, 29, 23, 59, 59, 123456),
    )
    assert maria.rows("epoch_ms(moment), span, y, bits, feeling, colours", "t", "id")[:2] == [
        (1704067200500, "-101:30:00", 1999, 513, "happy", "red,blue"),
        (None,) * 6,
    ]
    assert maria.rows("day__v_text, noon__v_text", "t", "id")[2] == (
        "0000-00-00",
        "2024-00-00 00:00:00.000000",
    )
    assert maria.rows("value", "t__doc__a") == [(1,)]
    maria.execute(
        "CREATE TABLE places (id INT PRIMARY KEY, spot POINT, shape GEOMETRY, host INET6);"
        "INSERT INTO places VALUES (1, POINT(1.5, 1e300), ST_GeomFromText('POINT(1 2)', 4326), "
        "'::1'), (2, NULL, ST_GeomFromText('LINESTRING(0 0,1.2345678901234567 2)'), NULL)"
    )
    maria.define("places")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "SQL table places" in maria.command("discover")
    maria.run()
    assert maria.rows("spot, shape, host", "places", "id") == [
        ("POINT(1.5 1e300)", "SRID=4326;POINT(1 2)", "::1"),
        (None, "LINESTRING(0 0,1.2345678901234567 2)", None),
    ]
    # read on by a cursor in the server's own zone
    maria.define("t", settings={"t": {"cursor": "moment", "types": {"doc": "nested"}}})
    maria.run()
    maria.execute("UPDATE t SET moment = '2024-06-01', name = 'late' WHERE id = 2")
    maria.execute("UPDATE t SET name = 'behind' WHERE id = 1")
    maria.run()
    assert maria.rows("name", "t", "id")[1:2] == [("late",)]


def test_a_cursor_reads_on_and_back(lite: SqlProject) -> None:
    lite.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, n INT);"
        "INSERT INTO t VALUES (1, '2024-01-01 10:00:00', 1), (2, '2024-01-01 10:00:09.5', 1);"
    )
    lite.define("t", settings={"t": {"cursor": "at", "lag": 3}}, chunk_size=1)
    assert "2 rows" in lite.run()
    lite.execute("UPDATE t SET n = 2")
    lite.execute("INSERT INTO t VALUES (3, '2024-01-01 10:00:07', 1)")
    assert "2 rows" in lite.run()
    assert lite.rows("id, n", "t") == [(1, 1), (2, 2), (3, 1)]
    assert "3 rows" in lite.run("--full-refresh")
    assert lite.rows("id, n", "t") == [(1, 2), (2, 2), (3, 1)]


@pytest.mark.parametrize("doc", ["TEXT", "JSON"])
def test_rows_at_the_cursor_are_appended_once(lite: SqlProject, doc: str) -> None:
    lite.execute(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, at DATE, doc {doc});"
        "INSERT INTO t VALUES (1, '2024-01-01', '[1]'), (2, '2024-01-02', '[2]');"
    )
    lite.define("t", settings={"t": {"cursor": "at", "write_disposition": "append"}})
    assert "2 rows" in lite.run()
    assert "0 rows" in lite.run()
    # another row of the day, and one that was altered on it
    lite.execute("INSERT INTO t VALUES (3, '2024-01-02', '[3]')")
    lite.execute("UPDATE t SET doc = '[4]' WHERE id = 2")
    assert "2 rows" in lite.run()
    assert "0 rows" in lite.run()
    assert lite.rows("id", "t") == [(1,), (2,), (2,), (3,)]
    lite.execute("INSERT INTO t VALUES (4, NULL, '[5]')")
    assert "each run would append it again" in lite.run(fails=True)
    lite.execute("UPDATE t SET at = '2024-01-03' WHERE id = 4")
    assert "1 row" in lite.run()


def test_a_column_that_is_in_the_key_no_more_may_be_null(lite: SqlProject) -> None:
    lite.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, code TEXT, n INT);"
        "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2);"
    )
    lite.define("t", settings={"t": {"primary_key": ["id", "code"]}})
    lite.run()
    lite.execute("UPDATE t SET code = NULL, n = 3 WHERE id = 2")
    lite.define("t")
    assert "quarantine" not in lite.run()
    lite.execute("INSERT INTO t VALUES (3, 'c', 4)")
    lite.define("t", settings={"t": {"primary_key": "n", "exclude": ["id"]}})
    assert "quarantine" not in lite.run()
    assert lite.rows("id, code, n", "t", "n, id") == [
        (None, "a", 1),
        (None, None, 3),
        (None, "c", 4),
    ]


def test_a_type_that_sqlalchemy_does_not_know_is_text(pg: SqlProject) -> None:
    pg.execute("CREATE TYPE pair AS (x int, y text)")
    pg.execute("CREATE TABLE t (id int PRIMARY KEY, p pair)")
    pg.execute("INSERT INTO t VALUES (1, ROW(1, 'a'))")
    pg.define("t")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a line on the terminal that tells nothing
        pg.run()
    assert pg.rows("id, p", "t") == [(1, "(1,a)")]


def test_a_lag_is_exact_and_of_what_has_one(pg: SqlProject) -> None:
    high = 2**60 + 129  # as a double, it is more
    pg.execute(
        "CREATE TABLE n (id int PRIMARY KEY, u numeric(30, 2), v int DEFAULT 1);"
        "CREATE TABLE b (id int PRIMARY KEY, u bigint, v int DEFAULT 1);"
        "CREATE TABLE t (id int PRIMARY KEY, u text, v int DEFAULT 1);"
        f"INSERT INTO n VALUES (1, 1.5), (2, 3); INSERT INTO b VALUES (1, {high});"
        "INSERT INTO t VALUES (1, '2024-01-01T00:00:10Z')"
    )
    settings = {table: {"cursor": "u", "lag": 1} for table in "nbt"}
    pg.define(*"nbt", settings=settings)
    pg.run()
    pg.execute(
        "UPDATE n SET v = 2; INSERT INTO n VALUES (3, 2), (4, 1.99);"
        f"UPDATE b SET v = 2; INSERT INTO b VALUES (2, {high} - 1), (3, {high} - 2);"
        "INSERT INTO t VALUES (2, '2024-01-01T00:00:09Z'), (3, '2024-01-01T00:00:08Z')"
    )
    pg.run()
    assert pg.rows("id, v", "n") == [(1, 1), (2, 2), (3, 1)]
    assert pg.rows("id, v", "b") == [(1, 2), (2, 1)]
    assert pg.rows("id", "t") == [(1,), (2,)]
    pg.execute("INSERT INTO t VALUES (4, 'late')")
    pg.run()
    assert "has 'late' as its highest value" in pg.run(fails=True)
    pg.define(*"nbt", settings={**settings, "t": {"cursor": "u"}})
    pg.run()


def test_a_cursor_of_another_kind_is_quarantined(lite: SqlProject) -> None:
    lite.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, u INTEGER, d BLOB)")
    lite.execute("INSERT INTO t VALUES (1, 5, NULL), (2, 'late', x'00ff'), (3, NULL, NULL)")
    lite.define("t", settings={"t": {"cursor": "u"}})
    lite.run()
    lite.execute("INSERT INTO t VALUES (4, 6, NULL)")
    lite.run()
    assert lite.rows("id, u", "t") == [(1, 5), (3, None), (4, 6)]
    found = lite.rows("DISTINCT id, detail", "_millstream_quarantine")
    assert [detail for _, detail in found] == ["`u`, the cursor: not of the type bigint"]
    lite.execute("UPDATE t SET u = 7 WHERE id = 2")
    lite.run()
    assert lite.rows("id, u", "t") == [(1, 5), (2, 7), (3, None), (4, 6)]


def test_an_infinite_cursor_is_quarantined(pg: SqlProject) -> None:
    pg.execute("CREATE TABLE t (id int PRIMARY KEY, u timestamptz, j jsonb DEFAULT '[{}]')")
    pg.execute("INSERT INTO t VALUES (1, '2020-01-01'), (2, 'infinity'), (3, '0044-03-15 BC')")
    pg.define("t", settings={"t": {"cursor": "u"}})
    pg.run()
    pg.execute("INSERT INTO t VALUES (4, '2021-01-01')")
    pg.run()
    assert [row for (row,) in pg.rows("id", "t")] == [1, 4]
    assert len(pg.rows("DISTINCT id", "_millstream_quarantine")) == 2


def test_windows_are_loaded_one_by_one(pg: SqlProject) -> None:
    pg.execute(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, tags text[]);"
        "INSERT INTO t VALUES (1, '2024-01-01 23:59:59+00', '{a}'), (2, '2024-01-02 "
        "00:00+00', '{b}'),"
        " (3, '2024-01-03 00:00+00', NULL)"
    )
    pg.more["partitions"] = {"type": "time", "every": "day", "start": "2024-01-01", "cursor": "at"}
    pg.define("t")
    pg.run("--partition", "2024-01-02")
    assert pg.rows("id, _millstream_partition", "t") == [(2, "2024-01-02")]
    pg.run("--partition", "2024-01-01")
    pg.execute("UPDATE t SET tags = '{c,d}' WHERE id = 2")
    pg.run("--partition", "2024-01-02")
    assert pg.rows("id", "t") == [(1,), (2,)]
    assert pg.rows("value", "t__tags") == [("a",), ("c",), ("d",)]
    pg.execute("INSERT INTO t VALUES (9)")
    assert "belongs to no partition" in pg.run("--partition", "2024-01-02", fails=True)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"tables": ["ordes"]}, "did you mean 'orders'?"),
        ({"settings": {"orders": {"cursor": "updated"}}}, "did you mean 'updated_at'?"),
        ({"settings": {"orders": {"cursor": "doc"}}}, "which has no order"),
        ({"tables": ["log"], "settings": {"log": {"cursor": "at"}}}, "has no primary key"),
        ({"settings": {"orders": {"exclude": ["id"]}}}, "the primary key"),
        (
            {"settings": {"orders": {"cursor": "id", "lag": 1, "write_disposition": "append"}}},
            "`lag` reads rows again, which `append` would double",
        ),
        ({"settings": {"orders": {"columns": ["idd"]}}}, "did you mean 'id'?"),
        ({"settings": {"order": {}}}, "did you mean 'orders'?"),
        ({"schema": "nowhere"}, "not found: unknown database"),
        ({"credentials": "postgresql://x"}, "credentials belong in .env: DATABASE_URL"),
        ({"url_from": "SHOP_URL"}, "put `SHOP_URL="),
    ],
)
def test_mistakes_are_named(lite: SqlProject, source: dict[str, Any], said: str) -> None:
    lite.execute(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, updated_at DATETIME, doc JSON);"
        "CREATE TABLE log (at DATETIME);"
    )
    lite.define(
        *source.get("tables", ["orders"]), **{k: v for k, v in source.items() if k != "tables"}
    )
    shown = lite.run(fails=True)
    assert said in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "postgresql://{user}:wrong-pass@127.0.0.1:{port}/postgres",
            "password authentication failed",
        ),
        ("postgresql://{user}:x@127.0.0.1:1/postgres", "can't be reached"),
        ("mysql+mysqldb://u:p@h/d", "pip install"),
        ("nosuch://u:secret-pass@h/d", "SQLAlchemy does not know"),
        ("sqlite:///missing.db", "which is not there"),
        ("not a url", "can't be read"),
    ],
)
def test_a_url_that_does_not_work_is_explained(
    pg: SqlProject, postgres_server: Postgres, url: str, said: str
) -> None:
    pg.define("t")
    pg.monkeypatch.setenv("DATABASE_URL", url.format(user="millstream", port=postgres_server.port))
    shown = pg.run(fails=True)
    assert said in shown
    assert "hint:" in shown
    assert "-pass" not in shown


def test_streams_are_known_with_the_server_down(pg: SqlProject) -> None:
    pg.execute(ORDERS)
    pg.define()
    assert "`millstream discover`" in pg.command("doctor", fails=True)
    pg.command("discover")
    assert "orders readable" in " ".join(pg.command("doctor").split())
    shown = pg.command("preview", "orders")
    assert "orders__tags" in shown
    pg.monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere.invalid/x")
    dg = pytest.importorskip("dagster")
    from millstream import step_assets
    from millstream.config import read_pipeline

    made = step_assets(read_pipeline(pg.place.project / "defs.yaml"))
    assert dg.AssetKey(["shop", "orders__tags"]) in {key for each in made for key in each.keys}
