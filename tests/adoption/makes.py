"""dlt pipelines of different make, whose rows change from load to load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dlt

ITEMS = ({"sku": "a", "sizes": [1, 2]}, {"sku": "b", "sizes": []})


class Shop:
    """What the sources read: `step` is the number of the load."""

    step = 0
    asked: list[Any] = []  # noqa: RUF012 (one shop for all)

    @classmethod
    def orders(cls) -> list[dict[str, Any]]:
        """Ten more each time; the first of the earlier ones is changed."""
        rows = [cls._order(i, 1 + i // 10) for i in range(10 * cls.step)]
        if cls.step > 1:
            rows[0] = {**cls._order(0, cls.step), "price": 100.5 + cls.step, "items": ITEMS[:1]}
        return rows

    @classmethod
    def _order(cls, number: int, changed: int) -> dict[str, Any]:
        return {
            "id": number,
            "changed": changed,
            "price": number * 1.5,
            "customerName": f"name {number}",
            "items": [{**item, "order": number} for item in ITEMS],
        }


def _asked(incremental: Any) -> None:
    Shop.asked.append(incremental.last_value)


def append() -> Any:
    @dlt.resource(name="events")
    def events(at: Any = dlt.sources.incremental("changed", initial_value=0)) -> Iterator[Any]:  # noqa: B008
        _asked(at)
        # the last moment comes again: dlt knows its rows by their hashes
        yield [row for row in Shop.orders() if row["id"] != 0]

    return events


def merge(**hints: Any) -> Any:
    @dlt.resource(name="orders", primary_key="id", write_disposition="merge", **hints)
    def orders(
        changed: Any = dlt.sources.incremental("changed", initial_value=0),  # noqa: B008
    ) -> Iterator[Any]:
        _asked(changed)
        yield Shop.orders()

    return orders


def upsert() -> Any:
    @dlt.resource(
        name="orders",
        primary_key="id",
        write_disposition={"disposition": "merge", "strategy": "upsert"},
    )
    def orders() -> Iterator[Any]:
        yield Shop.orders()[-15:]

    return orders


def replace() -> Any:
    return dlt.resource(lambda: Shop.orders()[-3:], name="orders", write_disposition="replace")


def scd2() -> Any:
    return dlt.resource(
        lambda: [{key: row[key] for key in ("id", "price")} for row in Shop.orders()],
        name="prices",
        write_disposition={"disposition": "merge", "strategy": "scd2"},
    )


def lag() -> Any:
    @dlt.resource(name="orders", primary_key="id", write_disposition="merge")
    def orders(
        changed: Any = dlt.sources.incremental("changed", initial_value=0, lag=1),  # noqa: B008
    ) -> Iterator[Any]:
        _asked(changed)
        yield [row for row in Shop.orders() if row["changed"] >= changed.last_value]

    return orders


@dlt.source(name="several")
def several() -> Any:
    return merge(), append(), replace().with_name("last_orders")


@dlt.source(name="repositories")
def transformer() -> Any:
    @dlt.resource(selected=False)
    def customers(
        changed: Any = dlt.sources.incremental("changed", initial_value=0),  # noqa: B008
    ) -> Iterator[Any]:
        _asked(changed)
        yield Shop.orders()

    @dlt.transformer(data_from=customers, write_disposition="append")
    def visits(rows: Sequence[Any]) -> Iterator[Any]:
        for row in rows:
            yield {"id": row["id"], "changed": row["changed"], "pages": [{"n": row["id"]}]}

    return customers, visits


def nested_hints() -> Any:
    return merge(
        nested_hints={
            "items": dlt.mark.make_nested_hints(columns=[{"name": "order", "data_type": "double"}])
        }
    )


def shallow() -> Any:
    return merge(max_table_nesting=1)


@dlt.source(name="shared")
def one_table() -> Any:
    """Two resources that load into one table."""
    return [
        dlt.resource(
            lambda rest=rest: [row for row in Shop.orders() if row["id"] % 2 == rest],
            name=name,
            table_name="orders",
            primary_key="id",
            write_disposition="merge",
        )
        for rest, name in enumerate(("even", "odd"))
    ]


@dlt.source(name="counted")
def source_state() -> Any:
    """Two resources that count in one state of their source, and one that leaves it alone."""

    def counter(name: str) -> Any:
        def count() -> Iterator[Any]:
            counts = dlt.current.source_state().setdefault("counts", {})
            counts[name] = counts.get(name, 0) + 1
            yield {"id": counts[name], "step": Shop.step}

        return dlt.resource(count, name=name, write_disposition="append")

    return counter("pages"), counter("lines"), replace()


def by_row() -> Any:
    """The rows choose their table."""
    return dlt.resource(
        lambda: [
            {"id": row["id"], "kind": f"kind_{row['id'] % 2}", "price": row["price"]}
            for row in Shop.orders()
        ],
        name="orders",
        table_name=lambda row: row["kind"],
        primary_key="id",
        write_disposition="merge",
    )


def marked() -> Any:
    """The rows choose their table, by a mark."""

    @dlt.resource(name="orders")
    def orders(at: Any = dlt.sources.incremental("changed", initial_value=0)) -> Iterator[Any]:  # noqa: B008
        _asked(at)
        for row in Shop.orders():
            if row["id"] != 0:
                kept = {key: row[key] for key in ("id", "changed", "price")}
                yield dlt.mark.with_table_name(kept, f"kind_{row['id'] % 2}")

    return orders


@dataclass(frozen=True)
class Make:
    """A pipeline of one make.

    Attributes:
        tables: the columns to compare, by table, parents before their children.
        asked: what its cursor begins with at the third load.
        streams: what `schema.yaml` has of it.
        environment: of the script, and of Millstream.
    """

    name: str
    source: Callable[[], Any]
    tables: Mapping[str, str]
    asked: Any = None
    environment: Mapping[str, str] = field(default_factory=dict)


_ORDERS = {"orders": "id, changed, price", "orders__items": "sku"}
_SIZES = {"orders__items__sizes": "value"}

MAKES = [
    Make("append", append, {"events": "id, changed, price", "events__items": "sku"}, 2),
    Make("merge", merge, {**_ORDERS, **_SIZES}, 2),
    Make("upsert", upsert, {**_ORDERS, **_SIZES}),
    Make("replace", replace, _ORDERS),
    Make("scd2", scd2, {"prices": "id, price, _dlt_valid_to IS NULL AS is_current"}),
    Make("lag", lag, _ORDERS, 1),
    Make(
        "several",
        several,
        {**_ORDERS, "events": "id, changed, price", "last_orders": "id, price"},
        2,
    ),
    Make("transformer", transformer, {"visits": "id, changed", "visits__pages": "n"}, 2),
    Make("nested_hints", nested_hints, {"orders": "id, price", "orders__items": 'sku, "order"'}, 2),
    Make(
        "naming",
        merge,
        {"orders": 'id, changed, "customerName"', "orders__items": "sku"},
        2,
        {"SCHEMA__NAMING": "sql_cs_v1"},
    ),
    Make("shallow", shallow, {"orders": "id, price", "orders__items": "sku"}, 2),
    Make("one_table", one_table, _ORDERS),
    Make(
        "source_state",
        source_state,
        {"pages": "id, step", "lines": "id, step", "orders": "id, price"},
    ),
    Make("by_row", by_row, {"kind_0": "id, price", "kind_1": "id, price"}),
    Make("marked", marked, {"kind_0": "id, price", "kind_1": "id, price"}, 2),
]
