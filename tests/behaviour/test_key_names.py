"""No two keys of a stream share a column or a table, in any order and on any machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pytest
import yaml

from millstream.config import PipelineConfig, parse_pipeline
from millstream.runs.runner import run
from services import processes
from services.mongod import Mongod
from services.places import Place

FIRST = [
    {
        "id": 1,
        "名前": "Tanaka",
        "v": "v1",
        "__v": "w1",
        "createdAt": "c1",
        "1": "up1",
        "-1": "down1",
        "n": 1,
    },
    {
        "id": 2,
        "a": {"b": "in2"},
        "a__b": "out2",
        "tags": ["t2"],
        "Tags": ["T2"],
        "_dlt_id": "mine2",
    },
]
THEN = [
    {"id": 3, "住所": "Tokyo", "-1": "down3", "created_at": "exact3"},
    {"id": 4, "Tags": ["T4"], "a__b": "out4", "__v": "w4", "_dlt_id": "mine4", "n": 0.5},
]
LAST = [
    {"id": 5, "年齢": "31", "created_at": "exact5", "createdAt": "c5", "1": "up5"},
    {"id": 6, "a__b": "out6", "a": {"b": "in6"}, "Größe": "XL", "名前": "Sato"},
    {"id": 7, "n": 2, "n__v_double": 1.5},
]
COLUMNS = {
    "ming_qian": {1: "Tanaka", 6: "Sato"},
    "zhu_suo": {3: "Tokyo"},
    "nian_ling": {5: "31"},
    "grosse": {6: "XL"},
    "v": {1: "v1"},
    "_v": {1: "w1", 4: "w4"},
    "created_at": {1: "c1", 5: "c5"},
    "created_at_xfbc018": {3: "exact3", 5: "exact5"},
    "_1": {1: "up1", 5: "up5"},
    "_1_x7984b0": {1: "down1", 3: "down3"},
    "a__b": {2: "in2", 6: "in6"},
    "a_b": {2: "out2", 4: "out4", 6: "out6"},
    "n": {1: 1, 7: 2},
    "n__v_double": {4: 0.5},
    "n_v_double": {7: 1.5},
    "_dlt_id_x4a1ee0": {2: "mine2", 4: "mine4"},
}
LISTS = {"tags": {2: ["t2"]}, "tags_x848eed": {2: ["T2"], 4: ["T4"]}}


def millstream(place: Place, source: dict[str, Any], **more: Any) -> str:
    """`millstream run`, as if on a machine that never ran it before."""
    shutil.rmtree(place.project / "millstream-home", ignore_errors=True)
    attributes = {"name": "shop", "source": source, "destination": dict(place.destination)}
    defs = {"type": "millstream.Pipeline", "attributes": {**attributes, **more}}
    (place.project / "defs.yaml").write_text(yaml.safe_dump(defs))
    done = processes.millstream(place.project, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def write(place: Place, name: str, rows: Sequence[Any]) -> None:
    (place.project / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def check(place: Place, table: str, key: str = "id") -> None:
    ids = place.column(table, key, key)
    for column, expected in COLUMNS.items():
        found = dict(zip(ids, place.column(table, column, key)))
        assert {n: v for n, v in found.items() if v is not None} == expected, column
    for name, expected in LISTS.items():
        child, root = place.from_clause(f"{table}__{name}"), place.from_clause(table)
        rows = place.query(
            f"SELECT r.{key}, c.value FROM {child} c JOIN {root} r ON c._dlt_parent_id = r._dlt_id"
        )
        assert sorted(rows) == sorted((n, v) for n, vs in expected.items() for v in vs), name


@pytest.mark.nightly_on("bigquery", "duckdb", "filesystem")
@pytest.mark.nightly_on("postgres")
def test_files_keep_each_key_apart_over_loads(place: Place) -> None:
    source = {"type": "files", "streams": {"rows": {"path": "*.jsonl"}}}
    for number, rows in enumerate((FIRST, THEN, LAST)):
        write(place, f"{number}.jsonl", rows)
        millstream(place, source)
    check(place, "rows")


@pytest.fixture
def database(mongodb_server: Mongod, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("MONGODB_URI", mongodb_server.url())
    with mongodb_server.client() as client:
        name = f"test_{uuid4().hex[:8]}"
        yield client[name]
        client.drop_database(name)


def documents(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"_id" if key == "id" else key: value for key, value in row.items()} for row in rows]


@pytest.mark.nightly_on("bigquery", "filesystem", "duckdb")
@pytest.mark.nightly_on("postgres")
def test_mongodb_keeps_each_key_apart_over_loads(place: Place, database: Any) -> None:
    source = {"type": "mongodb", "databases": [database.name], "collections": ["rows", "shapes"]}
    mixed = [
        {"_id": n, "p": {"q": [f"p{n}"]} if n % 2 else [{"q": [f"q{n}a", f"q{n}b"]}]}
        for n in range(600)
    ]
    database.shapes.insert_many(mixed)
    database.rows.insert_many(documents(FIRST))
    millstream(place, source)
    database.rows.drop()
    database.rows.insert_many(documents([*LAST, *THEN, *FIRST]))
    millstream(place, source)

    if place.merges:  # files hold every version of a replaced table's rows
        check(place, "rows", "_id")
        table = {name: place.from_clause(f"shapes{name}") for name in ("", "__p", "__p__q")}
        own = place.query(
            f"SELECT r._id, c.value FROM {table['__p__q']} c "
            f"JOIN {table['']} r ON c._dlt_parent_id = r._dlt_id"
        )
        assert sorted(own) == [(n, f"p{n}") for n in range(1, 600, 2)]
        below = place.query(
            f"SELECT r._id, c.value FROM {table['__p__q']} c "
            f"JOIN {table['__p']} p ON c._dlt_parent_id = p._dlt_id "
            f"JOIN {table['']} r ON p._dlt_parent_id = r._dlt_id"
        )
        assert sorted(below) == [(n, f"q{n}{x}") for n in range(0, 600, 2) for x in "ab"]


BOXES = [
    {"xmin": n, "xmax": n + 0.5, "ctid": f"c{n}", "in": {"xmin": -n}, "parts": [{"cmin": n * 2}]}
    for n in range(1, 4)
]


def check_boxes(place: Place, key: str) -> None:
    table = place.from_clause("rows")
    columns = f"{key}, xmin_x2e15ed, xmax_xe011a3, ctid_x285c63, in__xmin"
    rows = place.query(f"SELECT {columns} FROM {table} ORDER BY {key}")
    assert rows == [(n, n, n + 0.5, f"c{n}", -n) for n in range(1, 4)]
    parts = place.query(
        f"SELECT r.{key}, c.cmin_x867c93 FROM {place.from_clause('rows__parts')} c "
        f"JOIN {table} r ON c._dlt_parent_id = r._dlt_id ORDER BY 1"
    )
    assert parts == [(n, n * 2) for n in range(1, 4)]


@pytest.mark.nightly_on("dlt")
@pytest.mark.parametrize("engine", ["", "dlt"])
@pytest.mark.parametrize("kind", ["files", "dlt", "mongodb"])
def test_system_columns_of_postgres_are_free(
    kind: str, engine: str, postgres_place: Place, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = postgres_place
    monkeypatch.setenv("MILLSTREAM_ENGINE", engine)
    rows: list[dict[str, Any]] = [{"id": n, **box} for n, box in enumerate(BOXES, 1)]
    source: dict[str, Any] = {"type": "files", "streams": {"rows": {"path": "*.jsonl"}}}
    if kind == "dlt":
        source = {"type": "dlt", "path": "boxes:rows"}
        read = (
            "[json.loads(line) for file in sorted(Path().glob('*.jsonl')) for line in open(file)]"
        )
        (place.project / "boxes.py").write_text(
            "import json\nfrom pathlib import Path\nimport dlt\n\n\ndef rows():\n"
            f"    return dlt.resource({read}, name='rows', write_disposition='replace')\n"
        )
    if kind == "mongodb":
        source = {"type": "mongodb", "databases": [database.name], "collections": ["rows"]}
    for number in (1, 3):
        write(place, f"{number}.jsonl", rows[number - 1 : number + 1])
        if kind == "mongodb":
            database.rows.insert_many(documents(rows[number - 1 : number + 1]))
        millstream(place, source)
    check_boxes(place, "_id" if kind == "mongodb" else "id")


@pytest.mark.parametrize("kind", ["arrow", pytest.param("declared", marks=pytest.mark.nightly)])
@pytest.mark.nightly_on("arrow")
def test_a_column_named_like_a_system_column_is_named(kind: str, postgres_place: Place) -> None:
    """Of Arrow tables and declared columns the source decides the names."""
    place = postgres_place

    def define(name: str) -> None:
        rows = f'pa.table({{"id": [1, 2], "{name}": ["a", "b"]}})'
        if kind == "declared":
            rows = f'[{{"id": 1, "{name}": "a"}}, {{"id": 2, "{name}": "b"}}]'
        columns = f'columns={{"{name}": {{"data_type": "text"}}}}' if kind == "declared" else ""
        (place.project / "system.py").write_text(
            f"import dlt, pyarrow as pa\n\n\n@dlt.resource({columns})\ndef boxes():\n"
            f"    yield {rows}\n"
        )
        defs = {
            "name": "shop",
            "source": {"type": "dlt", "path": "system:boxes"},
            "destination": dict(place.destination),
        }
        path = place.project / "defs.yaml"
        path.write_text(yaml.safe_dump({"type": "millstream.Pipeline", "attributes": defs}))

    define("xmin")
    done = processes.millstream(place.project, "run")
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "the destination has a system column `xmin` in every table" in said
    assert "rename the column `xmin` in the source" in said
    define("x_min")
    done = processes.millstream(place.project, "pending", "drop", "--stream", "boxes")
    assert done.returncode == 0, done.stdout + done.stderr
    done = processes.millstream(place.project, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.column("boxes", "x_min") == ["a", "b"]


def test_a_field_named_like_the_id_fields_keeps_its_value(
    duckdb_place: Place, database: Any
) -> None:
    ids = [{"k": 1}, "text"]
    database.ids.insert_many([{"_id": own, "_id_fields": {"mine": n}} for n, own in enumerate(ids)])
    source = {"type": "mongodb", "databases": [database.name], "collections": ["ids"]}
    millstream(duckdb_place, source)
    assert duckdb_place.column("ids", "_id_fields__k", "_id") == [None, 1]
    (name,) = duckdb_place.query(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'ids' "
        "AND starts_with(column_name, '_id_fields_x') AND ends_with(column_name, '__mine')"
    )[0]
    assert duckdb_place.column("ids", name, name) == [0, 1]


def test_names_that_a_stream_has_already_stay(
    duckdb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = duckdb_place
    config = parse_pipeline(
        {
            "name": "shop",
            "source": {"type": "files", "streams": {"rows": {"path": "*.jsonl"}}},
            "destination": dict(place.destination),
        },
        where="test",
        project=place.project,
    )
    old = {"id": 1, "__v": "w1", "a__b": "out1", "名前": "Tanaka", "tagList": ["t1"], "gone": "g1"}
    write(place, "1.jsonl", [old])
    with monkeypatch.context() as patch:  # as versions before this one named them
        patch.setattr(PipelineConfig, "names_keys", False)
        run(config, "rows")
    assert place.column("rows", "x") == ["Tanaka"]

    write(place, "2.jsonl", [{"id": 2, "v": "v2", "a": {"b": "in2"}, "年齢": "31"}])
    write(place, "3.jsonl", [{**old, "id": 3, "Gone": "G3", "gone": "g3"}])
    run(config, "rows")

    # what `v` held was of one key or of another: the first to come keeps it
    rows = dict(zip(place.column("rows", "id"), place.column("rows", "gone")))
    assert rows == {1: "g1", 2: None, 3: "g3"}
    assert place.column("rows__tag_list", "value", "value") == ["t1", "t1"]
    every = {
        name: dict(zip(place.column("rows", "id"), place.column("rows", name)))
        for (name,) in place.query(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = 'rows' AND NOT starts_with(column_name, '_dlt')"
        )
    }
    for number, values in {2: ["v2", "in2", "31"], 3: ["w1", "out1", "Tanaka", "G3", "g3"]}.items():
        homes = [[name for name, column in every.items() if column[number] == v] for v in values]
        assert all(len(home) == 1 for home in homes), homes
        assert len({home[0] for home in homes}) == len(values)
    write(place, "4.jsonl", [{"id": 4, "年齢": "32", "__v": "w4", "a": {"b": "in4"}}])
    run(config, "rows")
    for key, number, value in (("31", 2, "32"), ("w1", 3, "w4"), ("in2", 2, "in4")):
        home = next(name for name, column in every.items() if column[number] == key)
        assert place.column("rows", home)[3] == value, home


def test_a_primary_key_is_the_key_that_was_named(duckdb_place: Place) -> None:
    place = duckdb_place
    keys = ["編號", "userId"]
    source = {"type": "files", "streams": {"rows": {"path": "*.jsonl", "primary_key": keys}}}
    first = {"user_id": "other", "名前": "Tanaka", "userId": "u1", "編號": "n1"}
    write(place, "1.jsonl", [first])
    millstream(place, source)
    write(place, "2.jsonl", [{**first, "名前": "Sato"}, {**first, "編號": "n2"}])
    millstream(place, source)
    found = place.query(
        "SELECT bian_hao, user_id, ming_qian, user_id_xcace4a FROM shop.rows ORDER BY bian_hao"
    )
    assert found == [("n1", "u1", "Sato", "other"), ("n2", "u1", "Tanaka", "other")]


def test_a_key_keeps_its_column_where_another_is_written_alike(duckdb_place: Place) -> None:
    place = duckdb_place
    source = {"type": "files", "streams": {"rows": {"path": "*.jsonl", "primary_key": "m.id"}}}
    order = {"dedup_sort": {"rows": "m.at"}}
    write(place, "1.jsonl", [{"m": {"id": 1, "at": 2}, "v": "a"}])
    millstream(place, source, **order)
    write(place, "2.jsonl", [{"m": {"id": 2, "at": 2}, "m.id": 3, "m.at": 9, "v": "b"}])
    millstream(place, source, **order)
    write(
        place,
        "3.jsonl",
        [
            {"m": {"id": 1, "at": 3}, "m.at": 1, "v": "c"},
            {"m": {"id": 1, "at": 1}, "m.at": 3, "v": "d"},
        ],
    )
    millstream(place, source, **order)
    assert place.query("SELECT m__id, v FROM shop.rows ORDER BY 1") == [(1, "c"), (2, "b")]


@pytest.mark.nightly
def test_a_key_with_a_dot_keeps_its_column(duckdb_place: Place) -> None:
    place = duckdb_place
    rows = {"path": "*.jsonl"}
    write(place, "1.jsonl", [{"m.id": 1, "v": "a"}])
    millstream(place, {"type": "files", "streams": {"rows": rows}})
    keyed = {"type": "files", "streams": {"rows": {**rows, "primary_key": "m.id"}}}
    for number, value in ((2, "b"), (3, "c")):
        write(place, f"{number}.jsonl", [{"m.id": 1, "m": {"id": number}, "v": value}])
        millstream(place, keyed, schema_policy="anything")
    assert place.query("SELECT m_id, m__id, v FROM shop.rows") == [(1, 3, "c")]


@pytest.mark.nightly_on("bigquery", "filesystem", "delta", "iceberg", "postgres")
def test_a_key_in_an_object_stays_the_key(place: Place) -> None:
    """Runs without rows, and partitions, know a column of two names for what it is."""
    source = {"type": "files", "streams": {"rows": {"path": "*.jsonl", "primary_key": "m.id"}}}
    attributes = {"name": "shop", "source": source, "destination": dict(place.destination)}
    config = parse_pipeline(attributes, where="test", project=place.project)
    write(place, "1.jsonl", [{"m": {"id": 1}, "part": 1, "v": ["a"]}, {"m": {"id": 2}, "part": 1}])
    run(config, "rows")
    report = run(config, "rows")  # no file is new
    assert (report.rows, report.changes) == (0, ())
    if place.kind in ("filesystem", "delta", "iceberg"):  # where no partition is replaced
        return
    partitions = {"type": "static", "field": "part", "values": [1, 2]}
    parted = parse_pipeline(
        {**attributes, "partitions": partitions}, where="test", project=place.project
    )
    write(place, "2.jsonl", [{"m": {"id": 1}, "part": 2, "v": ["b"]}])
    run(parted, "rows", partition="2")
    table = place.from_clause("rows")
    assert place.query(f"SELECT m__id, part FROM {table} ORDER BY 1") == [(1, 2), (2, 1)]
    assert place.column("rows__v", "value", "value") == ["b"]
