"""Runs of one stream that overlap: what was read later wins, whichever run ends first."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from faults.overlap_worker import WORLD, Gate
from millstream.config import PipelineConfig
from millstream.runs import runner
from services import wait_for
from services.places import Place

REGIONS = ["eu", "us"]


@pytest.fixture(autouse=True)
def world() -> None:
    WORLD.pauses = {}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


@pytest.fixture(
    params=["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]
)
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.getfixturevalue(f"{request.param}_place")
    return made


def load(place: Place, run: str, partition: str | None = None, *, eager: bool = False) -> Any:
    config: dict[str, Any] = {
        "name": "shop",
        "project": place.project,
        "destination": place.destination,
        "source": {
            "type": "dlt",
            "path": "faults.overlap_worker:shop",
            "arguments": {"run": run, "eager": eager},
        },
    }
    if partition:
        config["partitions"] = {
            "type": "static",
            "field": "region",
            "values": REGIONS,
            "streams": ["orders"],
        }
    return runner.run(PipelineConfig.model_validate(config), "orders", partition=partition)


def paused(pool: ThreadPoolExecutor, gate: Gate, *arguments: Any, **more: Any) -> Future[Any]:
    """A run that has read its rows, and hands them over once the gate is opened."""
    WORLD.pauses[arguments[1]] = gate
    future = pool.submit(load, *arguments, **more)
    wait_for(lambda: gate.reached.is_set() or future.done(), seconds=120, what="the run")
    return future


def check(place: Place, version: int, regions: dict[int, str]) -> None:
    """The table and its children are those of one version of the world."""
    orders, tags = place.from_clause("orders"), place.from_clause("orders__tags")
    assert place.query(f"SELECT id, region, version FROM {orders} ORDER BY id, version") == [
        (key, region, version) for key, region in sorted(regions.items())
    ]
    joined = f"{tags} AS t LEFT JOIN {orders} AS o ON t._dlt_parent_id = o._dlt_id"
    assert place.query(f"SELECT o.id, t.tag FROM {joined} ORDER BY 1, 2") == [
        (key, tag) for key in sorted(regions) for tag in range(version)
    ]


def test_a_source_that_reads_as_it_opens(
    place: Place, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    WORLD.set(1, {1: "eu", 2: "us"})
    gate = Gate()
    first = paused(pool, gate, place, "first")
    WORLD.set(2, {1: "eu", 2: "us"})
    with caplog.at_level(logging.INFO, "millstream"):
        second = pool.submit(load, place, "second", eager=True)
        wait_for(lambda: "waiting for another run" in caplog.text, seconds=60, what="the turn")
    WORLD.set(3, {1: "eu", 2: "us"})
    gate.opened.set()
    first.result()
    second.result()
    check(place, 3, {1: "eu", 2: "us"})


@pytest.mark.nightly_on("postgres")
def test_a_row_moves_to_a_partition_that_is_read_later(
    place: Place, pool: ThreadPoolExecutor
) -> None:
    WORLD.set(1, {1: "eu", 2: "us", 3: "eu"})
    load(place, "before", "eu")
    load(place, "before", "us")
    gate = Gate()
    earlier = paused(pool, gate, place, "earlier", "eu")
    WORLD.set(2, {1: "eu", 2: "us", 3: "us"})
    load(place, "later", "us")
    gate.opened.set()
    earlier.result()
    load(place, "last", "eu")
    check(place, 2, {1: "eu", 2: "us", 3: "us"})


@pytest.mark.nightly_on("postgres")
def test_a_run_of_all_reads_later_than_a_partition(place: Place, pool: ThreadPoolExecutor) -> None:
    WORLD.set(1, {1: "eu", 2: "us"})
    load(place, "before", "eu")
    gate = Gate()
    earlier = paused(pool, gate, place, "earlier", "eu")
    WORLD.set(2, {1: "eu", 2: "us"})
    load(place, "later")
    gate.opened.set()
    earlier.result()
    check(place, 2, {1: "eu", 2: "us"})
