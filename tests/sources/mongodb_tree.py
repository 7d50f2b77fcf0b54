"""What a load made of documents, put together again and compared with them value by value."""

from __future__ import annotations

import struct
from datetime import datetime, timezone
from typing import Any

from bson import Int64, ObjectId

from sources.mongodb_kit import Shop

UTC = timezone.utc


def bits(value: Any) -> Any:
    """A value that equals another only if it is the same: -0.0 == 0.0, and NaN equals nothing."""
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


class Tree:
    """The tables of one stream, joined again by dlt's keys."""

    def __init__(self, shop: Shop, root: str) -> None:
        self.tables: dict[str, dict[str, list[dict[str, Any]]]] = {}
        names = shop.query(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'shop' "
            f"AND (table_name = '{root}' OR starts_with(table_name, '{root}__'))"
        )
        for (name,) in names:
            columns = [
                name
                for (name,) in shop.query(
                    "SELECT column_name FROM information_schema.columns "
                    f"WHERE table_schema = 'shop' AND table_name = '{name}'"
                )
            ]
            order = "_dlt_list_idx" if name != root else "_id"
            children = self.tables.setdefault(name, {})
            for values in shop.rows(name, *columns, order=order):
                row = dict(zip(columns, values))
                children.setdefault(row.get("_dlt_parent_id", ""), []).append(row)

    def check(self, table: str, row: dict[str, Any], document: Any) -> int:
        """Compare a row and all below it with its document; how many values were compared."""
        from dlt.common.normalizers.naming.snake_case import NamingConvention

        naming = NamingConvention()
        expected: dict[str, Any] = {}
        lists: dict[str, list[Any]] = {}

        def flatten(value: Any, path: tuple[str, ...]) -> None:
            if isinstance(value, dict):
                for key, each in value.items():
                    flatten(each, (*path, naming.normalize_identifier(key)))
            elif isinstance(value, list):
                lists["__".join((table, *(path or ("list",))))] = value
            elif value is not None:
                expected["__".join(path) or "value"] = plain(value)

        flatten(document, ())
        found = {k: v for k, v in row.items() if not k.startswith("_dlt") and v is not None}
        assert {k: bits(v) for k, v in found.items()} == {k: bits(v) for k, v in expected.items()}
        count = len(found)
        for child, elements in lists.items():
            rows = self.tables.get(child, {}).get(row["_dlt_id"], [])
            assert len(rows) == len(elements)
            for index, (each, element) in enumerate(zip(rows, elements)):
                assert each["_dlt_list_idx"] == index
                count += self.check(child, each, element)
        return count


def plain(value: Any) -> Any:
    """What the reference says of the types that the sample collections have."""
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    return int(value) if isinstance(value, Int64) else value
