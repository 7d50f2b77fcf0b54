"""Rows that can't be loaded are quarantined, and replayed once, in every destination."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from behaviour.conftest import configured, forget
from behaviour.feed import FEED
from millstream.config import DltConfig, PipelineConfig
from millstream.runs import load_packages, runner
from millstream.runs.stages import loading
from services.places import Place

FIRST = [{"id": n, "n": n, "lines": [{"price": n}]} for n in range(6)]
TABLE = "_millstream_quarantine"

NIGHTLY_DLT = pytest.param("dlt", marks=pytest.mark.nightly)


def shop(place: Place, contract: str = "discard_row", **more: Any) -> PipelineConfig:
    arguments = {"contract": contract, **more}
    return configured(place, DltConfig(path="behaviour.feed:guarded", arguments=arguments))


def last_words(place: Place) -> list[tuple[Any, ...]]:
    """What the destination says of each id."""
    found = place.query(
        "SELECT id, status, reason, json_path, document, attempts "
        f"FROM {place.from_clause(TABLE)} ORDER BY attempts"
    )
    return list({row[0]: row for row in found}.values())


def waiting(place: Place) -> list[tuple[Any, ...]]:
    return sorted((row[2:5] for row in last_words(place) if row[1] == "waiting"), key=str)


@pytest.mark.nightly_on("bigquery")
def test_put_aside_then_replayed_exactly_once(place: Place) -> None:
    if not place.merges:
        pytest.skip(f"{place.kind}: its files can't be asked for what waits")
    FEED.rows = FIRST
    runner.run(shop(place), "orders")
    FEED.rows = [
        {"id": 10, "n": 10, "lines": [{"price": 1}]},
        {"id": 11, "n": 11, "note": "new"},
        {"id": 12, "n": "twelve", "lines": [{"price": 2}, {"price": 3}]},
    ]
    report = runner.run(shop(place), "orders")
    assert report.rows == 1
    assert [(each.table, each.reason, each.rows) for each in report.quarantined] == [
        ("orders", "contract", 2)
    ]
    assert place.count("orders") == 7
    assert waiting(place) == [
        ("contract", "n", json.dumps(FEED.rows[2], separators=(",", ":"))),
        ("contract", "note", json.dumps(FEED.rows[1], separators=(",", ":"))),
    ]

    # the contract is as it was: they go on waiting
    again, _ = runner.replay(shop(place), "orders")
    assert (again.rows, again.replayed) == (0, {"waiting": 2})
    assert len(waiting(place)) == 2

    forget(place)
    asked = FEED.asked
    done, plan = runner.replay(shop(place, "evolve"), "orders")
    assert (done.rows, done.replayed, plan.left) == (2, {"replayed": 2}, [])
    assert FEED.asked == asked, "the source was read"
    assert place.column("orders", "id") == [0, 1, 2, 3, 4, 5, 10, 11, 12]
    assert place.count("orders__lines") == 9
    assert waiting(place) == []

    twice, _ = runner.replay(shop(place, "evolve"), "orders")
    assert (twice.rows, twice.replayed) == (0, {})
    FEED.rows = []
    runner.run(shop(place, "evolve"), "orders")
    assert place.count("orders") == 9
    assert FEED.asked == asked + 1, "the replay moved the cursor"


@pytest.mark.parametrize(
    "place", ["duckdb", pytest.param("postgres", marks=pytest.mark.nightly)], indirect=True
)
def test_values_beside_a_large_integer_are_replayed_as_they_were(place: Place) -> None:
    first = {"id": 1, "price": Decimal("1.5"), "made": datetime(2024, 1, 1), "raw": b"a", "d": 0.5}
    FEED.rows = [{**first, "sign": "x", "big": 2**64}]
    runner.run(shop(place), "orders")
    odd = {"price": Decimal("2.5"), "made": datetime(2025, 1, 1), "raw": b"b", "d": math.inf}
    FEED.rows = [{"id": 2, **odd, "sign": "\uf027", "big": 2**70, "note": "new"}]
    runner.run(shop(place), "orders")
    assert place.count("orders") == 1

    runner.replay(shop(place, "evolve"), "orders")
    table = place.from_clause("orders")
    ((price, made, raw, *rest),) = place.query(
        f"SELECT price, made, raw, d, sign, big, note FROM {table} WHERE id = 2"
    )
    assert (price, made.replace(tzinfo=None), bytes(raw)) == (odd["price"], odd["made"], b"b")
    assert rest == [math.inf, "\uf027", 2**70, "new"]


def test_a_row_that_can_not_be_written_waits_once(duckdb_place: Place) -> None:
    for n in range(2):
        FEED.rows = [{"id": 1, "n": n}, {"id": 2, "n": timedelta(1)}, {"id": 3, "n": timedelta(n)}]
        runner.run(configured(duckdb_place), "orders")
    assert duckdb_place.column("orders", "n") == [1]
    assert len(last_words(duckdb_place)) == 3


class Killed(BaseException):
    """What a signal looks like from within: nothing that a run could catch."""


@pytest.mark.nightly_on("bigquery")
@pytest.mark.parametrize("moment", ["before the load", "after the load"])
@pytest.mark.nightly_on("postgres")
def test_a_replay_that_dies_loads_each_row_once(
    place: Place, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not place.merges:
        pytest.skip(f"{place.kind}: its files can't be asked for what waits")
    FEED.rows = FIRST
    runner.run(shop(place), "orders")
    FEED.rows = [{"id": 11, "n": 11, "note": "new"}, {"id": 12, "n": 12}]
    runner.run(shop(place), "orders")
    FEED.rows = []

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if moment == "before the load":
            patch.setattr(loading, "_send", die)
        else:
            patch.setattr(load_packages, "forget", die)
        with pytest.raises(Killed):
            runner.replay(shop(place, "evolve"), "orders")

    # as the command line does, which asks the destination what waits before it replays that
    ids = {row[0] for row in last_words(place) if row[1] == "waiting"}
    assert len(ids) == (moment == "before the load")
    done, plan = runner.replay(shop(place, "evolve"), "orders", ids=ids)
    assert plan.left == []
    # whoever comes next finishes what was extracted; what was loaded is known to be
    assert done.replayed == ({"replayed": 1} if moment == "before the load" else {})
    assert place.column("orders", "id") == [0, 1, 2, 3, 4, 5, 11, 12]
    assert waiting(place) == []


@pytest.mark.parametrize("engine", ["millstream", NIGHTLY_DLT])
def test_a_discarded_value_is_kept_and_comes_back_by_the_key(
    duckdb_place: Place, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLSTREAM_ENGINE", engine)
    place = duckdb_place
    FEED.rows = FIRST
    runner.run(shop(place, "discard_value", write_disposition="merge", key="id"), "orders")
    FEED.rows = [{"id": 3, "n": "three", "lines": [{"price": 7, "tax": 1}]}, {"id": 9, "n": 9}]
    report = runner.run(shop(place, "discard_value", write_disposition="merge", key="id"), "orders")
    assert report.quarantined[0].rows == 1
    assert report.rows == 2, "the rest of the row is loaded"
    assert place.query(f"SELECT partial, problems FROM {place.from_clause(TABLE)}") == [(True, 2)]
    done, _ = runner.replay(shop(place, "evolve", write_disposition="merge", key="id"), "orders")
    assert done.replayed == {"replayed": 1}
    assert place.query("SELECT n__v_text FROM shop.orders WHERE id = 3") == [("three",)]
    assert place.query("SELECT price, tax FROM shop.orders__lines WHERE tax = 1") == [(7, 1)]
    assert place.count("orders") == 7


def test_an_appended_row_is_never_doubled_for_a_value(duckdb_place: Place) -> None:
    FEED.rows = FIRST
    runner.run(shop(duckdb_place, "discard_value"), "orders")
    FEED.rows = [{"id": 7, "n": "seven"}, {"id": 8, "n": 8}]
    runner.run(shop(duckdb_place, "discard_value"), "orders")
    report, plan = runner.replay(shop(duckdb_place, "evolve"), "orders")
    assert report.replayed == {}
    assert "would be doubled" in plan.left[0][1]
    assert duckdb_place.count("orders") == 8


def test_a_newer_version_is_not_overwritten(duckdb_place: Place) -> None:
    def config(contract: str) -> PipelineConfig:
        return shop(duckdb_place, contract, write_disposition="merge", key="id")

    FEED.rows = FIRST
    runner.run(config("discard_row"), "orders")
    for n in ("older", "newer"):
        FEED.rows = [{"id": 1, "n": n}, {"id": 2, "n": n}, {"id": 3, "n": 3}, {"id": 4, "n": 4}]
        runner.run(config("discard_row"), "orders")
    FEED.rows = [{"id": 1, "n": 100}]
    runner.run(config("discard_row"), "orders")
    report, _ = runner.replay(config("evolve"), "orders")
    assert report.replayed == {"replayed": 1, "superseded": 3}
    assert duckdb_place.query("SELECT n FROM shop.orders WHERE id = 1") == [(100,)]
    assert duckdb_place.query("SELECT n__v_text FROM shop.orders WHERE id = 2") == [("newer",)]


def test_a_version_is_as_old_as_when_it_was_read(duckdb_place: Place) -> None:
    """Not as the replay that loaded it: a newer one may be replayed after it."""
    hints = {"write_disposition": "merge", "key": "id"}
    FEED.rows = FIRST
    runner.run(shop(duckdb_place, **hints), "orders")
    for n in ("older", "newer"):
        FEED.rows = [{"id": 7, "n": n}, {"id": 8, "n": 8}]
        runner.run(shop(duckdb_place, **hints), "orders")
    newer, older = (row[0] for row in sorted(last_words(duckdb_place), key=lambda row: row[4]))
    for entry, text in [(older, "older"), (newer, "newer")]:
        runner.replay(shop(duckdb_place, "evolve", **hints), "orders", ids=[entry])
        assert duckdb_place.query("SELECT n__v_text FROM shop.orders WHERE id = 7") == [(text,)]


def test_a_row_that_was_deleted_since_is_not_replayed(duckdb_place: Place) -> None:
    gone = {"gone": {"data_type": "bool", "hard_delete": True}}
    hints = {"write_disposition": "merge", "key": "id", "columns": gone}
    FEED.rows = FIRST
    runner.run(shop(duckdb_place, **hints), "orders")
    FEED.rows = [{"id": 1, "n": "one"}, {"id": 7, "n": "seven"}, {"id": 8, "n": 8}]
    runner.run(shop(duckdb_place, **hints), "orders")
    FEED.rows = [{"id": 7, "gone": True}]
    runner.run(shop(duckdb_place, **hints), "orders")
    report, plan = runner.replay(shop(duckdb_place, "evolve", **hints), "orders")
    assert report.replayed == {"replayed": 1}
    ((entry, why),) = plan.left
    assert why.startswith("later loads may have deleted it")
    assert duckdb_place.column("orders", "id") == [0, 1, 2, 3, 4, 5, 8]
    row = '{"id": 7, "n": 7}'  # whoever writes it down knows that it is there
    runner.replay(shop(duckdb_place, "evolve", **hints), "orders", ids=[entry.id], corrected=row)
    assert duckdb_place.column("orders", "id") == [0, 1, 2, 3, 4, 5, 7, 8]


@pytest.mark.parametrize("engine", ["millstream", NIGHTLY_DLT])
def test_of_one_load_the_version_read_last_stays(
    duckdb_place: Place, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it lands at once, or is replayed."""
    monkeypatch.setenv("MILLSTREAM_ENGINE", engine)

    def config(contract: str) -> PipelineConfig:
        return shop(duckdb_place, contract, write_disposition="merge", key="id")

    FEED.rows = FIRST
    runner.run(config("discard_row"), "orders")
    FEED.rows = [
        {"id": 1, "n": "bad first"}, {"id": 2, "n": 20}, {"id": 3, "n": "bad"}, {"id": 3, "n": 30},
        {"id": 1, "n": 10}, {"id": 2, "n": "bad last"}, {"id": 3, "n": "bad last"},
        *({"id": number, "n": 0} for number in range(4, 900)),
    ]  # fmt: skip
    report = runner.run(config("discard_row"), "orders")
    assert [each.rows for each in report.quarantined] == [2]
    assert duckdb_place.column("orders", "n")[1:4] == [10, 20, 30]
    report, plan = runner.replay(config("evolve"), "orders")
    assert (report.replayed, plan.left) == ({"replayed": 2}, [])
    assert duckdb_place.column("orders", "n")[1:4] == [10, None, None]
    assert duckdb_place.column("orders", "n__v_text")[1:4] == [None, "bad last", "bad last"]


@pytest.mark.parametrize("disposition", ["append", "replace"])
def test_what_was_read_again_is_not_replayed(duckdb_place: Place, disposition: str) -> None:
    config = shop(duckdb_place, write_disposition=disposition)
    FEED.rows = FIRST
    runner.run(config, "orders")
    FEED.rows = [*FIRST, {"id": 7, "n": "seven"}]
    runner.run(config, "orders")
    runner.run(config, "orders", full_refresh=disposition == "append")
    rows = duckdb_place.count("orders")
    open_ = shop(duckdb_place, "evolve", write_disposition=disposition)
    report, _ = runner.replay(open_, "orders")
    assert report.replayed == {"replayed": 1, "superseded": 1}
    assert duckdb_place.count("orders") == rows + 1, "a replay replaces nothing"
