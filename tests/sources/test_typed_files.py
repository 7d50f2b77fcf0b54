"""CSV and Parquet files: every value as it was, and what is wrong named with file and line."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from datetime import date, datetime, time, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alerts.fake_alert_servers import slack
from millstream.cli import main
from services.places import Place
from sources.files_kit import FileProject


@pytest.fixture
def project(duckdb_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> FileProject:
    return FileProject(tmp_path / "project", duckdb_place, capsys)


Select = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def select(project: FileProject) -> Select:
    """Columns of the table, by their first."""

    def select(columns: str, table: str = "t") -> list[tuple[Any, ...]]:
        source = project.place.from_clause(table)
        return project.place.query(f"SELECT {columns} FROM {source} ORDER BY 1")

    return select


def test_values_of_csv_are_the_texts_of_the_file(project: FileProject, select: Select) -> None:
    text = 'id,zip,Größe,note\r\n01,02139,1_000,"a ""b"",\r\nc"\r\n2,,"",2024-01-01T00:00:00Z\r\n'
    project.configure("data/*.csv*")
    project.write("data/a.csv", b"\xef\xbb\xbf" + text.encode())
    project.write("data/b.csv.gz", gzip.compress(b"note,id,more\nx,3,y\n\n"))
    project.write("data/empty.csv", "")
    assert main(["preview", "t", str(project.folder / "defs.yaml")]) == 0
    assert "02139" in project.capsys.readouterr().out
    project.load()
    assert select("id, zip, grosse, note, more") == [
        ("01", "02139", "1_000", 'a "b",\r\nc', None),
        ("2", None, "", "2024-01-01T00:00:00Z", None),
        ("3", None, None, "x", "y"),
    ]
    assert select("COUNT(DISTINCT _dlt_id), COUNT(_dlt_load_id)") == [(3, 3)]
    project.write("data/c.tsv", "id\tzip\n4\t1,5\n")
    project.configure("data/*.*sv*")
    assert project.load() == ["01", "2", "3", "4"]  # the new file alone


def test_a_column_of_text_stays_text(project: FileProject, select: Select) -> None:
    policy = {"schema_policy": "strict"}
    project.configure("data/*.csv", policy)
    project.write("data/a.csv", "id,n\n1,abc\n")
    project.load()
    project.configure("data/*.csv", policy, types={"n": "decimal(12, 2)"})
    project.write("data/b.csv", "id,n\n2,1.50\n")
    project.load()
    assert "types: `n`: text since an earlier load" in project.out
    assert "no schema changes" in project.out
    project.configure("data/*.csv", {"schema_policy": "anything"})
    project.write("data/c.csv", "id,n,more\n3,a text of more than twelve characters,x\n")
    project.load()
    assert select("n, id") == [
        ("1.50", "2"),
        ("a text of more than twelve characters", "3"),
        ("abc", "1"),
    ]


LENIENT = {"quarantine": {"max_share": 1.0}}
TYPES = {
    "n": "bigint",
    "price": "decimal(12, 2)",
    "free": "decimal",
    "ratio": "double",
    "yes": "bool",
    "day": "date",
    "noon": "timestamp",
    "moment": "timestamptz",
    "doc": "nested",
    "clock": "time",
}


def test_declared_types_take_what_they_give_back(project: FileProject, select: Select) -> None:
    project.configure(
        "a.csv", LENIENT, types=TYPES, nulls=["", "NULL"], delimiter=";", encoding="latin-1"
    )
    head = "id;n;price;free;ratio;yes;day;noon;moment;doc;clock\n"
    good = (
        "1;-5; 2.50;1.123456789;0.1;true;2024-02-29;2024-01-01 10:00:00.5;2024-01-01T10:00+02:00;"
        '"{""a"": [1, 2], ""é"": 1}"; 10:00:00.5\n2;NULL;NULL;;;;;;;;\n'
    )
    bad = ["3;007", "4;5.0", "5;99999999999999999999", "6;;1.234", "7;;;;0.12345678901234567890123"]
    bad += [
        "8;;;;;yes",
        "9;;;;;;2024-02-30",
        "10;;;;;;;2024-01-01",
        "11;;;;;;;;2024-01-01T00:00:00",
        "12;;;;;;;;;;24:00:00",
    ]
    rows = "".join(each + ";" * (10 - each.count(";")) + "\n" for each in bad)
    project.write("a.csv", (head + good + rows).encode("latin-1"))
    project.load()
    columns = "id, n, price, free, ratio, yes, day, noon, epoch_ms(moment), doc__e, clock"
    assert select(columns) == [
        ("1", -5, Decimal("2.5"), Decimal("1.123456789"), 0.1, True, date(2024, 2, 29),
         datetime(2024, 1, 1, 10, 0, 0, 500000), 1704096000000, 1, time(10, 0, 0, 500000)),
        ("2", None, None, None, None, None, None, None, None, None, None),
    ]  # fmt: skip
    assert select("value", "t__doc__a") == [(1,), (2,)]
    details = sorted(detail for _, detail in project.quarantined())
    assert len(details) == len(bad)
    assert details[0].startswith("`clock`: not of the type time (")
    assert details[1].startswith("`day`: not of the type date (")
    assert details[1].endswith("a.csv, line 10)")


def test_rows_that_can_not_be_read_are_named(project: FileProject, select: Select) -> None:
    project.configure("a.csv", LENIENT)
    project.write("a.csv", b'id,name\n1,"a\nb"\n2\n3,x,y\n4,\xff\n5,ok\n')
    project.load()
    assert select("id, name") == [("1", "a\nb"), ("5", "ok")]
    assert project.quarantined()[:2] == [
        ("a.csv, line 4", "1 value instead of 2"),
        ("a.csv, line 5", "3 values instead of 2"),
    ]
    assert "`name`: not UTF-8; if the file is windows-1252" in project.quarantined()[2][1]
    # corrected in place: the corrected line alone is read
    project.write("a.csv", b'id,name\n1,"a\nb"\n2,two\n3,x,y\n4,\xff\n5,ok\n')
    project.load()
    assert select("id, name") == [("1", "a\nb"), ("2", "two"), ("5", "ok")]
    project.configure("a.csv", {"quarantine": {"enabled": False}})
    assert project.run("--full-refresh") == 1
    assert "a.csv, line 5: 3 values instead of 2" in project.out + project.err


@pytest.mark.parametrize("nested", ["auth.Token", "auth__token"])
def test_secrets_are_taken_out_by_the_keys_of_the_file(project: FileProject, nested: str) -> None:
    paths = ["Email Address", "apiKey", "Größe", "ID", nested]
    project.configure(
        "*.csv",
        {"quarantine": {"redact": paths}},
        types={"n": "bigint", "auth": "nested"},
    )
    cells = 'S3cret,S3cret,S3cret,S3cret,"{""Token"": ""S3cret""}",seen'
    broken = 'a,b,c,d,"{""Token"": ""S3cret"""'
    head = "id,n,Email Address,apiKey,Größe,ID,auth,other"
    project.write("a.csv", f"{head}\n2,zz,{cells}\n3,1,{broken},seen\n")
    assert project.run("--debug") == 0, project.out + project.err
    table = project.place.from_clause("_millstream_quarantine")
    rows = project.place.query(f"SELECT document, detail FROM {table}")
    assert len(rows) == 2
    assert all("seen" in document for document, _ in rows)
    assert "S3cret" not in f"{rows}{project.out}{project.err}"


