from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from behaviour.feed import FEED
from millstream.config import DltConfig, PipelineConfig
from millstream.model import RunReport
from millstream.runs.runner import run
from services.places import NAME, Place

Load = Callable[..., RunReport]


@pytest.fixture(autouse=True)
def feed() -> Iterator[Any]:
    FEED.reset()
    yield FEED
    FEED.reset()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine busy with tests must not look like a destination that does not answer."""
    monkeypatch.setattr("millstream.destinations.preflight_checks._DEADLINE", 120.0)


@pytest.fixture
def load(place: Place) -> Load:
    """Load rows into the place as a user would: through the runner, each time from scratch."""

    def load(
        rows: list[dict[str, Any]],
        *,
        disposition: str = "merge",
        full_refresh: bool = False,
        source: DltConfig | None = None,
    ) -> RunReport:
        FEED.rows = rows
        return run(
            configured(place, source or _orders(disposition)), "orders", full_refresh=full_refresh
        )

    return load


def configured(place: Place, source: DltConfig | None = None, **destination: Any) -> PipelineConfig:
    return PipelineConfig(
        name=NAME,
        source=source or _orders("merge"),
        destination={**place.destination, **destination},
        project=place.project,
    )


def forget(place: Place) -> None:
    """What another machine would see: nothing but the destination."""
    for name in ("millstream-home", "dlt-home"):
        shutil.rmtree(place.project / name, ignore_errors=True)


def _orders(disposition: str) -> DltConfig:
    return DltConfig(path="behaviour.feed:orders", arguments={"write_disposition": disposition})
