"""One DuckDB file, several programs: runs wait for each other, and a while for anyone else."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import dlt
import pytest

from millstream import destinations
from millstream.config import TargetConfig
from millstream.destinations import machine_lock
from millstream.errors import DestinationUnavailableError
from millstream.runs import runner
from services import wait_for
from services.places import Place

# each holds the file until its standard input ends
ANOTHER_PROGRAM = """
import duckdb, sys
with duckdb.connect(sys.argv[1]):
    print("in", flush=True)
    sys.stdin.read()
"""
ANOTHER_HOME = """
import sys
from pathlib import Path
from millstream import destinations
from millstream.config import TargetConfig

file = Path(sys.argv[1])
with destinations.writer(TargetConfig.model_validate({
    "name": "shop", "project": file.parent,
    "destination": {"type": "duckdb", "database": file.name},
})):
    print("in", flush=True)
    sys.stdin.read()
"""

Hold = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def hold(duckdb_place: Place, tmp_path: Path) -> Iterator[Hold]:
    """Start a program that holds the file; it ends with the test at the latest."""
    holders = []

    def start(code: str) -> subprocess.Popen[str]:
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(duckdb_place.extra["file"])],
            env={**os.environ, "MILLSTREAM_HOME": str(tmp_path / "another-home")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "in\n"
        return holder

    yield start
    for holder in holders:
        holder.communicate()


def load(place: Place, rows: Callable[[], Any]) -> None:
    target = TargetConfig.model_validate(
        {"name": "shop", "project": place.project, "destination": place.destination}
    )
    runner.run_data(dlt.resource(rows, name="orders", write_disposition="append"), target)


@pytest.mark.parametrize("holder", [ANOTHER_PROGRAM, ANOTHER_HOME], ids=["program", "home"])
def test_a_run_waits_until_the_file_is_free(
    holder: str, duckdb_place: Place, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    load(duckdb_place, lambda: [{"id": 1}])
    held = hold(holder)
    with caplog.at_level(logging.INFO, "millstream"):
        run = Thread(target=load, args=(duckdb_place, lambda: [{"id": 2}]))
        run.start()
        wait_for(lambda: "waiting" in caplog.text, seconds=60, what="the run to wait")
    if holder == ANOTHER_PROGRAM:
        assert f"process {held.pid} (" in caplog.text
    held.communicate()
    run.join()
    assert duckdb_place.column("orders", "id") == [1, 2]


def test_a_program_that_keeps_the_file_is_named(
    duckdb_place: Place, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["millstream.destinations.write_lock"], "PATIENCE", 0.1)
    held = []

    def rows() -> Any:
        held.append(hold(ANOTHER_PROGRAM))  # it was free when the run began
        yield {"id": 1}

    with pytest.raises(DestinationUnavailableError) as raised:
        load(duckdb_place, rows)
    assert f"process {held[0].pid} (" in raised.value.message
    assert str(duckdb_place.extra["file"]) in raised.value.message
    assert "credentials" not in str(raised.value)
    held[0].communicate()
    load(duckdb_place, lambda: [{"id": 2}])
    assert duckdb_place.column("orders", "id") == [1, 2]


def test_the_file_is_free_while_rows_are_read(duckdb_place: Place, hold: Hold) -> None:
    def rows() -> Any:
        hold(ANOTHER_PROGRAM).communicate()
        yield {"id": 2}

    load(duckdb_place, lambda: [{"id": 1}])
    load(duckdb_place, rows)
    assert duckdb_place.column("orders", "id") == [1, 2]


def test_a_check_of_the_file_does_not_end_its_lock(duckdb_place: Place) -> None:
    load(duckdb_place, lambda: [{"id": 1}])
    target = TargetConfig.model_validate(
        {"name": "shop", "project": duckdb_place.project, "destination": duckdb_place.destination}
    )
    file = str(duckdb_place.extra["file"])
    with destinations.writer(target):
        destinations.ensure_ready(target)
        other = subprocess.run(
            [sys.executable, "-c", f"import duckdb; duckdb.connect({file!r})"],
            capture_output=True,
            text=True,
        )
    assert f"PID {os.getpid()}" in other.stderr


def test_streams_of_one_command_take_turns_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """None of them is another run."""
    config = TargetConfig.model_validate(
        {"name": "shop", "project": tmp_path, "destination": {"type": "duckdb", "database": "w.db"}}
    )
    done: list[int] = []

    def write() -> None:
        with destinations.writer(config):
            done.append(len(done))

    threads = [Thread(target=write) for _ in range(3)]
    with caplog.at_level(logging.INFO, "millstream"):
        with destinations.writer(config):
            for thread in threads:
                thread.start()
            wait_for(lambda: 4 in machine_lock._users.values(), seconds=60, what="three that wait")
        for thread in threads:
            thread.join()
    assert done == [0, 1, 2]
    assert "waiting" not in caplog.text
