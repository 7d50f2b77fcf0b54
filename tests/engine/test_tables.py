"""Whole tables: joined by their links, they give the nested rows back."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dlt_rules import ALL_LEVELS, ROOT, rules_of
from millstream.engine.coerce_values import coerce_table
from millstream.engine.flatten import flatten_rows
from millstream.engine.row_ids import random_ids
from millstream.engine.tables import add_ids, columns_of

numbers = st.integers(0, 9)
lines = st.fixed_dictionaries({}, optional={"y": numbers, "k": st.lists(numbers, max_size=3)})
rows_with_lists = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "n": st.none() | numbers | st.text("ab", max_size=2),
            "o": st.fixed_dictionaries({}, optional={"x": numbers, "t": st.lists(numbers)}),
            "l": st.lists(lines, max_size=3),
        },
    ),
    min_size=1,
    max_size=6,
)
RULES = rules_of(exact=True)
NAMES = RULES.names


def tables_of(rows: list[dict[str, Any]], *, propagate: bool) -> dict[str, list[dict[str, Any]]]:
    flat = flatten_rows(rows, ROOT, ALL_LEVELS, RULES, {})
    add_ids(flat, random_ids(len(rows), 10), 10)
    found = {}
    for table in flat:
        columns = columns_of(coerce_table(table, RULES), NAMES, "1.5", propagate=propagate)
        lists = {name: array.to_pylist() for name, array in columns.items()}
        assert {len(each) for each in lists.values()} == {table.size}
        found[table.name] = [dict(zip(lists, cells)) for cells in zip(*lists.values())]
    return found


def plain(row: Any) -> Any:
    """Without nulls and empty lists and objects, which tables do not tell from absent keys."""
    if isinstance(row, list):
        return [plain(each) for each in row]
    if not isinstance(row, dict):
        return row
    cleaned = {key: plain(value) for key, value in row.items()}
    return {key: value for key, value in cleaned.items() if value not in (None, [], {})}


@settings(max_examples=50)
@given(rows_with_lists)
def test_joined_tables_give_the_rows_back(rows: list[dict[str, Any]]) -> None:
    tables = tables_of(rows, propagate=False)

    def children(table: str, parent: dict[str, Any]) -> list[dict[str, Any]]:
        of_parent = [
            row for row in tables.get(table, []) if row["_dlt_parent_id"] == parent["_dlt_id"]
        ]
        of_parent.sort(key=lambda row: row["_dlt_list_idx"])
        assert [row["_dlt_list_idx"] for row in of_parent] == list(range(len(of_parent)))
        return of_parent

    found = []
    for row in tables[ROOT]:
        assert row["_dlt_load_id"] == "1.5"
        variants = [row.get("n"), row.get("n__v_text"), row.get("n__v_bigint")]
        found.append(
            {
                "n": next((value for value in variants if value is not None), None),
                "o": {
                    "x": row.get("o__x"),
                    "t": [each["value"] for each in children("items__o__t", row)],
                },
                "l": [
                    {
                        "y": line.get("y"),
                        "k": [each["value"] for each in children("items__l__k", line)],
                    }
                    for line in children("items__l", row)
                ],
            }
        )
    assert [plain(row) for row in found] == [plain(row) for row in rows]


@settings(max_examples=50)
@given(rows_with_lists)
def test_ids_are_unique_and_lead_to_the_root_row(rows: list[dict[str, Any]]) -> None:
    tables = tables_of(rows, propagate=True)
    everything = [row for table in tables.values() for row in table]
    by_id = {row["_dlt_id"]: row for row in everything}
    assert len(by_id) == len(everything)
    for row in everything:
        root = row
        while "_dlt_parent_id" in root:
            root = by_id[root["_dlt_parent_id"]]
        assert root in tables[ROOT]
        assert row.get("_dlt_root_id", root["_dlt_id"]) == root["_dlt_id"]


def test_each_table_has_the_links_that_its_kind_has() -> None:
    for propagate in (False, True):
        for name, rows in tables_of([{"l": [{"y": 1}]}], propagate=propagate).items():
            links = NAMES.of(root=name == ROOT, propagate=propagate)
            assert {*rows[0]} - {"y"} == {*links}
            assert {*links} <= NAMES.all()
