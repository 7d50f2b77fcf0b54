"""dlt sources of several resources that have something in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dlt

STEP = {"now": 1}
"""Which load this is; each yields other rows."""


@dlt.source(name="shop")
def shared_table(write_disposition: str = "append", texts: bool = False) -> Any:
    """Two resources that load into `orders`."""

    def rows(first: int) -> Iterator[list[dict[str, Any]]]:
        seen = dlt.current.resource_state().setdefault("seen", [])
        seen.append(STEP["now"])
        number = first + STEP["now"]
        ref: Any = f"no {number}" if texts and first == 20 else number
        yield [{"id": number, "ref": ref, "items": [{"n": number}], "loads": len(seen)}]

    return [
        dlt.resource(rows, name=name, table_name="orders", write_disposition=write_disposition)(
            first
        )
        for name, first in (("orders_eu", 10), ("orders_us", 20))
    ]


@dlt.source(name="crm")
def shared_state() -> Any:
    """`fields` keeps names in the source's state, `deals` uses them."""

    @dlt.resource(write_disposition="replace")
    def fields() -> Iterator[list[dict[str, Any]]]:
        dlt.current.source_state()["names"] = {"a1b2": "budget"}
        yield [{"key": "a1b2"}]

    @dlt.resource(primary_key="id", write_disposition="merge")
    def deals() -> Iterator[list[dict[str, Any]]]:
        names = dlt.current.source_state().get("names", {})
        yield [{"id": 1, names.get("a1b2", "a1b2"): 100}]

    return fields, deals


@dlt.source(name="shop")
def tables_by_row() -> Any:
    """A resource whose rows choose their tables."""

    @dlt.resource(
        table_name=lambda row: f"ev_{row['kind']}", write_disposition="merge", primary_key="id"
    )
    def events() -> Iterator[list[dict[str, Any]]]:
        yield [
            {"id": 1, "kind": "click"},
            {"id": 2, "kind": "buy", "items": [{"sku": "a"}]},
            {"id": 3, "kind": "buy"},
        ]

    return events


@dlt.source(name="shop")
def other_cursor() -> Any:
    """A resource that asks its API by `updated_at`."""

    @dlt.resource(primary_key="id", write_disposition="merge")
    def orders(
        cursor: Any = dlt.sources.incremental("updated_at", initial_value="2024"),  # noqa: B008
    ) -> Iterator[list[dict[str, Any]]]:
        yield [{"id": 1, "created_at": "2024-01-01", "updated_at": "2024-01-09"}]

    return orders


_CODE: Any = {"code": {"data_type": "text", "precision": 3}}


@dlt.source(name="shop")
def limited_tables() -> Any:
    """Two resources with a table each; and one whose rows choose theirs."""

    @dlt.resource(primary_key="id", write_disposition="merge")
    def customers() -> Iterator[list[dict[str, Any]]]:
        yield [{"id": 1, "code": "abc"}]

    @dlt.resource(primary_key="id", write_disposition="merge", columns=_CODE)
    def orders() -> Iterator[list[dict[str, Any]]]:
        yield [{"id": 1, "code": "abc"}, {"id": 2, "code": "abcd"}]

    @dlt.resource(
        table_name=lambda row: f"ev_{row['kind']}",
        primary_key="id",
        write_disposition="merge",
        columns=_CODE,
    )
    def events() -> Iterator[list[dict[str, Any]]]:
        yield [{"id": 1, "kind": "buy", "code": "a"}, {"id": 2, "kind": "buy", "code": "abcd"}]
        yield [{"id": 3, "kind": "click", "code": "a"}, {"id": 4, "kind": "click", "code": "abcd"}]

    return customers, orders, events