def test_a_row_is_replayed_with_the_types_of_its_stream(
    project: FileProject, select: Select
) -> None:
    """Texts of `--row`, too, as the file would have them."""
    types = {"n": "bigint", "Price": "decimal(6,2)", "seen": "timestamptz", "of": "nested"}
    project.configure("a.csv", {"schema_policy": "strict"}, types={**types, "ok": "bool"})
    cells = '2.50,2024-01-02T03:04:05+02:00,"{""k"": 1}",true'
    project.write("a.csv", f"id,n,Price,seen,of,ok\n1,1,{cells}\n2,-,{cells}\n")
    project.load()
    defs = str(project.folder / "defs.yaml")
    assert main(["quarantine", "replay", defs]) == 0
    out = project.capsys.readouterr().out
    assert "`n`: not of the type bigint: correct it with --row" in " ".join(out.split())
    table = project.place.from_clause("_millstream_quarantine")
    ((entry, text),) = project.place.query(f"SELECT id, document FROM {table}")
    row = json.dumps({**json.loads(text), "n": "2"})
    replay = ["quarantine", "replay", defs, "--id", entry, "--row", row]
    assert main(replay) == 0, project.capsys.readouterr()
    columns = "id, n, price, seen, of__k, ok"
    first, second = project.place.query(f"SELECT {columns} FROM shop.t ORDER BY 1")
    assert first[0:2] == ("1", 1)
    assert second == ("2", 2, *first[2:])
    assert second[2:3] == (Decimal("2.50"),)


def test_rows_that_were_corrected_wait_no_more(project: FileProject, select: Select) -> None:
    """With a key the file is read again whole, whatever was wrong: a type, an encoding, the key."""
    project.configure("a.csv", LENIENT, primary_key="id", types={"n": "bigint"})
    project.write("a.csv", b"id,name,n\n1,a,1\n2,M\xfc,2\n3,c,x\n,d,4\n5\n6,f,6\n")
    project.load()
    assert len(project.quarantined()) == 4
    assert select("id") == [("1",), ("6",)]
    project.write("a.csv", b"id,name,n\n1,a,1\n2,M,2\n3,c,3\n4,d,4\n5,e,5\n6,f,6\n")
    project.load()
    assert len(select("id")) == 6
    assert "from quarantine: 4 read again" in project.out


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("1,Ann\n2,Bob\n", {}, "line 1: '1' does not look like the name"),
        ("id,id\n1,2\n", {}, "duplicate column 'id'"),
        ("id;name\n1;2\n", {}, 'set `delimiter: ";"`'),
        ("id,n\n1,2\n", {"types": {"m": "bigint"}}, "no file has a column 'm'"),
        ("1,2\n", {"columns": ["id"]}, "2 values, and `columns` names 1"),
        ("id\n1\n", {"header": True, "columns": ["id"]}, "without a `header`"),
        ("id\n1\n", {"types": {"id": "int"}}, "types.id"),
        (b"PAR1", {}, "is Parquet, not CSV"),
    ],
)
def test_a_csv_file_that_is_another_is_refused(
    project: FileProject, text: Any, settings: dict[str, Any], said: str
) -> None:
    project.configure("a.csv", **settings)
    project.write("a.csv", text)
    assert project.run() == 1
    assert said in project.out + project.err
    assert "Traceback" not in project.out + project.err


