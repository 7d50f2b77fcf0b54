"""Rows that would need too many tables or columns, or too long a name of a table."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.engine.schema_size import (
    LONGEST_NAME,
    TooDeepError,
    check_schema_size,
    check_table_names,
)
from millstream.errors import ConfigError, SchemaTooLargeError


@given(st.text(max_size=260))
@example("a" * LONGEST_NAME)
@example("a" * (LONGEST_NAME + 1))
@example("é" * (LONGEST_NAME // 2 + 1))
def test_names_of_files_hold_so_many_bytes(name: str) -> None:
    size = len(name.encode())
    if size <= 220:
        check_table_names([name], {})
        return
    with pytest.raises(TooDeepError) as raised:
        check_table_names([name], {})
    assert (raised.value.table, raised.value.size) == (name, size)
    check_table_names([name], {name: {}})


def test_the_error_survives_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(TooDeepError("orders", 300)))
    assert (error.table, error.size, str(error)) == (
        "orders",
        300,
        str(TooDeepError("orders", 300)),
    )


@pytest.mark.parametrize(("columns", "known", "fails"), [(5, 0, False), (6, 0, True), (3, 3, True)])
def test_columns_are_counted_with_those_of_the_table(
    monkeypatch: pytest.MonkeyPatch, columns: int, known: int, fails: bool
) -> None:
    monkeypatch.setenv("MILLSTREAM_MAX_COLUMNS", "5")
    new = {"orders": [f"tags__{n}" for n in range(columns)]}
    tables = {"orders": {"columns": {f"tags__known_{n}": {} for n in range(known)}}}
    if not fails:
        check_schema_size("orders", new, tables)
        return
    with pytest.raises(SchemaTooLargeError) as raised:
        check_schema_size("orders", new, tables)
    assert "more than 5 columns in table `orders`: the object `tags` has 6 keys" in str(
        raised.value
    )
    assert raised.value.hint is not None
    assert "`maps: {orders: [tags]}`" in raised.value.hint


def test_columns_that_are_there_are_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_MAX_COLUMNS", "5")
    names = [f"c{n}" for n in range(5)]
    check_schema_size("orders", {"orders": names}, {"orders": {"columns": dict.fromkeys(names)}})


def test_the_object_with_most_keys_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_MAX_TABLES", "4")
    new = {name: [] for name in ("orders", *(f"orders__by_day__d{n}__lines" for n in range(5)))}
    with pytest.raises(SchemaTooLargeError, match="the object `by_day` has 5 keys"):
        check_schema_size("orders", new, {})
    # tables of other streams do not count
    check_schema_size("orders", {"orders": []}, {f"other__{n}": {} for n in range(9)})


def test_columns_of_a_child_table_are_named_from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLSTREAM_MAX_COLUMNS", "2")
    new = {"orders__lines": ["prices__a", "prices__b", "prices__c"]}
    with pytest.raises(SchemaTooLargeError, match=r"the object `lines\.prices` has 3 keys"):
        check_schema_size("orders", new, {})


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "²"])
def test_a_limit_is_a_positive_integer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MILLSTREAM_MAX_TABLES", text)
    with pytest.raises(ConfigError, match=r"MILLSTREAM_MAX_TABLES: .* is not an integer >= 1"):
        check_schema_size("orders", {}, {})
