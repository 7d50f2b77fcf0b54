"""Streams in threads: as many as allowed, each once, and all of them stopped by one signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from millstream.config import PipelineConfig
from millstream.runs.parallel import run_parallel
from services import wait_for

NAMES = [f"stream_{number}" for number in range(12)]


def config(limit: int) -> PipelineConfig:
    return PipelineConfig.model_validate(
        {"name": "a", "source": {"type": "dlt", "path": "a:b"}, "max_concurrent_streams": limit}
    )


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_each_is_done_once_and_no_more_at_once_than_allowed(limit: int) -> None:
    here: list[str] = []
    most = 0
    together = threading.Barrier(min(limit, len(NAMES)))  # so many do run at once

    def do(name: str) -> str:
        nonlocal most
        here.append(name)
        most = max(most, len(here))
        together.wait(timeout=60)
        here.remove(name)
        return name.upper()

    assert dict(run_parallel(config(limit), NAMES, do)) == {name: name.upper() for name in NAMES}
    assert most <= limit


def test_alone_they_keep_order_and_thread() -> None:
    found = list(run_parallel(config(1), NAMES, lambda _: threading.get_ident()))
    assert found == [(name, threading.get_ident()) for name in NAMES]


def test_what_is_raised_is_raised_and_no_more_are_begun() -> None:
    begun: list[str] = []
    failed = threading.Event()

    def do(name: str) -> None:
        begun.append(name)
        if name == NAMES[0]:
            failed.set()
            raise ZeroDivisionError
        failed.wait(60)

    with pytest.raises(ZeroDivisionError):
        list(run_parallel(config(2), NAMES, do))
    assert len(begun) < len(NAMES)


SLOW = """
import time, dlt, pathlib

@dlt.source
def slow():
    def read(name):
        pathlib.Path(f"{name}.begun").touch()
        for number in range(100_000):
            yield {"id": number}
            time.sleep(0.05)
    return [dlt.resource(read, name=name)(name) for name in ("a", "b", "c")]
"""


def test_a_signal_stops_every_one_that_is_under_way(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "defs.yaml").write_text(
        "type: millstream.Pipeline\n"
        "attributes:\n"
        "  name: slow\n"
        "  source: {type: dlt, path: 'slow:slow', streams: [a, b, c]}\n"
        "  max_concurrent_streams: 2\n"
    )
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "millstream", "run"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdout=log,
            stderr=log,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            both = [tmp_path / "a.begun", tmp_path / "b.begun"]
            wait_for(
                lambda: all(file.exists() for file in both) or run.poll() is not None,
                seconds=120,
                what="two streams",
            )
            run.send_signal(signal.SIGINT)
            # each would go on for more than an hour
            assert run.wait(timeout=120) == 130, (tmp_path / "log").read_text()
        finally:
            run.kill()
            run.wait()
    assert not (tmp_path / "c.begun").exists()