def test_files_without_header_and_merges(project: FileProject, select: Select) -> None:
    project.configure("*.csv", columns=["id", "name"], primary_key="id", types={"id": "bigint"})
    project.write("a.csv", "1,Ann\n2,Bob\n")
    project.write("b.csv", "2,Bea\n")
    assert project.load() == [1, 2]
    assert select("id, name") == [(1, "Ann"), (2, "Bea")]
    # rows behind one that waits go another way; their texts stay texts
    project.write("a.csv", "1,Ann\n2,Ben\n3,Cy\nx,y\n")
    project.write("c.csv", "4,2024-01-01T00:00:00Z\n1,An\n")
    assert project.load() == [1, 2, 3, 4]
    assert select("id, name") == [
        (1, "An"),
        (2, "Ben"),
        (3, "Cy"),
        (4, "2024-01-01T00:00:00Z"),
    ]


def test_rows_are_newer_than_the_tables_before_them(project: FileProject, select: Select) -> None:
    """Both go to files of their own, which are written at once."""
    project.configure("*.csv", primary_key="id", types={"id": "bigint", "n": "bigint"})
    project.write("a.csv", "id,n,v\n1,1,a\n3,1,old\n")
    project.write("b.csv", "id,n,v\n3,1,new\n4,xx,y\n5,1,old\n")
    project.write("c.csv", "id,n,v\n5,2,new\n")
    assert project.load() == [1, 3, 5]
    assert select("id, n, v") == [(1, 1, "a"), (3, 1, "new"), (5, 2, "new")]


def test_tables_are_newer_than_the_rows_before_them(project: FileProject, select: Select) -> None:
    """Where a table is replaced, too."""
    project.configure("*.parquet", primary_key="id")
    files = {"a": ([1, 3], [1, 1]), "b": ([3, 5], ["new", "old"]), "c": ([5], [2])}
    for name, (ids, values) in files.items():
        pq.write_table(pa.table({"id": ids, "n": values}), project.folder / f"{name}.parquet")
    for arguments in ([], ["--full-refresh"]):
        assert project.load(*arguments) == [1, 3, 5]
        assert select("id, n, n__v_text") == [(1, 1, None), (3, None, "new"), (5, 2, None)]


def test_nanoseconds_beside_lists_and_objects(project: FileProject, select: Select) -> None:
    project.configure("*.parquet", primary_key="id")
    deep = pa.struct([("at", pa.list_(pa.timestamp("ns", "UTC")))])
    for name, digits in (("a", (1000, 1)), ("b", (0, 2000))):
        table = {
            "id": [ord(name), ord(name) + 10, ord(name) + 20],
            "t": pa.array([0, 1000, digits[0]], pa.timestamp("ns")),
            "o": pa.array([{"at": [0]}, {"at": [0, digits[1]]}, None], deep),
        }
        pq.write_table(pa.table(table), project.folder / f"{name}.parquet")
    assert project.load() == [97, 98, 108, 117, 118]
    assert project.quarantined() == [("a.parquet", "a time with more than 6 digits of a second")]
    assert select("epoch_us(t)") == [(0,), (0,), (0,), (1,), (1,)]
    assert select("COUNT(*), MAX(epoch_us(value))", "t__o__at") == [(4, 2)]


