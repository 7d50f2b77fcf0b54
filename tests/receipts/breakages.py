"""A hundred ways to break what a load left, each by SQL, and what an audit must say of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ORDERS: list[dict[str, Any]] = [
    {
        "id": number,
        "name": f"order {number}",
        "made": f"2024-03-{1 + number % 28:02}T10:00:{number % 60:02}.250Z",
        "price": number + 0.125,
        "total": number * 7,
        "paid": number % 3 == 0,
        "note": f"n{number}" if number % 3 else number,
        "customer": {"name": f"customer {number}", "zip": f"{number:05}"},
        "lines": [
            {
                "sku": f"sku {number}-{line}",
                "qty": number + line,
                "price": number + line + 0.375,
                "made": f"2024-04-{1 + line:02}T{number % 24:02}:00:00Z",
                "gift": line == 1,
                "tags": [f"tag {number}-{line}-{tag}" for tag in range(2)],
            }
            for line in range(3)
        ],
    }
    for number in range(60)
]


@dataclass(frozen=True)
class Breakage:
    """One way.

    Attributes:
        table: the one that an audit must name.
        says: what it must say of it.
    """

    name: str
    statements: tuple[str, ...]
    table: str
    says: str


_ROOT, _LINES, _TAGS = "orders", "orders__lines", "orders__lines__tags"
_COLUMNS = {
    _ROOT: {
        "text": ["name", "customer__name", "customer__zip", "note__v_text"],
        "double": ["price"],
        "bigint": ["total", "note"],
        "bool": ["paid"],
        "timestamp": ["made"],
    },
    _LINES: {
        "text": ["sku"],
        "double": ["price"],
        "bigint": ["qty"],
        "bool": ["gift"],
        "timestamp": ["made"],
    },
    _TAGS: {"text": ["value"]},
}
_CHANGES = {
    "text": {
        "cut": "substr({0}, 1, length({0}) - 1)",
        "lengthened": "{0} || ' '",
        "in capitals": "upper({0}) || 'X'",
        "null": "NULL",
        "empty": "''",
    },
    "double": {
        "rounded": "round({0})",
        "negative": "-{0} - 1",
        "a bit more": "{0} + 0.0000001",
        "null": "NULL",
    },
    "bigint": {"one more": "{0} + 1", "negative": "-{0} - 1", "null": "NULL"},
    "bool": {"the opposite": "NOT {0}", "null": "NULL"},
    "timestamp": {
        "an hour later": "{0} + INTERVAL '1 hour'",
        "a microsecond later": "{0} + INTERVAL '1 microsecond'",
        "null": "NULL",
    },
}


def breakages() -> Iterator[Breakage]:
    """All of them; `{s}` in a statement is the schema of the tables."""
    for table, kinds in _COLUMNS.items():
        for kind, columns in kinds.items():
            for column in columns:
                for how, expression in _CHANGES[kind].items():
                    yield _changed(table, column, how, expression.format(column))
    for table, parent in ((_ROOT, None), (_LINES, _ROOT), (_TAGS, _LINES)):
        yield from _rows(table)
        yield from _everywhere(table)
        if parent:
            yield from _links(table)
    yield Breakage(
        "two rows exchange a value",
        (
            "UPDATE {s}.orders SET name = CASE name WHEN 'order 3' THEN 'order 4' ELSE 'order 3' "
            "END WHERE name IN ('order 3', 'order 4')",
        ),
        _ROOT,
        "rows hold one another's values",
    )
    yield Breakage(
        "a value in another column",
        ("UPDATE {s}.orders SET customer__zip = name WHERE id = 5",),
        _ROOT,
        "column `customer__zip` differs",
    )
    yield Breakage(
        "the type of a column",
        ("ALTER TABLE {s}.orders ALTER COLUMN price TYPE bigint",),
        _ROOT,
        "column `price` differs",
    )


def _changed(table: str, column: str, how: str, expression: str) -> Breakage:
    which = f"SELECT min(_dlt_id) FROM {{s}}.{table} WHERE {column} IS NOT NULL"
    return Breakage(
        f"{table}.{column}: {how}",
        (f"UPDATE {{s}}.{table} SET {column} = {expression} WHERE _dlt_id = ({which})",),
        table,
        f"column `{column.partition('__v_')[0]}` differs",
    )


def _everywhere(table: str) -> Iterator[Breakage]:
    """What a wrong type or a wrong setting does to each row."""
    for kind, how in (
        ("text", "cut"),
        ("double", "rounded"),
        ("timestamp", "an hour later"),
        ("bigint", "null"),
        ("bool", "the opposite"),
    ):
        for column in _COLUMNS[table].get(kind, ())[:1]:
            expression = _CHANGES[kind][how].format(column)
            yield Breakage(
                f"{table}.{column}: {how} in each row",
                (f"UPDATE {{s}}.{table} SET {column} = {expression}",),
                table,
                f"column `{column}` differs",
            )


def _rows(table: str) -> Iterator[Breakage]:
    one = f"(SELECT min(_dlt_id) FROM {{s}}.{table})"
    yield Breakage(
        f"{table}: a row less",
        (f"DELETE FROM {{s}}.{table} WHERE _dlt_id = {one}",),
        table,
        "1 row",
    )
    yield Breakage(
        f"{table}: a row twice",
        (f"INSERT INTO {{s}}.{table} SELECT * FROM {{s}}.{table} WHERE _dlt_id = {one}",),
        table,
        "too many",
    )
    yield Breakage(
        f"{table}: each row twice",
        (f"INSERT INTO {{s}}.{table} SELECT * FROM {{s}}.{table}",),
        table,
        "too many",
    )
    yield Breakage(
        f"{table}: half of the rows",
        (
            f"DELETE FROM {{s}}.{table} WHERE _dlt_id IN "
            f"(SELECT _dlt_id FROM {{s}}.{table} ORDER BY _dlt_id LIMIT 30)",
        ),
        table,
        "30 rows missing",
    )
    yield Breakage(
        f"{table}: a row in place of another",
        (
            f"DELETE FROM {{s}}.{table} WHERE _dlt_id = {one}",
            f"INSERT INTO {{s}}.{table} SELECT * FROM {{s}}.{table} WHERE _dlt_id = {one}",
        ),
        table,
        "differs",
    )
    yield Breakage(f"{table}: no rows", (f"DELETE FROM {{s}}.{table}",), table, "missing")
    if table == _TAGS:
        yield Breakage(
            f"{table}: no table", (f"DROP TABLE {{s}}.{table}",), table, "not in the destination"
        )


def _links(table: str) -> Iterator[Breakage]:
    ids = f"SELECT {{0}}(_dlt_parent_id) FROM {{{{s}}}}.{table}"
    low, high = ids.format("min"), ids.format("max")
    yield Breakage(
        f"{table}: parents exchanged",
        (
            f"UPDATE {{s}}.{table} SET _dlt_parent_id = CASE _dlt_parent_id WHEN ({low}) "
            f"THEN ({high}) ELSE ({low}) END WHERE _dlt_parent_id IN (({low}), ({high}))".replace(
                "{{s}}", "{s}"
            ),
        ),
        table,
        "another parent",
    )
    yield Breakage(
        f"{table}: a row on another parent",
        (
            f"UPDATE {{s}}.{table} SET _dlt_parent_id = ({high}) "
            f"WHERE _dlt_id = (SELECT min(_dlt_id) FROM {{s}}.{table})".replace("{{s}}", "{s}"),
        ),
        table,
        "another parent",
    )
    yield Breakage(
        f"{table}: another place in the list",
        (f"UPDATE {{s}}.{table} SET _dlt_list_idx = 1 - _dlt_list_idx WHERE _dlt_list_idx < 2",),
        table,
        "another place of their list",
    )
