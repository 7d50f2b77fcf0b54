from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import dagster as dg

from millstream.model import Column, RunReport, SchemaChange, SchemaVersion, Table, TableLoad
from millstream.orchestration.columns import table_schema
from millstream.orchestration.metadata import child_metadata, explain, stream_metadata

ISSUES = Table(
    "issues",
    columns=(
        Column("id", "bigint", nullable=False, primary_key=True),
        Column("score", "bigint", path="score"),
        Column("score__v_text", "text", variant_of="score"),
        Column("user__login", "text", path="user.login"),
        Column("price", "decimal", precision=38, scale=9),
        Column("_dlt_id", "text", nullable=False),
    ),
)
LABELS = Table(
    "issues__labels",
    "issues",
    (Column("name", "text"), Column("_dlt_parent_id", "text"), Column("_dlt_list_idx", "bigint")),
)
CHANGES = (
    SchemaChange(
        kind="variant_added",
        table="issues",
        column="score__v_text",
        old="bigint",
        new="text",
        severity="risky",
        message="`score`: bigint, now also text",
    ),
    SchemaChange(
        kind="table_added",
        table="issues__labels",
        new="table",
        severity="safe",
        message="new table `issues__labels`",
    ),
)


def report(**changed):
    return RunReport(
        **{
            "pipeline": "github",
            "stream": "issues",
            "destination": "duckdb",
            "dataset": "gh",
            "load_id": "1717171717.5",
            "started_at": datetime(2024, 6, 1, tzinfo=timezone.utc),
            "seconds": {"extract": 1.23456, "load": 2.0},
            "tables": (
                TableLoad("issues", None, 10, 110, 2048, "db.gh.issues"),
                TableLoad("issues__labels", "issues", 4, None, 99, "db.gh.issues__labels"),
            ),
            "changes": CHANGES,
            "schema": SchemaVersion((ISSUES, LABELS)),
            "engine_rows": {"dlt": 14},
            **changed,
        }
    )


def values(metadata):
    """The metadata as Dagster keeps it, which also proves that it takes all of it."""
    kept = dg.AssetMaterialization("x", metadata=metadata).metadata
    return {name: value.value for name, value in kept.items()}


def test_the_history_is_named():
    kept = values(stream_metadata(report(history="db.gh._millstream_schema_changes")))
    assert "`millstream schema log --stream issues`" in kept["schema_history"]
    assert "`db.gh._millstream_schema_changes`" in kept["schema_history"]
    assert "schema_history" not in values(stream_metadata(report()))


def test_a_stream_tells_rows_bytes_and_seconds_a_step():
    found = values(stream_metadata(report()))

    assert found["rows_loaded"] == 10
    assert found["dagster/row_count"] == 110
    assert found["bytes_loaded"] == 2048
    assert found["seconds_total"] == 3.235
    assert found["seconds_by_step"] == "extract 1.23, load 2.00"
    assert found["dagster/table_name"] == "db.gh.issues"
    assert found["load_id"] == "1717171717.5"
    assert found["rows_by_engine"] == {"dlt": 14}


def test_a_stream_shows_all_changes_and_a_child_table_its_own():
    stream = values(stream_metadata(report()))
    child = values(child_metadata(report(), report().tables[1]))

    assert [record.data for record in stream["schema_changes"].records] == [
        {
            "table": "issues",
            "column": "score__v_text",
            "change": "variant added",
            "before": "bigint",
            "now": "text",
            "severity": "risky",
            "meaning": "`score`: bigint, now also text",
        },
        {
            "table": "issues__labels",
            "column": "",
            "change": "table added",
            "before": "",
            "now": "table",
            "severity": "safe",
            "meaning": "new table `issues__labels`",
        },
    ]
    assert stream["schema_changes_count"] == 2
    assert [record.data["table"] for record in child["schema_changes"].records] == [
        "issues__labels"
    ]
    assert child["rows_loaded"] == 4
    assert "dagster/row_count" not in child  # a destination that can't count


def test_changes_come_first_on_the_page_of_an_asset():
    """Before the other metadata, and among the columns, which Dagster shows before all of it."""
    wide = replace(
        ISSUES,
        columns=(*ISSUES.columns[:3], *(Column(f"c{n}", "text") for n in range(104))),
    )
    metadata = stream_metadata(report(schema=SchemaVersion((wide, LABELS))))

    assert list(metadata)[:3] == [
        "schema_changes_explained", "schema_changes", "schema_changes_count",
    ]  # fmt: skip
    first, *others = metadata["dagster/column_schema"].columns
    assert first.name == "score__v_text"
    assert first.description.startswith("**This load:** `score`: bigint, now also text.")
    assert [column.name for column in others[:2]] == ["id", "score"]
    assert len(others) == 106


def test_what_became_of_an_object_is_told_at_its_first_column():
    columns = (Column("a", "text"), Column("user__id", "bigint"), Column("user__name", "text"))
    gone = replace(CHANGES[0], kind="column_gone", column="user", message="`user` is gone")
    first, *others = table_schema(Table("issues", None, columns), [gone]).columns
    assert (first.name, first.description) == ("user__id", "**This load:** `user` is gone.")
    assert [column.description for column in others] == [None, None]


def test_changes_are_explained_below_their_tables():
    assert explain(CHANGES) == (
        "**issues**\n\n- `score`: bigint, now also text (**risky**)\n\n"
        "**issues__labels**\n\n- new table `issues__labels`"
    )
    assert explain(()) == "No schema changes."


def test_a_run_without_rows_or_changes_is_readable():
    tables = (TableLoad("issues", None, 0, 110, 0, "db.gh.issues"),)

    found = values(stream_metadata(report(load_id=None, tables=tables, changes=(), seconds={})))

    assert found["rows_loaded"] == 0
    assert found["dagster/row_count"] == 110
    assert found["schema_changes_count"] == 0
    assert "schema_changes" not in found
    assert "schema_changes_explained" not in found
    assert found["seconds_total"] == 0
    assert "load_id" not in found


def test_a_stream_that_never_had_a_row_has_no_table_to_tell_of():
    found = values(stream_metadata(report(tables=(), changes=(), schema=SchemaVersion())))

    assert found["rows_loaded"] == 0
    assert "dagster/table_name" not in found
    assert "dagster/row_count" not in found


def test_warnings_are_listed():
    found = values(stream_metadata(report(warnings=("3 values were cut", "a page was empty"))))

    assert found["warnings"] == "- 3 values were cut\n- a page was empty\n"


def test_columns_tell_types_and_keys_and_what_the_load_added():
    schema = table_schema(ISSUES)
    columns = {column.name: column for column in schema.columns}

    assert columns["id"].constraints == dg.TableColumnConstraints(
        nullable=False, unique=True, other=["primary key"]
    )
    assert columns["price"].type == "decimal(38,9)"
    assert columns["score"].description is None
    assert columns["score__v_text"].description == "Values of `score` that are not bigint."
    assert columns["user__login"].description is None
    assert columns["_dlt_id"].description


def test_child_columns_name_their_parent():
    columns = {column.name: column for column in table_schema(LABELS).columns}

    assert "`issues`" in columns["_dlt_parent_id"].description


def test_a_key_of_several_columns_makes_none_of_them_unique():
    table = Table("t", columns=tuple(Column(n, "text", False, True) for n in ("a", "b")))

    schema = table_schema(table)

    assert not any(column.constraints.unique for column in schema.columns)
    assert schema.constraints.other == ["primary key (a, b)"]