def test_parquet_files_keep_types_and_nest(project: FileProject, select: Select) -> None:
    project.configure("*.parquet", primary_key="id")
    flat = pa.table(
        {
            "id": pa.array([1, 2], pa.int32()),
            "u": pa.array([2**64 - 1, None], pa.uint64()),
            "price": pa.array([Decimal("1.50"), None], pa.decimal128(12, 2)),
            "zip": pa.array(["02139", ""]).dictionary_encode(),
            "moment": pa.array(
                [datetime(2024, 1, 1, tzinfo=timezone.utc), None], pa.timestamp("ns", "UTC")
            ),
            "text": pa.array(["2024-01-01T00:00:00Z", None], pa.large_string()),
            "b": pa.array([b"\x00", None]),
        }
    )
    pq.write_table(flat, project.folder / "a.parquet")
    assert project.load() == [1, 2]
    assert select("id, u, price, zip, epoch_ms(moment), text, b") == [
        (1, 2**64 - 1, Decimal("1.50"), "02139", 1704067200000, "2024-01-01T00:00:00Z", b"\x00"),
        (2, None, None, "", None, None, None),
    ]
    nested = pa.table(
        {
            "id": pa.array([2, 3], pa.int32()),
            "zip": ["9", "x"],
            "text": ["2024-01-01T00:00:00Z", "b"],
            "tags": [["a", None], []],
            "to": [{"city": "X", "items": [{"n": 1}]}, None],
            "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        }
    )
    pq.write_table(nested, project.folder / "b.parquet")
    assert project.load() == [1, 2, 3]
    assert select("id, zip, to__city, text") == [
        (1, "02139", None, "2024-01-01T00:00:00Z"),
        (2, "9", "X", "2024-01-01T00:00:00Z"),
        (3, "x", None, "b"),
    ]
    assert select("_dlt_list_idx, value", "t__tags") == [(0, "a"), (1, None)]
    assert select("n", "t__to__items") == [(1,)]
    assert select("key, value", "t__map") == [("k", 1)]
    project.write("c.parquet", b"PAR1 broken")
    assert project.run() == 1
    assert "c.parquet: can't be read as Parquet" in project.out + project.err


@pytest.mark.parametrize("nested", [{}, {"tags": [["a"], ["b"]]}])
def test_parquet_columns_keep_their_types(
    project: FileProject, select: Select, nested: dict[str, Any]
) -> None:
    """Values of a file that has others are variants; none is lost, and none waits."""
    project.configure("*.parquet", {"schema_policy": "evolve"}, primary_key="id")

    def write(name: str, **columns: pa.Array) -> None:
        pq.write_table(pa.table({**columns, **nested}), project.folder / name)

    day = date(2024, 2, 29)
    write(
        "a.parquet",
        id=pa.array([1, 2]),
        day=pa.array([day, None]),
        n=pa.array([7, 8]),
        price=pa.array([Decimal("1.1"), Decimal("0.1234567890123")], pa.decimal128(20, 13)),
        big=pa.array([2**64 - 1, 0], pa.uint64()),
    )
    project.load()
    assert select("price, big") == [
        (Decimal("0.1234567890123"), Decimal(0)),
        (Decimal("1.1"), Decimal(2**64 - 1)),
    ]
    write(
        "b.parquet",
        id=pa.array([3, 4]),
        day=pa.array([datetime(2024, 2, 29, 5), None], pa.timestamp("us")),
        n=pa.array(["x", "8"]),
        price=pa.array(["free", None]),
    )
    project.load()
    assert select("id, day, n, n__v_text, price, price__v_text")[2:] == [
        (3, None, None, "x", None, "free"),
        (4, None, None, "8", None, None),
    ]
    assert str(select("day__v_timestamp")[0][0]).startswith("2024-02-29 05:00:00")
    assert "quarantine" not in project.out


def test_files_of_one_load_may_differ_in_arrow_types(project: FileProject, select: Select) -> None:
    """dlt gave columns the sizes of the last file, and refused files of other types for good."""
    first = {
        "moment": pa.array([1, 2], pa.timestamp("us")),
        "n": pa.array([1, 2**40]),
        "time": pa.array([1, 2], pa.time64("us")),
        "data": pa.array([b"", b"abc"]),
        "price": pa.array([Decimal("1.25"), None], pa.decimal128(10, 2)),
        "name": pa.array(["a", "b"]),
    }
    second = {
        "moment": pa.array([3001, 4000], pa.timestamp("ns")),
        "n": pa.array([3, 4], pa.int8()),
        "time": pa.array([3, 4], pa.time32("s")),
        "data": pa.array([b"d", b"e"], pa.binary(1)),
        "price": pa.array([Decimal("3.5"), None], pa.decimal128(3, 1)),
        "name": pa.array(["c", "d"], pa.large_string()),
    }
    third = {**second, "moment": pa.array([5, 6], pa.timestamp("ms"))}
    project.configure("*.parquet", primary_key="id")
    project.folder.mkdir(exist_ok=True)
    for number, columns in enumerate((first, second, third)):
        table = pa.table({"id": [2 * number, 2 * number + 1], **columns})
        pq.write_table(table, project.folder / f"{number}.parquet")
    project.load()
    assert select("id, epoch_us(moment), n, time, data, price, name") == [
        (0, 1, 1, time(0, 0, 0, 1), b"", Decimal("1.25"), "a"),
        (1, 2, 2**40, time(0, 0, 0, 2), b"abc", None, "b"),
        (3, 4, 4, time(0, 0, 4), b"e", None, "d"),
        (4, 5000, 3, time(0, 0, 3), b"d", Decimal("3.50"), "c"),
        (5, 6000, 4, time(0, 0, 4), b"e", None, "d"),
    ]
    assert project.quarantined() == [("1.parquet", "`moment`: more than 6 digits of a second")]


def test_values_of_parquet_that_nothing_else_has_wait(project: FileProject, select: Select) -> None:
    """Those of columns of another type, and beside lists, whose files become rows."""
    project.configure("*.parquet", primary_key="id")
    project.folder.mkdir(exist_ok=True)

    def load(name: str, ids: list[int], **columns: Any) -> None:
        pq.write_table(pa.table({"id": ids, **columns}), project.folder / f"{name}.parquet")
        project.load()

    load("a", [1], x=["text"], y=["text"])
    nanoseconds = pa.array([1001, 2000], pa.time64("ns"))
    load("b", [2, 3], x=nanoseconds, y=pa.array([0, 2**62], pa.timestamp("us")))
    load("c", [4, 5], y=pa.array([0, 2**62], pa.timestamp("us", "UTC")), z=[[1], [2]])
    load("d", [6, 7], d=pa.array([1, None], pa.duration("us")))
    digits = [Decimal(10**40), Decimal("1.5")]  # DuckDB has 38
    load("e", [8, 9], e=pa.array(digits, pa.decimal256(50, 2)))
    assert select("id, e") == [(1, None), (4, None), (7, None), (9, Decimal("1.5"))]
    outside = "a time outside the years 1 to 9999"
    assert project.quarantined() == [
        ("b.parquet", "`x`: more than 6 digits of a second"),
        ("b.parquet", f"`y`: {outside}"),
        ("c.parquet", outside),
        ("d.parquet", "`d`: a value of type duration[us] can not be stored"),
        ("e.parquet", "`e`: more than 36 digits before the point"),
    ]


def test_unsigned_integers_of_parquet_files(project: FileProject, select: Select) -> None:
    """The column of the same number of bits would hold half of them."""
    project.configure("*.parquet", primary_key="id")
    for name, first in (("a.parquet", 1), ("b.parquet", 3)):
        table = pa.table(
            {
                "id": pa.array([first, first + 1], pa.uint8()),
                "byte": pa.array([255, None], pa.uint8()),
                "short": pa.array([2**16 - 1, 0], pa.uint16()).dictionary_encode(),
                "word": pa.array([2**32 - 1, 1], pa.uint32()),
            }
        )
        pq.write_table(table, project.folder / name)
        project.load()
    assert select("id, byte, short, word") == [
        (1, 255, 65535, 4294967295),
        (2, None, 0, 1),
        (3, 255, 65535, 4294967295),
        (4, None, 0, 1),
    ]


def test_partitions_of_csv_files(project: FileProject, select: Select) -> None:
    partitions = {"type": "static", "values": ["eu", "us"], "field": "region"}
    project.configure("a.csv", {"partitions": partitions}, primary_key="ID")
    project.write("a.csv", "ID,region\n1,eu\n2,us\n3,eu\n")
    project.load("--partition", "eu")
    assert select("id, _millstream_partition") == [("1", "eu"), ("3", "eu")]
    project.configure("{partition}.csv", {"partitions": {"type": "static", "values": ["a"]}})
    project.load("--partition", "a")


def test_an_alert_names_the_partition(
    project: FileProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    partitions = {"type": "static", "values": ["eu", "us"]}
    project.configure("{partition}.csv", {"partitions": partitions, "alerts": [{"type": "slack"}]})
    project.write("eu.csv", "id\na\n")
    with slack() as office:
        monkeypatch.setenv("SLACK_WEBHOOK_URL", office.url)
        project.load("--partition", "eu")
    (payload,) = office.taken
    assert payload["text"] == "shop.t [eu]: loaded: 1 schema change, safe"


@pytest.mark.parametrize("path", ["data/*.jsonl", "data/{partition}.jsonl"])
def test_files_that_are_gone_empty_no_partition(
    project: FileProject, select: Select, path: str
) -> None:
    """A share that is not mounted, or a path that is wrong, is no partition without rows."""
    partitions = {"type": "static", "values": ["eu", "us"], "field": "region"}
    project.configure(path, {"partitions": partitions})
    eu = project.write("data/eu.jsonl", '{"id": 1, "region": "eu"}\n')
    project.write("data/us.jsonl", '{"id": 2, "region": "us"}\n')
    project.load("--partition", "eu", "--partition", "us")
    (project.folder / "data").rename(project.folder / "away")
    assert project.run("--partition", "eu") == 1
    assert "no file fits data/*.jsonl" in project.err
    assert select("id") == [(1,), (2,)]
    (project.folder / "away").rename(project.folder / "data")
    eu.unlink()
    project.load("--partition", "eu")
    assert select("id") == [(2,)]


def test_partitions_by_a_key_as_files_write_it(project: FileProject, select: Select) -> None:
    def load(key: str, by: str, **stream: Any) -> None:
        partitions = {"type": "static", "values": ["eu", "us"], "field": by}
        project.configure("data/*", {"partitions": partitions}, **stream)
        project.load("--partition", key)

    project.write("data/a.csv", "id,salesRegion\n1,eu\n2,us\n")
    project.write("data/b.jsonl", '{"id": "3", "salesRegion": "eu"}\n')
    digits = pa.array([1000, 1001], pa.timestamp("ns"))  # more than Python has
    regions = pa.array(["eu", "us"]).dictionary_encode()
    table = pa.table({"id": ["4", "5"], "salesRegion": regions, "at": digits})
    pq.write_table(table, project.folder / "data" / "c.parquet")
    load("eu", "salesRegion")
    assert select("id, sales_region") == [("1", "eu"), ("3", "eu"), ("4", "eu")]
    load("us", "salesRegion", primary_key="salesRegion")
    assert select("id") == [("1",), ("2",), ("3",), ("4",)]
    assert [origin for origin, _ in project.quarantined()] == ["c.parquet"]


OF_OBJECTS = 'id,Sales\n1,"{""theRegion"":""eu""}"\n2,"{""theRegion"":""us""}"\n'


@pytest.mark.parametrize(
    ("by", "content", "types"),
    [
        ("sales_region", "id,salesRegion\n1,eu\n2,us\n", {}),
        ("Sales.Region", "id,Sales.Region\n1,eu\n2,us\n", {}),
        ("Sales.theRegion", OF_OBJECTS, {"Sales": "nested"}),
        ("ID", "id,ID\neu,1\n1,eu\n2,us\n", {}),
    ],
)
def test_fields_that_tell_the_partition(
    project: FileProject, select: Select, by: str, content: str, types: dict[str, str]
) -> None:
    partitions = {"type": "static", "values": ["eu", "us"], "field": by}
    project.configure("a.csv", {"partitions": partitions}, types=types)
    project.write("a.csv", content)
    project.load("--partition", "eu")
    assert select("id") == [("1",)]


def test_lines_of_no_partition_are_named(project: FileProject) -> None:
    partitions = {"type": "static", "values": ["eu"], "field": "region"}
    project.configure("data/*", {"partitions": partitions}, types={"n": "bigint"})
    project.write("data/a.csv", "id,region,n\n1,eu,x\n2,us,y\n3,eu,1\n")
    assert project.load("--partition", "eu") == ["3"]
    assert [origin for origin, _ in project.quarantined()] == ["a.csv, line 2"]
    project.write("data/b.jsonl", '{"region": "eu"}\nno line\n')
    assert project.run("--partition", "eu") == 1
    assert "b.jsonl, line 2: " in project.err
    assert "is missing" not in project.err
    project.write("data/b.jsonl", '{"region": "eu"}\n{"region": "us"}\n{"id": 4}\n')
    assert project.run("--partition", "eu") == 1
    assert "b.jsonl, row 3: 'region' is missing" in project.err


def test_types_of_columns_that_not_every_file_has(project: FileProject, select: Select) -> None:
    """Those of before the column came, and those of before it was typed, in one run and later."""
    types = {"n": "bigint", "doc": "nested"}
    project.configure("*.csv", types=types, primary_key="id")
    project.write("a.csv", "id\n1\n")
    project.write("b.csv", "id,n,doc\n2,5,[1]\n")
    project.load()
    project.write("c.csv", "id\n3\n")
    project.load()
    project.load("--full-refresh")
    assert select("id, n") == [("1", None), ("2", 5), ("3", None)]
    project.configure("*.csv", types={**types, "nn": "bigint"}, primary_key="id")
    project.write("d.csv", "id,n\n4,6\n")
    assert project.run() == 1
    assert "no file has a column 'nn'" in project.err
    assert select("COUNT(*)") == [(3,)]


def test_types_of_columns_that_share_a_name(project: FileProject, select: Select) -> None:
    """The type of `ID` was taken for that of `id`, and left out from the second run on."""
    project.configure("*.csv", types={"ID": "bigint", "Order Id": "bigint"}, primary_key="Order Id")
    for number in (1, 2):
        text = f"id,ID,order_id,Order Id\na,{number},b,{number}\n"
        project.write(f"{number}.csv", text)
        project.load()
    assert "text since an earlier load" not in project.out
    assert select("order_id, id, id_x89f89c") == [(1, "a", 1), (2, "a", 2)]


def test_types_of_columns_that_files_call_otherwise(project: FileProject, select: Select) -> None:
    """A column is the same however its header is written: of one load, and of those behind."""
    types = {"amt": "bigint", "orderDate": "date", "Net Price": "decimal(6,2)"}
    project.configure("*.csv", {"schema_policy": "strict"}, types=types)
    project.write("a.csv", "id,amt,orderDate,net_price\n1,1,2024-01-01,1.50\n")
    project.write("b.csv", "id,Amt,order_date,Net Price\n2,2,2024-01-02,2.50\n")
    project.load()
    project.write("c.csv", "id,AMT,OrderDate,NetPrice\n3,3,2024-01-03,3.50\n4,x,,\n5,5,,5.555\n")
    project.load()
    days = [date(2024, 1, day) for day in (1, 2, 3)]
    prices = [Decimal(f"{number}.50") for number in (1, 2, 3)]
    numbers = range(1, 4)
    rows = zip(map(str, numbers), numbers, days, prices)
    assert select("id, amt, order_date, net_price") == list(rows)
    assert [detail.partition(" (file:")[0] for _, detail in project.quarantined()] == [
        "`AMT`: not of the type bigint",
        "`NetPrice`: not of the type decimal(6, 2)",
    ]


def test_types_of_two_columns_by_one_name_of_theirs(project: FileProject, select: Select) -> None:
    """The type of `Amt` was taken for `amt` of files that lack `Amt`, of one load and behind it."""
    project.configure("*.csv", {"schema_policy": "strict"}, types={"Amt": "bigint"})
    project.write("a.csv", "id,Amt,amt\n1,5,six\n")
    project.write("b.csv", "id,amt\n2,7\n")
    project.load()
    project.write("c.csv", "id,amt\n3,eight\n")
    project.write("d.csv", "id,Amt\n4,9\n5,nine\n")
    project.load()
    rows = [("1", 5, "six"), ("2", None, "7"), ("3", None, "eight"), ("4", 9, None)]
    assert select("id, amt_x4069c0, amt") == rows
    table = project.place.from_clause("_millstream_quarantine")
    ((entry, detail),) = project.place.query(f"SELECT id, detail FROM {table}")
    assert detail.startswith("`Amt`: not of the type bigint")
    row = json.dumps({"id": "5", "Amt": "9", "amt": "ten"})
    replay = ["quarantine", "replay", str(project.folder / "defs.yaml"), "--id", entry]
    assert main([*replay, "--row", row]) == 0, project.capsys.readouterr()
    assert select("id, amt_x4069c0, amt") == [*rows, ("5", 9, "ten")]


def test_a_primary_key_that_files_call_otherwise(project: FileProject, select: Select) -> None:
    """Rows that wait had a column apart from then on, and receipts looked for values there."""
    project.configure(
        "data/*",
        {"schema_policy": "strict", "receipts": "all", "quarantine": {"max_share": 1.0}},
        types={"Order ID": "bigint"},
        primary_key="orderId",
    )
    project.write("data/a.csv", "order_id,id\n1,a\n2,b\nx,c\n")
    project.write("data/b.csv", "orderId,id\n2,d\n3,e\n")
    project.load()
    assert "delivered: 4 rows checked" in project.out
    project.write("data/c.csv", "Order Id,id\n1,f\n4,g\n")
    assert project.load() == ["d", "e", "f", "g"]
    assert "delivered: 2 rows checked" in project.out
    # in JSON these are two keys, as dlt has it, and one lacks that of the stream
    project.write("data/d.jsonl", '{"order_id": 5, "id": "h"}\n{"orderId": 6, "id": "i"}\n')
    project.load()
    project.write("data/e.csv", "Order Id,id\n3,j\n7,k\n")
    project.load()
    assert "delivered: 2 rows checked" in project.out
    rows = [(1, "f"), (2, "d"), (3, "j"), (4, "g"), (6, "i"), (7, "k")]
    assert select("order_id, id") == rows


def test_types_of_columns_that_json_has_before_csv_comes(
    project: FileProject, select: Select
) -> None:
    project.configure("data/*", types={"n": "bigint"}, primary_key="id")
    project.write("data/a.jsonl", '{"id": "1", "n": 5}\n')
    table = pa.table({"id": ["2"], "n": [6], "x": [[1]]})
    pq.write_table(table, project.folder / "data/b.parquet")
    project.load()
    project.write("data/c.csv", "id,n\n3,7\n")
    project.load()
    assert select("id, n") == [("1", 5), ("2", 6), ("3", 7)]


def test_cells_that_are_not_json_wait_and_others_load(project: FileProject, select: Select) -> None:
    project.configure("*.csv", types={"id": "bigint", "kept": "json", "doc": "nested"})
    project.write(
        "a.csv",
        'id,kept,doc\n1,"{""n"":1}","[1,2]"\n2,{bad,\n3,,[NaN]\n4,123456789012345678901,"{""n"":9}"\n5,,text\n',
    )
    assert project.load() == [1, 4]
    assert [detail.partition(" (")[0] for _, detail in project.quarantined()] == [
        "`kept`: not JSON", "`doc`: not JSON", "`doc`: not JSON",
    ]  # fmt: skip
    assert select("value", "t__doc") == [(1,), (2,)]


def test_columns_that_files_no_longer_have_are_told(project: FileProject) -> None:
    """dlt adds them to tables that lack them, as null: they did not come all the same."""
    lines = [f"{n},name {n},{n}.5" for n in range(60)]
    project.configure("*.csv")
    project.write("1.csv", "\n".join(["id,name,price", *lines[:40]]))
    assert project.run() == 0
    project.write("2.csv", "\n".join(["id,title,price", *lines[10:50]]))
    assert project.run() == 1
    assert "`name` is gone and `title` came, a likely rename: 75% of its values" in project.err
    assert main(["schema", "accept", str(project.folder)]) == 0
    assert project.run() == 0, project.err
    project.write("3.csv", "\n".join(["id,title", *(line.rpartition(",")[0] for line in lines)]))
    assert project.run() == 0
    assert "`price` no longer arrives: in none of 60 rows, before in 100%" in project.out
    project.write("4.csv", "\n".join(["id,title,price", *(f"{n},x," for n in range(40))]))
    assert project.run() == 0
    assert "no schema changes" in project.out
    # columns that part of a load's files have are in part of its rows
    project.write("5.csv", "\n".join(["id,extra", *(f"{n},x" for n in range(40))]))
    project.write("6.csv", "\n".join(["id", *map(str, range(40))]))
    assert project.run() == 0
    project.write("7.csv", "\n".join(["id", *map(str, range(40))]))
    assert project.run() == 0
    assert "`extra` no longer arrives: in none of 40 rows, before in 50%" in project.out


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_key_that_is_written_otherwise_than_its_column(
    project: FileProject, select: Select, kind: str
) -> None:
    """Beside lists, and beside a column whose name is the key's: that one gets another."""
    types = {"types": {"Tags": "nested"}} if kind == "csv" else {}
    project.configure(f"data/*.{kind}", {"receipts": "all"}, primary_key="Order ID", **types)
    loads = [("x", "1", ["a"]), ("x", "2", ["b", "c"])], [("y", "1", ["d"])]
    for number, rows in enumerate(loads):
        file = project.write(f"data/{number}.{kind}", "")
        names = ["order_id", "Order ID", "Tags"]
        if kind == "parquet":
            pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows))))), file)
        else:
            with file.open("w", newline="") as text:
                lines = [(other, key, json.dumps(tags)) for other, key, tags in rows]
                csv.writer(text).writerows([names, *lines])
        assert project.run() == 0, project.out + project.err
        assert "delivered: " in project.out
    assert select("order_id, order_id_x103117") == [("1", "y"), ("2", "x")]
    tags, table = project.place.from_clause("t__tags"), project.place.from_clause("t")
    assert project.place.query(
        f"SELECT order_id, value FROM {tags} AS c JOIN {table} AS r "
        "ON c._dlt_parent_id = r._dlt_id ORDER BY 2"
    ) == [("2", "b"), ("2", "c"), ("1", "d")]


