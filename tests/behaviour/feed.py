"""A dlt source whose rows a test sets, and which knows whether it was asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dlt


@dataclass
class Feed:
    rows: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    error: Exception | None = None
    window: tuple[Any, ...] = ()

    def reset(self) -> None:
        self.rows, self.asked, self.error = [], 0, None


FEED = Feed()


def orders(write_disposition: str = "merge") -> Any:
    """A resource `orders` that yields whatever the test put into FEED."""

    @dlt.resource(name="orders", primary_key="id", write_disposition=write_disposition)
    def rows() -> Iterator[list[dict[str, Any]]]:
        FEED.asked += 1
        if FEED.rows:
            yield FEED.rows

    return rows


def since(write_disposition: str = "merge") -> Any:
    """The same with a cursor: only rows that changed after the newest one loaded so far."""

    @dlt.resource(name="orders", primary_key="id", write_disposition=write_disposition)
    def rows(
        changed: Any = dlt.sources.incremental("changed", initial_value=0),  # noqa: B008 (dlt's way)
    ) -> Iterator[list[dict[str, Any]]]:
        FEED.asked += 1
        if FEED.error is not None:
            raise FEED.error
        # what the source is asked for, not only what dlt keeps of the answer
        FEED.cursor = changed.last_value  # type: ignore[attr-defined]
        if FEED.rows:
            yield FEED.rows

    return rows


def shelves(count: int = 4) -> Any:
    """A source of several streams, each with a child table."""

    def rows(number: int) -> Any:
        return dlt.resource(
            [{"id": i, "shelf": number, "books": [{"n": i}]} for i in range(50)],
            name=f"shelf_{number}",
            primary_key="id",
            write_disposition="merge",
        )

    @dlt.source(name="shelves")
    def source() -> Any:
        return [rows(number) for number in range(count)]

    return source()


def guarded(
    write_disposition: str = "append",
    contract: Any = "discard_row",
    key: str | None = None,
    columns: Any = None,
) -> Any:
    """A resource `orders` with a contract on its columns and their types, and a cursor."""

    @dlt.resource(
        name="orders",
        primary_key=key,
        write_disposition=write_disposition,  # type: ignore[call-overload]
        columns=columns,
        schema_contract={"tables": "evolve", "columns": contract, "data_type": contract},
    )
    def rows() -> Iterator[list[dict[str, Any]]]:
        state = dlt.current.resource_state()
        state["asked"] = FEED.asked = state.get("asked", 0) + 1
        if FEED.rows:
            yield FEED.rows

    return rows


def between() -> Any:
    """A resource with a cursor of its own, which tells what it was asked for."""

    @dlt.resource(name="orders", primary_key="id", write_disposition="merge")
    def rows(
        at: Any = dlt.sources.incremental("at", initial_value=None),  # noqa: B008 (dlt's way)
    ) -> Iterator[list[dict[str, Any]]]:
        FEED.window = (at.last_value.isoformat(), at.end_value.isoformat())
        yield FEED.rows

    return rows


def asked_for(since: Any, until: Any, name: str) -> Any:
    """A resource whose function is told the window."""
    FEED.window = (since, until, name)
    return dlt.resource(FEED.rows, name="orders", primary_key="id", write_disposition="merge")


def hours() -> Any:
    """Five rows an hour for 100 hours; later ones have a field more."""

    @dlt.resource(name="orders", write_disposition="append")
    def rows() -> Iterator[list[dict[str, Any]]]:
        for hour in range(100):
            at = f"2024-01-{1 + hour // 24:02}T{hour % 24:02}:30:00Z"
            late = {"late": True} if hour >= 50 else {}
            yield [
                {"id": hour * 5 + n, "at": at, "books": [{"n": 1}, {"n": 2}], **late}
                for n in range(5)
            ]

    return rows


def keyed(nested_key: str | None = None, write_disposition: str = "merge") -> Any:
    """A resource `orders` with a key, and on demand one of its lines, too."""
    nested: Any = {"lines": {"primary_key": nested_key}} if nested_key else None

    @dlt.resource(
        name="orders",
        primary_key="id",
        write_disposition=write_disposition,  # type: ignore[call-overload]
        nested_hints=nested,
    )
    def rows() -> Iterator[list[dict[str, Any]]]:
        for start in range(0, len(FEED.rows), 1000):
            yield FEED.rows[start : start + 1000]

    return rows


def disposed(write_disposition: Any = "append", key: str | None = "id", columns: Any = None) -> Any:
    """A resource `orders`, written as the test says."""

    @dlt.resource(
        name="orders", primary_key=key, write_disposition=write_disposition, columns=columns
    )
    def rows() -> Iterator[list[dict[str, Any]]]:
        FEED.asked += 1
        yield FEED.rows

    return rows


def versions(
    strategy: str = "delete-insert",
    key: Any = "id",
    hints: Any = None,
    page: int = 700,
    form: str = "rows",
    disposition: str = "merge",
) -> Any:
    """A resource `orders` of FEED's rows, page by page, merged by a strategy.

    Args:
        form: `rows`, or `arrow` for Arrow tables.
    """

    merged = {"disposition": "merge", "strategy": strategy}

    @dlt.resource(
        name="orders",
        primary_key=key,
        write_disposition=merged if disposition == "merge" else disposition,  # type: ignore[call-overload]
        columns=hints,
    )
    def rows() -> Iterator[Any]:
        for start in range(0, len(FEED.rows), page):
            found = FEED.rows[start : start + page]
            if form == "arrow":
                import pyarrow as pa

                yield pa.Table.from_pylist(found)
            else:
                yield found

    return rows


def priced() -> Any:
    """A resource `orders` whose columns hold few digits."""
    return dlt.resource(
        FEED.rows,
        name="orders",
        primary_key="id",
        write_disposition="merge",
        columns={
            "price": {"data_type": "decimal", "precision": 10, "scale": 2},
            "size": {"data_type": "bigint", "precision": 16},
        },
    )


def valued() -> Any:
    """A resource `orders` of many types; `doc` is kept whole."""
    return dlt.resource(
        lambda: iter([FEED.rows]),
        name="orders",
        write_disposition="append",
        columns={
            "doc": {"data_type": "json"},
            "n": {"data_type": "bigint"},
            "price": {"data_type": "decimal"},
        },
    )


def limited() -> Any:
    """A resource `orders` with columns of limited length, and objects kept as JSON."""
    return dlt.resource(
        FEED.rows,
        name="orders",
        primary_key="id",
        write_disposition="merge",
        max_table_nesting=0,
        columns={
            "code": {"data_type": "text", "precision": 3},
            "raw": {"data_type": "binary", "precision": 2},
        },
    )


def tables() -> Any:
    """A resource `orders` of Arrow tables or frames, with columns that hold little."""

    @dlt.resource(
        name="orders",
        primary_key="id",
        write_disposition="merge",
        columns={
            "code": {"data_type": "text", "precision": 3},
            "price": {"data_type": "decimal", "precision": 5, "scale": 2},
        },
    )
    def rows() -> Iterator[Any]:
        yield from FEED.rows

    return rows


def items(how: str = "append") -> Any:
    """A resource `orders` of whatever items, written or merged as `how` says."""
    merged: Any = {"disposition": "merge", "strategy": how}
    key = None if how in ("append", "replace", "scd2") else "id"

    @dlt.resource(
        name="orders",
        primary_key=key,
        write_disposition=how if how in ("append", "replace") else merged,  # type: ignore[call-overload]
    )
    def rows() -> Iterator[Any]:
        yield from FEED.rows

    return rows
