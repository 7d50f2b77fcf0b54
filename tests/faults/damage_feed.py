"""Rows that a cursor hands out once, up to the number in the environment variable `END`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import dlt


@dlt.resource(name="things", write_disposition="append")
def feed() -> Iterator[list[dict[str, Any]]]:
    state = dlt.current.resource_state()
    start = state.get("read", 0)
    state["read"] = end = int(os.environ["END"])
    for at in range(start, end, 100):
        yield [
            {"id": n, "text": "x" * (n % 50), "tags": [{"n": n, "deep": [n, n + 1]}]}
            for n in range(at, min(at + 100, end))
        ]
