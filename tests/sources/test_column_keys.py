"""Keys that share a name, in files of all kinds and over several loads: a column each, for good."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.places import Place
from sources.files_kit import FileProject

KINDS = ("jsonl", "csv", "parquet")
LONG = "How many words a key may have before a database has to cut its name, and "


@pytest.fixture
def project(duckdb_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> FileProject:
    return FileProject(tmp_path / "project", duckdb_place, capsys)


def write(project: FileProject, name: str, row: Mapping[str, Any]) -> None:
    """A file of the kind that its name says."""
    file = project.write(f"data/{name}", "")
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist([row]), file)
    elif name.endswith("csv"):
        with file.open("w", newline="") as text:
            csv.writer(text).writerows([row.keys(), row.values()])
    else:
        file.write_text(json.dumps(row) + "\n")


def load(project: FileProject, name: str, row: Mapping[str, Any]) -> None:
    write(project, name, row)
    assert project.run() == 0, project.out + project.err


def texts(project: FileProject) -> dict[str, dict[str, str]]:
    """By the primary key `pk`, the other texts of a row and the columns where they stand."""
    query = project.place.query
    columns = "FROM information_schema.columns WHERE table_schema = 'shop' AND table_name = 't'"
    names = [name for (name,) in query(f"SELECT column_name {columns}")]
    rows = query(f"SELECT {', '.join(names)} FROM {project.place.from_clause('t')}")
    return {
        row.pop("pk"): {
            value: name
            for name, value in row.items()
            if isinstance(value, str) and not name.startswith("_dlt_")
        }
        for row in (dict(zip(names, values)) for values in rows)
    }


@pytest.mark.not_on("bigquery", "filesystem", "delta", "iceberg")
@pytest.mark.parametrize("first", KINDS)
def test_no_value_is_lost_where_keys_share_a_name(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], first: str
) -> None:
    """The row behind one that is refused goes another way than that before it."""
    project = FileProject(tmp_path / "project", place, capsys)
    project.configure("data/*", primary_key="pk", types={"n": "bigint"})
    load(project, f"a.{first}", {"pk": "1", "ID": "ID1", "n": 1})
    for name in "bc":
        rows = "".join(
            f"{name}{n},id{n},ID{n},e{n},E{n},{'x' if n == 3 else n}\n" for n in (2, 3, 4)
        )
        project.write(f"data/{name}.csv", f"pk,id,ID,e_mail,eMail,n\n{rows}")
        assert project.run() == 0, project.out + project.err
    found = texts(project)
    expected = {
        f"{name}{n}": {f"{key}{n}" for key in ("id", "ID", "e", "E")}
        for name in "bc"
        for n in (2, 4)
    }
    assert {pk: {*row} for pk, row in found.items()} == {"1": {"ID1"}, **expected}
    assert project.run("--full-refresh") == 0, project.out + project.err
    assert texts(project) == found


@pytest.mark.not_on("bigquery", "filesystem", "delta", "iceberg")
def test_a_long_key_has_one_column(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of PostgreSQL have at most 63 bytes; of such keys the whole key tells them apart."""
    project = FileProject(tmp_path / "project", place, capsys)
    project.configure("data/*")
    for pk, kind in zip("123", KINDS):
        load(project, f"{pk}.{kind}", {"pk": pk, LONG + "one": "one", LONG + "two": "two"})
    one, two, three = texts(project).values()
    assert {*one} == {"one", "two"}
    assert one == two == three


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", ["csv", "parquet"])
def test_files_with_one_of_two_keys_that_share_a_name(
    project: FileProject, kind: str, other: str
) -> None:
    project.configure("data/*")
    load(project, f"1.{kind}", {"pk": "1", "Name": "a", "NAME": "b", "ID": "c", "id": "d"})
    write(project, f"2.{other}", {"pk": "2", "NAME": "b", "ID": "c"})
    load(project, f"3.{other}", {"pk": "3", "Name": "a", "id": "d"})
    found = texts(project)
    assert len({*found["1"].values()}) == 4
    assert {**found["2"], **found["3"]} == found["1"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", ["csv", "parquet"])
def test_a_key_keeps_its_column_when_another_of_its_name_comes(
    project: FileProject, kind: str, other: str
) -> None:
    project.configure("data/*")
    load(project, f"1.{kind}", {"pk": "1", "eMail": "a"})
    load(project, f"2.{other}", {"pk": "2", "e_mail": "b", "eMail": "a"})
    found = texts(project)
    assert found["2"]["a"] == found["1"]["a"] == "e_mail"
    assert found["2"].keys() == {"a", "b"}


def test_maps_of_files_of_several_kinds(project: FileProject) -> None:
    """What JSON calls `byTier` and a file of columns `by_tier` is one table."""
    project.configure("data/*", maps=["byTier"], types={"byTier": "nested"})
    project.write("data/1.jsonl", '{"pk": "1", "byTier": {"gold": {"x": 1}}}\n')
    project.write("data/2.csv", 'pk,byTier\n2,"{""silver"": {""x"": 2}}"\n')
    pq.write_table(
        pa.table({"pk": ["3"], "byTier": [{"iron": {"x": 3}}]}),
        project.write("data/3.parquet", ""),
    )
    items = pa.map_(pa.string(), pa.struct({"x": pa.int64()}))
    pq.write_table(
        pa.table({"pk": ["4"], "byTier": pa.array([[("tin", {"x": 4})]], items)}),
        project.write("data/4.parquet", ""),
    )
    for _ in range(2):
        assert project.run() == 0, project.out + project.err
        source = project.place.from_clause("t__by_tier")
        rows = project.place.query(f"SELECT key, x FROM {source} ORDER BY 2")
        assert rows == [("gold", 1), ("silver", 2), ("iron", 3), ("tin", 4)]
        tables = "FROM information_schema.tables WHERE table_name LIKE 't\\_\\_%' ESCAPE '\\'"
        assert project.place.query(f"SELECT table_name {tables}") == [("t__by_tier",)]