def test_tables_that_become_rows_keep_their_key(project: FileProject, select: Select) -> None:
    """Behind rows of another file, of other types than their columns, and refused."""
    project.configure("*.parquet", {"receipts": "all"}, primary_key="orderId")

    def load(name: str, **columns: Any) -> None:
        pq.write_table(pa.table(columns), project.write(name, ""))

    load("a.parquet", orderId=[1], n=[1], tags=[["a"]])
    load("b.parquet", orderId=[1, 2], n=[2, 3])
    assert project.run() == 0, project.out + project.err
    nanosecond = pa.array([1, 1000], pa.timestamp("ns"))
    load("c.parquet", orderId=[2, 3], n=["x", "y"])
    load("d.parquet", orderId=[4, 5], at=nanosecond)
    assert project.run() == 0, project.out + project.err
    assert "delivered: " in project.out
    assert select("order_id, n, n__v_text") == [
        (1, 2, None),
        (2, None, "x"),
        (3, None, "y"),
        (5, None, None),
    ]
    kept = project.place.query("SELECT document FROM shop._millstream_quarantine")
    assert [json.loads(document)["orderId"] for (document,) in kept] == [4]


@pytest.mark.parametrize("order", ["jcp", "pcj", "cpj"])
def test_a_key_has_one_column_in_files_of_all_kinds(
    project: FileProject, select: Select, order: str
) -> None:
    """Whichever comes first, as rows or as tables, in one load or in several."""
    keys = ("rowId", "createdAt", "n", "Größe", "a__b")

    def write(kind: str, number: int) -> None:
        row = dict(zip(keys, (number, kind, 1, kind, kind)))
        if kind == "j":
            project.write(f"data/{number}.jsonl", json.dumps(row) + "\n")
        elif kind == "c":  # the row behind one that waits goes another way than the first
            lines = f"{number},c,1,-,-\n{number + 1},c,x,-,-\n{number},c,2,c,c\n"
            project.write(f"data/{number}.csv", f"{','.join(keys)}\n{lines}")
        else:
            table = {**{key: [value] for key, value in row.items()}, "tags": [["a"]]}
            pq.write_table(pa.table(table), project.write(f"data/{number}.parquet", ""))

    types = {"rowId": "bigint", "n": "bigint"}
    project.configure("data/*", primary_key="rowId", types=types)
    for at, kind in enumerate(order):
        write(kind, 10 * (at + 1))
        assert project.run() == 0, project.out + project.err
    for at, kind in enumerate(order):
        write(kind, 100 * (at + 1))
    assert project.run() == 0, project.out + project.err
    expected = [(n * (at + 1), kind) for n in (10, 100) for at, kind in enumerate(order)]
    assert select("row_id, created_at") == expected
    columns = "FROM information_schema.columns WHERE table_schema = 'shop' AND table_name = 't'"
    names = [name for (name,) in project.place.query(f"SELECT column_name {columns} ORDER BY 1")]
    named = [name for name in names if not name.startswith("_")]
    assert len(named) == len(keys)
    others = sorted({*named} - {"row_id", "created_at", "n"})
    assert select(f"row_id, {', '.join(others)}") == [(n, kind, kind) for n, kind in expected]


