"""Renames and removals in files that change between two runs, as a run tells of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

import millstream
from millstream import PipelineConfig
from services.places import Place

Row = dict[str, Any]
ROWS = 600
NIGHTLY = pytest.mark.nightly


def rows(first: int, seed: int) -> list[Row]:
    """Rows `first` to `first + ROWS` in an order of their own; a row is the same in each load."""
    found = []
    for n in range(first, first + ROWS):
        dice = random.Random(n)
        found.append(
            {
                "id": n,
                "email": f"user{n}@example.org",
                "state": dice.choice(["open", "closed", "draft"]),
                "stars": dice.randint(0, 9),
                "price": round(dice.random() * 1000, 2),
                "count": dice.randint(1, 10**9),
                # too rare to be missed
                "user": {"login": f"u{n}", "kind": "User", "plan": {"seats": 5}, "roles": [f"r{n}"]}
                | ({"badge": "gold"} if n % 300 == 7 else {}),
                "labels": [{"name": f"label {n}", "color": "red"}] if n % 3 == 0 else [],
                "tags": [f"tag {n}"] if n % 2 else [],
            }
        )
    random.Random(seed).shuffle(found)
    return found


def run(place: Place, name: str, load: list[Row]) -> list[tuple[str, str, str | None, str | None]]:
    """What a run says of the data: kind, table, old and new name or share."""
    folder = place.project
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in load))
    config = PipelineConfig(
        name="shop",
        source={"type": "files", "streams": {"orders": {"path": "*.jsonl"}}},
        destination=place.destination,
        schema_policy="anything",
        project=folder,
        folder=folder,
    )
    report = millstream.run(config, "orders")
    return sorted(
        (decision.change.kind, decision.change.table, decision.change.column, decision.change.new)
        for decision in report.decisions
        if decision.change.kind in ("column_renamed", "column_gone")
    )


def renamed(old: str, new: str) -> Callable[[Row], Row]:
    return lambda row: {new if name == old else name: value for name, value in row.items()}


def label_color(row: Row) -> Row:
    return {**row, "labels": [{**renamed("name", "title")(label)} for label in row["labels"]]}


CASES: dict[str, tuple[Callable[[Row], Row], list[tuple[str, ...]]]] = {
    "nothing": (dict, []),
    "a column": (
        renamed("email", "contact"),
        [("column_renamed", "orders", "email", "contact")],
    ),
    "a column of a child table": (
        label_color,
        [("column_renamed", "orders__labels", "name", "title")],
    ),
    "an object": (renamed("user", "author"), [("column_renamed", "orders", "user", "author")]),
    "a list of objects": (
        renamed("labels", "marks"),
        [("column_renamed", "orders", "labels", "marks")],
    ),
    "a list of texts": (
        renamed("tags", "words"),
        [("column_renamed", "orders", "tags", "words")],
    ),
    "a column, its type too": (
        lambda row: {**renamed("count", "amount")(row), "amount": str(row["count"])},
        [("column_renamed", "orders", "count", "amount")],
    ),
    "two columns": (
        lambda row: renamed("price", "cost")(renamed("email", "contact")(row)),
        [
            ("column_renamed", "orders", "email", "contact"),
            ("column_renamed", "orders", "price", "cost"),
        ],
    ),
    "states are not guessed": (
        renamed("state", "phase"),
        [("column_gone", "orders", "state", "0%")],
    ),
    "small counts are not guessed": (
        renamed("stars", "forks"),
        [("column_gone", "orders", "stars", "0%")],
    ),
    "a column is gone": (
        lambda row: {name: value for name, value in row.items() if name != "email"},
        [("column_gone", "orders", "email", "0%")],
    ),
    "an object is gone": (
        lambda row: {name: value for name, value in row.items() if name != "user"},
        [("column_gone", "orders", "user", "0%")],
    ),
    "a list is gone": (
        lambda row: {name: value for name, value in row.items() if name != "labels"},
        [("column_gone", "orders", "labels", "0%")],
    ),
}


ELSEWHERE = ("a column", "a list of objects", "an object is gone")
"""What PostgreSQL is asked at each commit: the engine and the ledger are the same everywhere."""


def told(place: Place, case: str) -> None:
    change, expected = CASES[case]
    assert run(place, "1", rows(0, 1)) == []
    assert run(place, "2", rows(50, 2)) == []
    # in another order, with rows that are new and rows that are gone
    assert run(place, "3", [change(row) for row in rows(100, 3)]) == expected
    assert run(place, "4", [change(row) for row in rows(150, 4)]) == []


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=NIGHTLY if case in ELSEWHERE else ()) for case in CASES]
)
def test_what_changed_is_told_once(case: str, duckdb_place: Place) -> None:
    told(duckdb_place, case)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in ELSEWHERE else NIGHTLY) for case in CASES]
)
def test_postgres_tells_it_too(case: str, postgres_place: Place) -> None:
    told(postgres_place, case)


BACK = {
    "a column": ("email", "contact"),
    "an object": ("user", "author"),
    "a list of objects": ("labels", "marks"),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case == "a column" else NIGHTLY) for case in BACK]
)
@pytest.mark.parametrize(
    "kind",
    ["duckdb", *(pytest.param(k, marks=NIGHTLY) for k in ("postgres", "bigquery", "filesystem"))],
)
def test_an_old_name_that_comes_back_is_a_rename(
    kind: str, case: str, request: pytest.FixtureRequest
) -> None:
    place, (old, new) = request.getfixturevalue(f"{kind}_place"), BACK[case]
    change = renamed(old, new)
    assert run(place, "1", rows(0, 1)) == []
    assert run(place, "2", [change(row) for row in rows(50, 2)]) == [
        ("column_renamed", "orders", old, new)
    ]
    assert run(place, "3", [change(row) for row in rows(100, 3)]) == []
    assert run(place, "4", rows(150, 4)) == [("column_renamed", "orders", new, old)]
    assert run(place, "5", rows(200, 5)) == []


def test_a_field_that_was_there_beside_another_is_no_name_of_it(duckdb_place: Place) -> None:
    """Of the same values: one stops arriving as the other, which had stopped before, comes back."""

    def twins(first: int, seed: int, without: str) -> list[Row]:
        found = [{**row, "mail": row["email"]} for row in rows(first, seed)]
        return [{name: value for name, value in row.items() if name != without} for row in found]

    assert run(duckdb_place, "1", twins(0, 1, "")) == []
    gone = [("column_gone", "orders", "mail", "0%")]
    assert run(duckdb_place, "2", twins(50, 2, "mail")) == gone
    gone = [("column_gone", "orders", "email", "0%")]
    assert run(duckdb_place, "3", twins(100, 3, "email")) == gone


@pytest.mark.nightly
@pytest.mark.parametrize("case", ELSEWHERE)
@pytest.mark.parametrize("kind", ["bigquery", "filesystem"])
def test_others_tell_it_too(kind: str, case: str, request: pytest.FixtureRequest) -> None:
    told(request.getfixturevalue(f"{kind}_place"), case)
