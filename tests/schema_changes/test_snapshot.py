from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest

from millstream.model import Column, ColumnProfile, SchemaVersion
from millstream.schema_changes import diff, snapshot

ROWS = [
    {
        "id": 1,
        "n": 1,
        "Labels": [{"name": "a", "tags": [1, 2]}],
        "user": {"login": "x", "emails": [{"at": "x@y"}]},
        "never": None,
        "price": "1",
    }
]


def normalized(folder: Path, *pages: list[dict[str, Any]], **hints: Any) -> Iterator[dlt.Schema]:
    """The schema after dlt's own extract and normalize of each page."""
    pipeline = dlt.pipeline(
        "snap", destination="duckdb", pipelines_dir=str(folder), dataset_name="d"
    )
    for page in pages:
        pipeline.extract(dlt.resource(page, name="issues", **hints))
        pipeline.normalize()
        yield pipeline.default_schema


@pytest.fixture
def schema(tmp_path: Path) -> dlt.Schema:
    (schema,) = normalized(
        tmp_path,
        ROWS,
        primary_key="id",
        write_disposition="merge",
        columns={"price": {"data_type": "decimal", "precision": 10, "scale": 2}},
    )
    return schema


def test_tables_parents_and_paths(schema: dlt.Schema) -> None:
    version = snapshot(schema)
    assert [(table.name, table.parent) for table in version.tables] == [
        ("issues", None),
        ("issues__labels", "issues"),
        ("issues__labels__tags", "issues__labels"),
        ("issues__user__emails", "issues"),
    ]
    paths = {f"{t.name}.{c.name}": c.path for t in version.tables for c in t.columns}
    assert paths["issues.user__login"] == "user.login"
    assert paths["issues__labels.name"] == "labels[].name"
    assert paths["issues__labels__tags.value"] == "labels[].tags[]"
    assert paths["issues__user__emails.at"] == "user.emails[].at"
    assert paths["issues._dlt_id"] == paths["issues__labels._dlt_parent_id"] == ""


def test_columns(schema: dlt.Schema) -> None:
    column = snapshot(schema).table["issues"].column
    assert column["id"] == Column("id", "bigint", nullable=False, primary_key=True)
    assert column["price"] == Column("price", "decimal", precision=10, scale=2)
    assert "never" not in column, "a column that was only null has no type yet"


def test_a_variant_names_its_column(tmp_path: Path) -> None:
    *_, schema = normalized(tmp_path, ROWS, [{"id": 2, "n": "two"}])
    assert snapshot(schema).table["issues"].column["n__v_text"] == Column(
        "n__v_text", "text", variant_of="n"
    )


def test_a_cursor_is_known(tmp_path: Path) -> None:
    (schema,) = normalized(tmp_path, ROWS, incremental=dlt.sources.incremental("id"))
    assert snapshot(schema).table["issues"].column["id"].cursor


def test_the_schema_is_neither_touched_nor_referred_to(schema: dlt.Schema) -> None:
    before = copy.deepcopy(schema.to_dict())
    version = snapshot(schema)
    assert schema.to_dict() == before
    kept = copy.deepcopy(version)
    schema.tables["issues"]["columns"].pop("n")
    schema.tables.pop("issues__labels")
    assert version == kept
    assert diff(version, snapshot(schema)) != ()


def test_a_table_that_only_looks_like_a_child_is_none(tmp_path: Path) -> None:
    pipeline = dlt.pipeline("p", destination="duckdb", pipelines_dir=str(tmp_path))
    pipeline.extract(
        [
            dlt.resource([{"id": 1, "lines": [{"x": 1}]}], name="orders"),
            dlt.resource([{"id": 1}], name="orders__archive"),
        ]
    )
    pipeline.normalize()
    version = snapshot(pipeline.default_schema)
    assert {table.name: table.parent for table in version.tables} == {
        "orders": None,
        "orders__lines": "orders",
        "orders__archive": None,
    }
    one = snapshot(pipeline.default_schema, resource="orders")
    assert [table.name for table in one.tables] == ["orders", "orders__lines"]


def test_a_profile_lands_in_its_columns(schema: dlt.Schema) -> None:
    seen = ColumnProfile(rows=10, present=8, nulls=3)
    column = snapshot(schema, {"issues": {"n": seen}}).table["issues"].column
    assert column["n"].profile == seen
    assert column["id"].profile is None
    assert (seen.presence, seen.null_share) == (0.8, 0.3)


def test_other_naming_conventions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEMA__NAMING", "sql_cs_v1")
    (schema,) = normalized(tmp_path, ROWS)
    version = snapshot(schema)
    assert version.table["issues__Labels"].parent == "issues"
    assert version.table["issues__Labels"].column["name"].path == "Labels[].name"


def test_an_empty_schema_is_an_empty_version() -> None:
    assert snapshot(dlt.Schema("empty")) == SchemaVersion()


def test_what_two_loads_change_is_told(tmp_path: Path) -> None:
    before, after = (
        snapshot(schema)
        for schema in normalized(
            tmp_path, ROWS, [{"id": 2, "n": "two", "user": "gone", "milestones": [{"t": 1}]}]
        )
    )
    assert [change.message for change in diff(before, after)] == [
        "`n`: bigint, now also text (in column `n__v_text`)",
        "new column `user` (text)",
        "`user` was an object, now it is also text",
        "new table `issues__milestones` below `issues`, 4 columns",
    ]