def test_headers_that_are_written_in_several_ways(project: FileProject, select: Select) -> None:
    project.configure("*.csv", primary_key="id", types={"id": "bigint", "n": "bigint"})
    for at, header in enumerate(["order_date", "Order Date", "orderDate", "Order Date"]):
        lines = f"{at},a,1\n{at},a,x\n{at},b,2\n"
        project.write(f"{at}.csv", f"id,{header},n\n{lines}")
        if at == 2:
            project.load()
    assert project.load() == [0, 1, 2, 3]
    assert select("id, order_date, n") == [(at, "b", 2) for at in range(4)]


def test_json_takes_the_column_of_a_key_that_is_written_otherwise(
    project: FileProject, select: Select
) -> None:
    project.configure("data/*")
    project.write("data/a.csv", "id,order_date\n1,a\n")
    project.load()
    project.write("data/b.jsonl", '{"id": "2", "orderDate": "b"}\n')
    assert project.load() == ["1", "2"]
    assert select("id, order_date") == [("1", "a"), ("2", "b")]


def test_a_key_within_an_object_of_a_file(project: FileProject, select: Select) -> None:
    """Of JSON, then of Parquet, then of CSV: one key."""
    key, types = "Order.No", {"Order": "nested", "v": "bigint"}
    project.configure("*.jsonl", primary_key=key)
    project.write("a.jsonl", '{"Order": {"No": 1}, "v": 1}\n{"Order": {"No": 2}, "v": 1}\n')
    assert project.run() == 0, project.out + project.err
    project.configure("*.parquet", primary_key=key)
    table = pa.table({"Order": [{"No": 2}, {"No": 3}], "v": [2, 2]})
    pq.write_table(table, project.write("b.parquet", ""))
    assert project.run() == 0, project.out + project.err
    project.configure("*.csv", primary_key=key, types=types)
    project.write("c.csv", 'Order,v\n"{""No"": 3}",3\n')
    assert project.run() == 0, project.out + project.err
    assert select("order__no, v") == [(1, 1), (2, 2), (3, 3)]


def test_a_key_with_dots_is_a_column_of_a_csv_file(project: FileProject, select: Select) -> None:
    project.configure("data/*.csv", primary_key="order.id")
    for number, value in enumerate("ab"):
        project.write(f"data/{number}.csv", f"order.id,v\n1,{value}\n")
        assert project.run() == 0, project.out + project.err
    assert select("order_id, v") == [("1", "b")]
