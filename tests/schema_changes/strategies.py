"""Hypothesis strategies for schema versions, and help to build them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import strategies as st

from millstream.model import Column, ColumnProfile, SchemaVersion, Table
from millstream.schema_changes.yaml_column import DATA_TYPES

# few names, so that two versions share most of them; the last ones are YAML's own words
NAMES = ("id", "n", "user", "user__login", "user__plan__name", "labels", "no", "null", "Ünï: #x")
TABLES = ("issues", "issues__labels", "issues__user", "issues__labels__tags", "on", "a b")


def with_profile(
    version: SchemaVersion, profile: Mapping[str, Mapping[str, ColumnProfile]]
) -> SchemaVersion:
    return SchemaVersion(
        tuple(
            replace(
                table,
                columns=tuple(
                    replace(column, profile=profile.get(table.name, {}).get(column.name))
                    for column in table.columns
                ),
            )
            for table in version.tables
        )
    )


_COLUMNS = [
    Column(name, data_type, **traits)
    for name in NAMES
    for data_type in ("text", "bigint", "decimal")
    for traits in (
        {},
        {"nullable": False},
        {"nullable": False, "primary_key": True},
        {"merge_key": True, "cursor": True},
        {"precision": 38, "scale": 9},
        {"scale": -2, "timezone": False},
        {"precision": 0, "timezone": True},
    )
] + [
    Column(f"{name}__v_{data_type}", data_type, variant_of=name, nullable=nullable)
    for name in NAMES
    for data_type in DATA_TYPES
    for nullable in (True, False)
]


@st.composite
def versions(draw: st.DrawFn, *, profiled: bool = False) -> SchemaVersion:
    """Up to four tables of up to six columns; sampled, since drawing each trait takes seconds."""
    tables: list[Table] = []
    for name in draw(st.lists(st.sampled_from(TABLES), unique=True, max_size=4)):
        columns = draw(
            st.lists(st.sampled_from(_COLUMNS), unique_by=lambda column: column.name, max_size=6)
        )
        if profiled:
            columns = [replace(column, profile=draw(st.none() | profiles())) for column in columns]
        parent = draw(st.sampled_from([None, *(table.name for table in tables)]))
        tables.append(Table(name, parent, tuple(columns)))
    return SchemaVersion(tuple(tables))


@st.composite
def profiles(draw: st.DrawFn) -> ColumnProfile:
    rows = draw(st.sampled_from((0, 1, 5, 100, 10_000)))
    present = draw(st.integers(0, rows))
    first = draw(st.integers(0, 12))
    return ColumnProfile(
        rows=rows, present=present, nulls=rows - present, sketch=tuple(range(first, 20))
    )
