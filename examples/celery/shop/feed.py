"""What the shop has: days of orders, visits and payments, and counters that only grow.

Stands for an API or a database. The rows of a day are always the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import dlt

FIRST, DAYS = date(2024, 1, 1), 12
ROWS = 100  # a day, and a counter
DAILY = ("orders", "visits")
COUNTERS = ("clicks", "returns")


@dlt.source(name="shop")
def shop() -> Any:
    """Streams that are loaded by day, and streams that are appended to."""
    return [*map(daily, DAILY), *map(counter, COUNTERS)]


def daily(name: str) -> Any:
    def rows() -> Iterator[list[dict[str, Any]]]:
        for day in range(DAYS):
            at = (FIRST + timedelta(days=day)).isoformat()
            yield [
                {"id": day * ROWS + n, "at": at, "lines": [{"sku": n, "n": k} for k in (1, 2)]}
                for n in range(ROWS)
            ]

    return dlt.resource(rows, name=name, write_disposition="append")


def counter(name: str) -> Any:
    def rows() -> Iterator[list[dict[str, Any]]]:
        state = dlt.current.resource_state()
        read = state.get("read", 0)
        yield [{"id": n, "notes": [{"text": name}]} for n in range(read, ROWS)]
        state["read"] = ROWS

    return dlt.resource(rows, name=name, write_disposition="append")
