"""Partitions of one stream, in any order, side by side and again: each row there once."""

from __future__ import annotations

import json
import os
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from behaviour.conftest import configured
from behaviour.feed import FEED
from millstream.cli import main
from millstream.config import DltConfig, PipelineConfig
from millstream.errors import ConfigError
from millstream.model import RunReport
from millstream.runs import status
from millstream.runs.runner import replay, run
from services.places import Place
from services.processes import python_code

PARTS = 100 if os.environ.get("MILLSTREAM_NIGHTLY") else 8

DAYS = {"type": "time", "every": "day", "start": "2024-01-01", "cursor": "at"}


BOTH = ["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Place:
    """DuckDB; of tests whose subject is what the destination does, PostgreSQL too."""
    made: Place = request.getfixturevalue(f"{getattr(request, 'param', 'duckdb')}_place")
    return made


def order(number: int, day: int, *books: str, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "at": f"2024-01-{day:02}T12:00:00Z",
        "books": [{"title": title, "pages": [{"n": 1}]} for title in books],
        **more,
    }


def parted(place: Place, path: str = "behaviour.feed:orders", **partitions: Any) -> PipelineConfig:
    disposition = partitions.pop("disposition", None)
    arguments = partitions.pop("source_arguments", {})
    source = DltConfig(
        path=path,
        arguments={"write_disposition": disposition} if disposition else arguments,
        streams=["orders"],
    )
    return configured(place, source).model_copy(
        update={
            "partitions": PipelineConfig.model_validate(
                {"name": "x", "source": source, "partitions": partitions or DAYS}
            ).partitions
        }
    )


def load(config: PipelineConfig, key: str, *rows: dict[str, Any]) -> RunReport:
    FEED.rows = list(rows)
    return run(config, "orders", partition=key)


def orders(place: Place) -> list[tuple[Any, ...]]:
    return place.query(
        f"SELECT id, _millstream_partition FROM {place.from_clause('orders')} ORDER BY 1, 2"
    )


def titles(place: Place) -> list[tuple[Any, ...]]:
    """Child and grandchild rows, each with the id of its order; no orphans among them."""
    root, books, pages = map(place.from_clause, ("orders", "orders__books", "orders__books__pages"))
    joined = (
        f"FROM {pages} AS p JOIN {books} AS b ON p._dlt_parent_id = b._dlt_id "
        f"JOIN {root} AS o ON b._dlt_parent_id = o._dlt_id"
    )
    found = place.query(f"SELECT o.id, b.title {joined} ORDER BY 1, 2")
    assert place.count("orders__books") == place.count("orders__books__pages") == len(found)
    return found


@pytest.mark.parametrize("place", BOTH, indirect=True)
@pytest.mark.parametrize("disposition", ["merge", "append"])
@pytest.mark.nightly_on("postgres")
def test_a_partition_replaces_its_own_rows_alone(place: Place, disposition: str) -> None:
    config = parted(place, **DAYS, disposition=disposition)
    everything = [order(1, 1, "a", "b"), order(2, 1), order(3, 2, "c")]

    first = load(config, "2024-01-01", *everything)
    load(config, "2024-01-02", *everything)

    assert (first.rows, first.partition) == (2, "2024-01-01")
    assert orders(place) == [(1, "2024-01-01"), (2, "2024-01-01"), (3, "2024-01-02")]
    assert titles(place) == [(1, "a"), (1, "b"), (3, "c")]

    # again: one row is gone, one has other children, one is new
    load(config, "2024-01-01", order(1, 1, "d"), order(4, 1))

    assert orders(place) == [(1, "2024-01-01"), (3, "2024-01-02"), (4, "2024-01-01")]
    assert titles(place) == [(1, "d"), (3, "c")]

    # and again: nothing is left of it
    report = load(config, "2024-01-01", order(3, 2, "c"))

    assert report.rows == 0
    assert report.warnings == ("the partition is empty now: 2 rows were deleted",)
    assert orders(place) == [(3, "2024-01-02")]
    assert titles(place) == [(3, "c")]


def test_a_partition_that_is_empty_before_there_is_a_table(place: Place) -> None:
    config = parted(place, **DAYS, disposition="append")
    assert load(config, "2024-01-03").rows == 0
    load(config, "2024-01-01", order(1, 1))
    assert orders(place) == [(1, "2024-01-01")]


@pytest.mark.parametrize("place", BOTH, indirect=True)
def test_a_row_that_moves_is_there_once(place: Place) -> None:
    config = parted(place)
    load(config, "2024-01-01", order(1, 1, "a"), order(2, 1))
    load(config, "2024-01-02", order(1, 2, "a", "b"))
    assert orders(place) == [(1, "2024-01-02"), (2, "2024-01-01")]
    assert titles(place) == [(1, "a"), (1, "b")]

    load(config, "2024-01-01", order(2, 1))  # the row is another partition's by now

    assert orders(place) == [(1, "2024-01-02"), (2, "2024-01-01")]


def test_partitions_share_one_schema(place: Place) -> None:
    config = parted(place)
    load(config, "2024-01-01", order(1, 1, n=1))
    load(config, "2024-01-02", order(2, 2, n="one"))
    report = load(config, "2024-01-03", order(3, 3, n="two", new=True))

    # the type of the first partition holds, as in loads without partitions
    assert place.query(
        f"SELECT id, n, n__v_text FROM {place.from_clause('orders')} ORDER BY 1"
    ) == [
        (1, 1, None),
        (2, None, "one"),
        (3, None, "two"),
    ]
    assert [(c.kind, c.column) for c in report.changes] == [("column_added", "new")]


def test_rows_by_a_key(place: Place) -> None:
    config = parted(place, type="static", field="shop.region", values=["eu", 7])
    rows = [order(n, 1, shop={"region": region}) for n, region in enumerate(["eu", "us", 7, "eu"])]
    load(config, "7", *rows)
    load(config, "eu", *rows)
    assert orders(place) == [(0, "eu"), (2, "7"), (3, "eu")]


@pytest.mark.nightly
def test_static_keys_are_compared_each_with_itself(place: Place) -> None:
    """What rows of another key have is not missed here, and shares are their own."""
    config = parted(place, type="static", field="region", values=["eu", "us"])
    rows = [
        {"id": n, "region": ("eu", "us")[n % 2], ("vat", "state")[n % 2]: f"v{n}"}
        for n in range(200)
    ]
    for n in range(3):
        for key in ("eu", "us"):
            report = load(config, key, *({**row, "n": n} for row in rows))
            assert {each.change.kind for each in report.decisions} <= {
                "table_added",
                "column_added",
            }
            assert report.jumps == ()
    assert status.profile(config, "orders") == ((), 2, 100)
    report = load(config, "eu", *({"id": n, "region": "eu", "n": n} for n in range(0, 200, 2)))
    assert [each.change.message for each in report.decisions] == [
        "`vat` no longer arrives: in none of 100 rows, before in 100%"
    ]
    assert [jump.column for jump in report.jumps] == ["vat"]
    assert status.profile(config, "orders") == (report.jumps, 3, 100)


@pytest.mark.nightly
def test_windows_are_compared_with_those_before_them(place: Place) -> None:
    """What later rows have is not missed where an old window is loaded, or loaded again."""
    config = parted(place)

    def window(day: int, **more: Any) -> RunReport:
        rows = [order(100 * day + n, day, "b", **more) for n in range(30)]
        report = load(config, f"2024-01-{day:02}", *rows)
        assert status.profile(config, "orders")[0] == report.jumps
        return report

    for day in (3, 4):
        window(day)
    for day in (5, 6, 7, 8):
        window(day, vat="v")
    for day in (4, 2, 3):
        assert window(day).decisions == ()
    gone = "`vat` no longer arrives: in none of 30 rows, before in "
    assert [each.change.message for each in window(9).decisions] == [f"{gone}57.1%"]
    assert window(10).decisions == ()
    assert [each.change.message for each in window(7).decisions] == [f"{gone}50%"]


def test_a_history_without_partitions_is_read(duckdb_place: Place) -> None:
    """That of a version that noted none: nothing is compared, and nothing fails."""
    config = parted(duckdb_place, type="static", field="region", values=["eu"])
    load(config, "eu", *({"id": n, "region": "eu", "vat": "x"} for n in range(30)))
    duckdb_place.query("ALTER TABLE shop._millstream_loads DROP COLUMN partition_key")
    duckdb_place.query("DELETE FROM shop._dlt_version WHERE schema_name = 'millstream_ledger'")
    report = load(config, "eu", *({"id": n, "region": "eu"} for n in range(30)))
    assert (report.decisions, report.warnings) == ((), ())
    assert duckdb_place.query(
        "SELECT partition_key FROM shop._millstream_loads ORDER BY load_id"
    ) == [(None,), ("eu",)]


def test_a_window_bounds_a_resources_own_cursor(place: Place) -> None:
    config = parted(
        place, "behaviour.feed:between", type="time", every="day", start="2024-01-01", cursor="at"
    )
    rows = [{"id": day, "at": f"2024-01-0{day}T00:00:00+00:00"} for day in (1, 2, 3)]
    from dlt.common.pendulum import pendulum

    load(config, "2024-01-02", *({**row, "at": pendulum.parse(row["at"])} for row in rows))
    assert FEED.window == ("2024-01-02T00:00:00+00:00", "2024-01-03T00:00:00+00:00")
    assert orders(place) == [(2, "2024-01-02")]
    # no cursor is kept: the same window is read again
    load(config, "2024-01-02", *({**row, "at": pendulum.parse(row["at"])} for row in rows))
    assert orders(place) == [(2, "2024-01-02")]


def test_a_window_as_arguments(place: Place) -> None:
    config = parted(
        place,
        "behaviour.feed:asked_for",
        **DAYS,
        arguments={"start": "since", "end": "until", "key": "name"},
    )
    load(config, "2024-01-02", order(2, 2))
    since, until, name = FEED.window
    assert (since.isoformat(), until.isoformat(), name) == (
        "2024-01-02T00:00:00+00:00",
        "2024-01-03T00:00:00+00:00",
        "2024-01-02",
    )


def test_rows_without_a_time_stop_the_run(place: Place) -> None:
    config = parted(place)
    with pytest.raises(Exception, match="'at' is missing, so that the row belongs to no partition"):
        load(config, "2024-01-01", {"id": 1})


def test_what_would_double_rows_is_refused(place: Place) -> None:
    append = DltConfig(path="behaviour.feed:orders", arguments={"write_disposition": "append"})
    FEED.rows = [order(1, 1)]
    run(configured(place, append), "orders")
    with pytest.raises(ConfigError, match="table orders was loaded without partitions"):
        load(parted(place, **DAYS, disposition="append"), "2024-01-01", order(1, 1))


def test_what_partitions_loaded_is_not_appended_to(place: Place) -> None:
    load(parted(place, **DAYS, disposition="append"), "2024-01-01", order(1, 1))
    append = DltConfig(path="behaviour.feed:orders", arguments={"write_disposition": "append"})
    with pytest.raises(ConfigError, match="table orders was loaded in partitions"):
        run(configured(place, append), "orders")


def test_a_table_that_merges_may_become_partitioned(place: Place) -> None:
    FEED.rows = [order(1, 1, "a"), order(2, 2, "b")]
    run(configured(place), "orders")
    load(parted(place), "2024-01-01", order(1, 1, "c"))
    assert orders(place) == [(1, "2024-01-01"), (2, None)]
    assert titles(place) == [(1, "c"), (2, "b")]


def test_a_partition_must_be_named_and_exist(place: Place) -> None:
    config = parted(place)
    with pytest.raises(ConfigError, match="loaded in partitions: which one"):
        run(config, "orders")
    with pytest.raises(ConfigError, match="no partition '2023-12-31'"):
        run(config, "orders", partition="2023-12-31")
    with pytest.raises(ConfigError, match="always read whole"):
        run(config, "orders", partition="2024-01-01", full_refresh=True)
    with pytest.raises(ConfigError, match="is not partitioned"):
        run(configured(place), "orders", partition="2024-01-01")


WORKER = """
import json, sys
from millstream.config import PipelineConfig
from millstream.runs.runner import replay, run

given = json.loads(sys.argv[1])
config = PipelineConfig(**given)
for key in sys.argv[2:]:
    run(config, "orders", partition=key)
"""


@pytest.mark.nightly_on("postgres")
@pytest.mark.parametrize("place", BOTH, indirect=True)
def test_a_backfill_side_by_side_and_again(place: Place) -> None:
    """Many partitions, half of which bring a column that the others lack."""
    hours = {"type": "time", "every": "hour", "start": "2024-01-01", "cursor": "at"}
    config = parted(place, "behaviour.feed:hours", **hours)
    keys = [
        f"2024-01-{1 + n // 24:02}-{n % 24:02}:00" for n in range(50 - PARTS // 2, 50 + PARTS // 2)
    ]
    random.shuffle(keys)
    again = random.sample(keys, 4)
    given = json.dumps({**config.model_dump(mode="json"), "project": str(place.project)})
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])

    def work(n: int) -> subprocess.CompletedProcess[str]:
        arguments = (given, *keys[n::4], again[n], again[n - 1])
        return python_code(
            WORKER, *arguments, folder=place.project, environment={"PYTHONPATH": path}
        )

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(work, range(4)))
    assert [each.returncode for each in ended] == [0] * 4, ended[0].stderr[-3000:]

    assert place.query(
        f"SELECT COUNT(*), COUNT(DISTINCT id), COUNT(DISTINCT _millstream_partition), COUNT(late) "
        f"FROM {place.from_clause('orders')}"
    ) == [(5 * PARTS, 5 * PARTS, PARTS, 5 * PARTS // 2)]
    assert place.query(
        f"SELECT COUNT(*) FROM {place.from_clause('orders__books')} AS b "
        f"JOIN {place.from_clause('orders')} AS o ON b._dlt_parent_id = o._dlt_id"
    ) == [(10 * PARTS,)]
    assert place.count("orders__books") == 10 * PARTS


@pytest.mark.nightly_on("duckdb")
@pytest.mark.parametrize("place", BOTH, indirect=True)
@pytest.mark.parametrize("key", ["id", None])
@pytest.mark.nightly_on("postgres")
def test_a_partition_quarantines_a_row_once(
    place: Place, key: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read again, it replaces what it quarantined before, too."""
    arguments = {"key": key, "write_disposition": "merge" if key else "append"}
    config = parted(place, "behaviour.feed:disposed", source_arguments=arguments)
    odd = {"id": None} if key else {"id": 2, "span": timedelta(1)}
    bad, other = [{**order(2, 1, **odd), "v": v} for v in (1, 2)]
    load(config, "2024-01-02", order(3, 2), {**bad, "at": "2024-01-02T00:00:00Z"})
    load(config, "2024-01-01", order(1, 1), bad, bad, other)
    load(config, "2024-01-01", order(1, 1), bad, bad, other)
    assert len(waiting(config, capsys)) == 4
    load(config, "2024-01-01", order(1, 1), bad)  # the others were corrected
    load(config, "2024-01-01", order(1, 1), bad)
    assert len(waiting(config, capsys)) == 2
    if key is None:
        return
    (mine,) = [each for each in waiting(config, capsys) if "2024-01-01T" in each["document"]]
    corrected = json.dumps({**order(2, 1), "_millstream_partition": "2024-01-01"})
    replay(config, "orders", ids=[mine["id"]], corrected=corrected)
    assert orders(place)[:2] == [(1, "2024-01-01"), (2, "2024-01-01")]
    assert len(waiting(config, capsys)) == 1
    _, plan = replay(config, "orders")
    assert len(plan.left) == 1  # it still has no key


@pytest.mark.parametrize("place", BOTH, indirect=True)
def test_a_row_without_a_key_is_replayed_into_its_partition(place: Place) -> None:
    def config(contract: str) -> PipelineConfig:
        return parted(place, "behaviour.feed:guarded", source_arguments={"contract": contract})

    load(config("discard_row"), "2024-01-01", order(1, 1, "a", n=1))
    load(config("discard_row"), "2024-01-01", order(1, 1, "a", n=1), order(2, 1, "b", "c", n="x"))
    report, _ = replay(config("evolve"), "orders")
    assert report.replayed == {"replayed": 1}
    assert orders(place) == [(1, "2024-01-01"), (2, "2024-01-01")]
    assert titles(place) == [(1, "a"), (2, "b"), (2, "c")]
    load(config("evolve"), "2024-01-01", order(2, 1, "d", n="x"))
    assert orders(place) == [(2, "2024-01-01")]
    assert titles(place) == [(2, "d")]


def waiting(config: PipelineConfig, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What `quarantine list` says."""
    assert config.project is not None
    file = config.project / "defs.yaml"
    attributes = config.model_dump(mode="json", include={"name", "source", "destination"})
    attributes["partitions"] = DAYS
    file.write_text(json.dumps({"type": "millstream.Pipeline", "attributes": attributes}))
    capsys.readouterr()
    assert main(["quarantine", "list", str(file), "--json"]) == 0
    listed: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return listed
