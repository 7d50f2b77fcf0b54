"""A shop to load: a real dlt source, whose rows and faults the tests set."""

from __future__ import annotations

from typing import Any

import dlt

ORDERS = [
    {"id": 1, "who": "ann", "n": 1, "items": [{"sku": "a", "tags": ["new"]}, {"sku": "b"}]},
    {"id": 2, "who": "bob", "n": 2, "items": []},
]

rows: dict[str, list[dict[str, Any]]] = {}
faults: dict[str, Exception] = {}
"""What a stream raises; a stream that is not named here works."""
pulls: list[str] = []
"""The streams that were read, in order."""


def reset() -> None:
    rows.clear()
    rows.update(orders=ORDERS, orders__archive=[{"id": 7}], empty=[])
    faults.clear()
    pulls.clear()


@dlt.source
def shop() -> Any:
    def read(stream: str) -> Any:
        pulls.append(stream)
        if stream in faults:
            raise faults[stream]
        yield rows[stream]

    return [
        dlt.resource(read, name=name, primary_key="id", write_disposition="merge")(name)
        for name in ("orders", "orders__archive", "empty")
    ]
