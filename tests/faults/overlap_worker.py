"""A source whose rows change, and whose readers can be stopped: for `test_overlap.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import dlt


@dataclass
class World:
    """What a source has at one moment, by region.

    Attributes:
        pauses: by name of a run, what it does between the reading of a row and its handing over.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    pauses: dict[str, Callable[[], None]] = field(default_factory=dict)

    def set(self, version: int, regions: dict[int, str]) -> None:
        """Each row has a region, the version, and as many child rows as its version."""
        self.rows = [
            {
                "id": key,
                "region": region,
                "version": version,
                "tags": [{"tag": n} for n in range(version)],
            }
            for key, region in regions.items()
        ]


WORLD = World()


@dataclass
class Gate:
    """Stops whoever comes, until it is opened."""

    reached: Event = field(default_factory=Event)
    opened: Event = field(default_factory=Event)

    def __call__(self) -> None:
        self.reached.set()
        assert self.opened.wait(120)


def shop(run: str, eager: bool = False) -> Any:
    """One stream, keyed; `eager` reads as the source is opened, as many sources do."""
    read = [*WORLD.rows] if eager else None

    @dlt.resource(primary_key="id", write_disposition="merge")
    def orders() -> Any:
        rows = [*WORLD.rows] if read is None else read
        WORLD.pauses.get(run, lambda: None)()
        yield rows

    return dlt.source(lambda: orders, name="shop")()
