"""A destination that goes away in the middle of a load, a source in the middle of a page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from threading import Thread
from typing import Any

import dlt
import pytest

from millstream.config import TargetConfig
from millstream.errors import (
    DestinationUnavailableError,
    MillstreamError,
    RunError,
    SourceUnavailableError,
)
from millstream.runs import runner
from services import places, postgres, wait_for
from services.github import Fault, GitHubServer
from services.places import Place
from sources.github_kit import FakeClock, issue, issues, source

ROWS = 50
STAND_STILL = """
CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$;
CREATE TRIGGER stand_still BEFORE INSERT ON shop.{} EXECUTE FUNCTION stand_still();
"""


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    """One of our own: it is stopped while others use theirs."""
    with postgres.running() as running:
        yield running


def load(place: Place, step: int, disposition: str) -> None:
    """Rows of a step: new ones to append, newer ones to merge, others to replace."""

    @dlt.resource(
        name="things",
        write_disposition=disposition,  # type: ignore[call-overload]
        primary_key="id" if disposition == "merge" else None,
    )
    def things() -> Any:
        state = dlt.current.resource_state()
        if disposition == "replace" or state.get("read", 0) < step:
            start = 0 if disposition == "merge" else (step - 1) * ROWS
            yield [{"id": n, "step": step, "tags": [{"t": n}]} for n in range(start, start + ROWS)]
        state["read"] = step

    target = TargetConfig.model_validate(
        {"name": "shop", "project": place.project, "destination": {"type": "postgres"}}
    )
    runner.run_data(things(), target)


DISPOSITIONS = ["append", "merge"] + ["replace"] * bool(os.environ.get("MILLSTREAM_NIGHTLY"))


@pytest.mark.parametrize("disposition", DISPOSITIONS)
def test_postgresql_stops_in_the_middle_of_a_load(
    disposition: str,
    server: postgres.Postgres,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "2")
    place = places.postgres(tmp_path, server, monkeypatch.setenv)
    database = place.extra["database"]
    load(place, 1, disposition)
    server.query(
        database, STAND_STILL.format("things__tags" if disposition == "append" else "_dlt_loads")
    )
    said: list[Exception] = []

    def run() -> None:
        try:
            load(place, 2, disposition)
        except Exception as error:
            said.append(error)

    thread = Thread(target=run)
    thread.start()
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    wait_for(lambda: bool(server.query(database, waits)), seconds=120, what="the load")
    server.stop()
    thread.join()
    (error,) = said
    assert isinstance(error, RunError)
    assert error.step == "load"
    assert "The next run loads the extracted package first" in str(error.hint)
    with pytest.raises(DestinationUnavailableError) as refused:
        load(place, 2, disposition)
    assert refused.value.hint

    assert server.start()
    server.query(database, "DROP FUNCTION stand_still CASCADE")
    load(place, 2, disposition)

    start, end = {"append": (0, 2), "merge": (0, 1), "replace": (1, 2)}[disposition]
    assert place.column("things", "id") == list(range(start * ROWS, end * ROWS))
    assert place.count("things__tags") == place.count("things")
    joined = f"{place.from_clause('things__tags')} AS t JOIN {place.from_clause('things')} AS p"
    assert place.query(
        f"SELECT COUNT(DISTINCT p.id) FROM {joined} ON t._dlt_parent_id = p._dlt_id AND t.t = p.id"
    ) == [((end - start) * ROWS,)]


def test_a_source_goes_away_in_the_middle_of_a_page(duckdb_place: Place) -> None:
    clock = FakeClock()
    target = TargetConfig.model_validate(
        {
            "name": "shop",
            "project": duckdb_place.project,
            "destination": dict(duckdb_place.destination),
        }
    )

    def ids() -> list[int]:
        return duckdb_place.column("issues", "number", "number")

    with GitHubServer(issues(20), clock=clock.now) as server:
        runner.run_data(source(server, clock=clock).open("issues"), target, stream="issues")
        assert ids() == list(range(1, 21))
        newer = [issue(n, "2023-06-01T00:00:00Z", title="new") for n in range(11, 61)]
        server.hub.put("octo/hello", "issues", *newer)
        server.faults.add(Fault(match="page=3", kind="truncated", times=None))
        with pytest.raises(MillstreamError) as caught:
            runner.run_data(source(server, clock=clock).open("issues"), target, stream="issues")
        assert isinstance(caught.value, SourceUnavailableError)
        assert "page=3" in caught.value.message
        assert caught.value.hint
        assert ids() == list(range(1, 21))  # nothing of it, and no cursor moved

        server.faults.clear()
        runner.run_data(source(server, clock=clock).open("issues"), target, stream="issues")

    assert ids() == list(range(1, 61))
    assert duckdb_place.query(
        f"SELECT count(*) FROM {duckdb_place.from_clause('issues')} WHERE title = 'new'"
    ) == [(50,)]
