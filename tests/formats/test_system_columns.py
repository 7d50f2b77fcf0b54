"""Names that destinations keep to themselves become other names, and no two the same."""

from __future__ import annotations

from hashlib import sha1

import pytest
from dlt.common.normalizers.naming.snake_case import NamingConvention
from hypothesis import given
from hypothesis import strategies as st

from millstream.formats.system_columns import free_column, has_any

DIALECTS = ("duckdb", "postgres", "redshift", "bigquery", "snowflake", None)
REFUSED = {
    "postgres": ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"],
    "redshift": ["oid", "xmin"],
    "bigquery": ["_table_x", "_FILE_name", "_partitiontime", "__root__a", "_change_type"],
}
names = st.text("abx_", min_size=1, max_size=8) | st.sampled_from(
    [name for refused in REFUSED.values() for name in refused]
)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(one=names, another=names)
def test_names_stay_apart_and_free(dialect: str | None, one: str, another: str) -> None:
    free = free_column(one, dialect)
    assert free_column(free, dialect) == free
    assert (free == free_column(another, dialect)) == (one == another)
    if not has_any(dialect):
        assert free == one


@pytest.mark.parametrize("dialect", REFUSED)
def test_refused_names_get_a_digest_of_themselves(dialect: str) -> None:
    for name in REFUSED[dialect]:
        free = free_column(name, dialect)
        assert free.endswith(f"{name}_x{sha1(name.encode()).hexdigest()[:6]}")
        assert not free.startswith("_")
        if name == name.lower():  # dlt writes the name as it is
            assert NamingConvention().normalize_path(free) == free


@pytest.mark.parametrize("dialect", REFUSED)
@pytest.mark.parametrize("name", ["id", "box__xmin", "xminimum", "partition_date", "_id"])
def test_all_other_names_are_free(dialect: str, name: str) -> None:
    assert free_column(name, dialect) == name
