"""What must not be told: runs over data that changes in ways that are no news."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from behaviour.feed import FEED
from millstream.config import DltConfig, PipelineConfig
from millstream.errors import SchemaHeldError
from millstream.model import RunReport
from millstream.runs import pending_decisions, runner
from services.places import NAME, Place

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def feed() -> Iterator[None]:
    FEED.reset()
    yield
    FEED.reset()


def configured(place: Place, source: str = "behaviour.feed:orders", **more: Any) -> PipelineConfig:
    folder = place.project / "defs"
    folder.mkdir(exist_ok=True)
    return PipelineConfig(
        name=NAME,
        source=DltConfig(path=source),
        destination=place.destination,
        project=place.project,
        folder=folder,
        **more,
    )


def load(config: PipelineConfig, rows: list[Row]) -> RunReport:
    FEED.rows = rows
    return runner.run(config, "orders")


def told(report: RunReport) -> list[tuple[str, str | None, str]]:
    """What a run says of each change, and of each column unlike recent loads."""
    return [
        *((d.change.kind, d.change.column, d.action) for d in report.decisions),
        *(("jump", jump.column, jump.share) for jump in report.jumps),
    ]


def rows(first: int, change: Callable[[Row], Row] = dict) -> list[Row]:
    return [
        change(
            {"id": n, "email": f"u{n}@example.org", "tags": [f"t{n}"], "user": {"name": f"u{n}"}}
        )
        for n in range(first, first + 200)
    ]


def contact(row: Row) -> Row:
    return {"contact" if name == "email" else name: value for name, value in row.items()}


@pytest.mark.parametrize("first", ["the list", "the count"])
def test_a_key_with_two_underscores_is_no_object(duckdb_place: Place, first: str) -> None:
    """No row has both, so that only the JSON path tells."""
    some = [{"id": n, "tags": [f"t{n}"], "Region": "south"} for n in range(100)]
    others = [
        {"id": n, "tags__count": n, "Region__c": "N", "lists__of": [{"n": n}]}
        for n in range(100, 200)
    ]
    config = configured(duckdb_place)
    load(config, some if first == "the list" else others)
    report = load(config, [*some, *others])
    assert {d.change.kind for d in report.decisions} == {"column_added", "table_added"}
    assert told(load(config, [*some, *others])) == []

    with pytest.raises(SchemaHeldError, match="`region` was text, now it is also an object"):
        load(config, [{"id": 1, "Region": {"city": "N"}}])


@pytest.mark.nightly
def test_an_accepted_rename_is_settled(duckdb_place: Place) -> None:
    config = configured(duckdb_place)
    for first in (0, 100, 200):
        report = load(config, rows(first))
    assert told(report) == []
    with pytest.raises(SchemaHeldError, match="`email` is gone and `contact` came"):
        load(config, rows(250, contact))
    accepted = pending_decisions.accept(config, "orders")
    assert [change["kind"] for change in accepted] == ["column_added", "column_renamed"]
    assert pending_decisions.accept(config, "orders") == (), "nothing is pending any more"

    FEED.rows = rows(350, contact)
    report = runner.run(config, "orders")  # what was held, and what came since
    assert told(report) == [("column_renamed", "email", "allow")]
    assert [change.kind for change in report.changes] == ["column_added", "column_renamed"]
    for first in (400, 500):
        assert told(load(config, rows(first, contact))) == []


def test_a_rename_is_accepted_on_another_machine(duckdb_place: Place) -> None:
    """Its new name in the accepted schema is all that another machine knows."""
    config = configured(duckdb_place)
    for first in (0, 100):
        load(config, rows(first))
    with pytest.raises(SchemaHeldError):
        load(config, rows(150, contact))
    (held,) = pending_decisions.waiting(config, "orders")
    before = (config.folder / "schema.yaml").read_text()  # type: ignore[operator]
    pending_decisions.accept(config, "orders", changes=[str(held.changes[0]["id"])])
    assert (config.folder / "schema.yaml").read_text() == before, "the rename is not accepted"  # type: ignore[operator]
    pending_decisions.accept(config, "orders", changes=[str(held.changes[1]["id"])])
    pending_decisions.drop_pending(config, "orders")
    assert told(load(config, rows(150, contact))) == [("column_renamed", "email", "allow")]
    assert told(load(config, rows(300, contact))) == []


@pytest.mark.parametrize("form", ["rows", "arrow"])
@pytest.mark.nightly_on("arrow")
def test_deletions_say_nothing_of_fields(duckdb_place: Place, form: str) -> None:
    """Rows that dlt's `hard_delete` marks lack what the rows have that they take out."""
    hints = {"gone": {"data_type": "bool", "hard_delete": True}}
    source = DltConfig(path="behaviour.feed:versions", arguments={"hints": hints, "form": form})
    config = configured(duckdb_place).model_copy(update={"source": source})
    for first in (0, 100, 200):
        load(config, [{"id": n, "note": f"n{n}", "gone": None} for n in range(first, first + 200)])
    report = load(config, [{"id": n, "note": None, "gone": True} for n in range(100)])
    assert told(report) == []
    assert duckdb_place.count("orders") == 300
    some = [
        {"id": n, "note": f"m{n}" if n % 2 else None, "gone": True if n % 4 < 2 else None}
        for n in range(100, 300)
    ]
    report = load(config, some)
    assert told(report) == [
        ("null_share_changed", "note", "warn"),
        ("jump", "note", "null share"),
    ]
    assert report.jumps[0].message == "`note` is null in 50% of 100 rows, in 3 earlier loads in 0%"


def test_a_field_that_comes_back_is_told_once(duckdb_place: Place) -> None:
    config = configured(duckdb_place)
    for first in (0, 100, 200):
        load(config, rows(first))

    def without(row: Row) -> Row:
        return {name: value for name, value in row.items() if name != "email"}

    report = load(config, rows(300, without))
    assert told(report) == [
        ("column_gone", "email", "warn"),
        ("jump", "email", "presence"),
    ]
    for first in (400, 500):
        assert told(load(config, rows(first, without))) == []
    assert told(load(config, rows(600))) == [
        ("presence_changed", "email", "warn"),
        ("jump", "email", "presence"),
    ]
    for first in (700, 800):
        assert told(load(config, rows(first))) == []


def test_one_earlier_load_is_no_range(duckdb_place: Place) -> None:
    def few(row: Row) -> Row:
        return row if row["id"] % 2 else {**row, "email": None}

    config = configured(duckdb_place)
    load(config, rows(0))
    assert told(load(config, rows(100, few))) == []


def test_a_variant_of_a_first_load_is_mentioned(duckdb_place: Place) -> None:
    mixed = [{"id": n, "size": n if n % 4 else f"{n} kg"} for n in range(100)]
    report = load(configured(duckdb_place), mixed)
    assert [(d.change.message, d.action) for d in report.decisions] == [
        ("new table `orders`, 5 columns", "allow"),
        ("`size`: text, and bigint in 75% of rows (in column `size__v_bigint`)", "warn"),
    ]
    assert told(load(configured(duckdb_place), mixed)) == []
