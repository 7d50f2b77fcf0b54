"""A clock that goes backwards: load ids, cursors and schemas are ordered by time, and must not be.

Clocks are set wrong and then right again, and machines disagree. dlt names loads by the time, and
takes the state of the highest name and the schema that was stored last.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common import time as dlt_time
from dlt.destinations import job_client_impl

from millstream.config import TargetConfig
from millstream.errors import RunError
from millstream.runs import runner
from services.places import Place

DAY = 86_400.0

SetClock = Callable[[float], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets the clock that dlt goes by, in seconds from the true one, as for a new process."""

    def set_clock(seconds: float) -> None:
        class Shifted(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return datetime.now(tz) + timedelta(seconds=seconds)

        monkeypatch.setattr(dlt_time, "precise_time", lambda: time.time() + seconds)
        monkeypatch.setattr(dlt_time.increasing_precise_time, "_last", 0.0)
        monkeypatch.setattr(job_client_impl, "datetime", Shifted)

    return set_clock


def target(place: Place) -> TargetConfig:
    return TargetConfig.model_validate(
        {"name": "shop", "project": place.project, "destination": dict(place.destination)}
    )


def numbers(upto: int) -> Any:
    """Rows 1 to `upto`, each once, as long as the cursor in the destination is honoured."""

    @dlt.resource(name="numbers", write_disposition="append")
    def rows() -> Any:
        state = dlt.current.resource_state()
        for n in range(state.get("read", 0) + 1, upto + 1):
            yield {"id": n, "tags": [n]}
        state["read"] = upto

    return rows()


@pytest.fixture(
    params=["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]
)
def database(request: pytest.FixtureRequest) -> Place:
    made: Place = request.getfixturevalue(f"{request.param}_place")
    return made


def test_the_cursor_is_the_last_loads_whatever_the_clock(database: Place, clock: SetClock) -> None:
    for shift, upto in ((DAY, 2), (0.0, 4), (-DAY, 6), (0.0, 8)):
        clock(shift)
        runner.run_data(numbers(upto), target(database))
    assert database.column("numbers", "id") == list(range(1, 9))
    assert database.count("numbers__tags") == 8


def test_load_ids_only_grow(duckdb_place: Place, clock: SetClock) -> None:
    ids = []
    for shift, upto in ((DAY, 1), (0.0, 2), (0.0, 3), (2 * DAY, 4), (DAY, 5)):
        clock(shift)
        ids.append(runner.run_data(numbers(upto), target(duckdb_place)).load_id)
    assert ids == sorted(set(ids), key=str)
    # one stream's lead is no other stream's
    clock(0.0)
    other = runner.run_data([{"id": 1}], target(duckdb_place), stream="other").load_id
    assert other is not None
    assert float(other) < time.time() + 1


def test_the_schema_is_the_last_loads_whatever_the_clock(database: Place, clock: SetClock) -> None:
    clock(DAY)
    runner.run_data([{"id": 1}], target(database), stream="things")
    clock(0.0)
    runner.run_data([{"id": 2, "n": 2}], target(database), stream="things")
    report = runner.run_data([{"id": 3, "n": "three"}], target(database), stream="things")
    # the schema of the first load knows no n: the text would go into the column of integers
    assert [change.kind for change in report.changes] == ["variant_added"]
    assert database.column("things", "n") == [None, 2, None]
    assert database.column("things", "n__v_text") == [None, None, "three"]


def test_a_package_is_out_of_date_once_anything_was_loaded_since(
    duckdb_place: Place, clock: SetClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def lost(*_: Any, **__: Any) -> None:
        raise ConnectionError("the line went dead")

    clock(DAY)
    with monkeypatch.context() as here:
        here.setattr(dlt.Pipeline, "load", lost)
        here.setattr("millstream.runs.stages.loading.sleep", lambda _: None)
        with pytest.raises(RunError, match="the line went dead"):
            runner.run_data(numbers(2), target(duckdb_place))
    clock(0.0)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("MILLSTREAM_HOME", str(tmp_path / "another machine"))
        runner.run_data(numbers(3), target(duckdb_place))
    report = runner.run_data(numbers(4), target(duckdb_place))
    assert duckdb_place.column("numbers", "id") == [1, 2, 3, 4]
    assert report.warnings == ()


def test_an_unknown_clock_of_dlt_stops_the_run(
    duckdb_place: Place, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(DAY)
    runner.run_data(numbers(2), target(duckdb_place))
    clock(0.0)
    monkeypatch.setattr("dlt.common.storages.load_package.increasing_precise_time", time.time)
    with pytest.raises(RunError, match="clock") as caught:
        runner.run_data(numbers(4), target(duckdb_place))
    assert "clock" in str(caught.value.hint)
    assert duckdb_place.column("numbers", "id") == [1, 2]
