"""`_id` as one column that tells every document apart, whatever types the ids have.

dlt puts a value that does not fit a column's type into another column, which leaves null in the
primary key. So the kind of `_id` is fixed at the first load: ids of that kind stay as they are, all
others become their Extended JSON, which no plain id of that kind can equal.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from bson import Binary, ObjectId, json_util
from bson.codec_options import DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64

from millstream.errors import SourceDataError
from millstream.sources.mongodb.values import plain_date

Kind = Literal["oid", "uuid", "text", "int", "date"]

DATA_TYPE: dict[Kind, Literal["text", "bigint", "timestamp"]] = {
    "oid": "text",
    "uuid": "text",
    "text": "text",
    "int": "bigint",
    "date": "timestamp",
}


def kind_between(first: Any, last: Any, *, whole_numbers: bool) -> Kind:
    """The kind of a collection's ids from the lowest and the highest in MongoDB's order of types.

    An index holds the ids of one type side by side, so that all between two of a type are of it.

    Args:
        whole_numbers: whether every number among the ids is an integer: to MongoDB, 5 and 5.5 are
            of one type.
    """
    first_kind, last_kind = _kind(first), _kind(last)
    if first_kind != last_kind or first_kind is None:
        return "text"
    if first_kind == "int" and not whole_numbers:
        return "text"
    return first_kind


_LIKE_JSON = re.compile(r'[{"]|(null|true|false)$').match
"""Texts that another id's Extended JSON may equal: they are written as JSON themselves."""


def _kind(value: Any) -> Kind | None:
    if isinstance(value, ObjectId):
        return "oid"
    if isinstance(value, Binary) and value.subtype == 4 and len(value) == 16:
        return "uuid"
    if type(value) in (int, Int64):
        return "int"
    if isinstance(value, DatetimeMS):
        value = plain_date(int(value))
    if isinstance(value, datetime):
        return "date"
    return "text" if isinstance(value, str) else None


def plain(value: Any, kind: Kind) -> Any:
    """The id as its column holds it; equal for equal ids alone.

    Raises:
        SourceDataError: the column, of numbers or dates, can't hold it.
    """
    if _kind(value) == kind:
        if kind == "oid":
            return value.binary.hex()
        if kind == "uuid":
            return str(UUID(bytes=bytes(value)))
        if kind == "date":
            return value if isinstance(value, datetime) else plain_date(int(value))
        if kind == "int" or not _LIKE_JSON(value):
            return value
    if kind in ("int", "date"):
        raise SourceDataError(
            f"an `_id` of type {type(value).__name__} among those of type {kind}: "
            f"{extended(value)[:80]}",
            hint="`_id` must become text: run with --full-refresh, which says how",
        )
    return extended(value)


def extended(value: Any) -> str:
    """Canonical Extended JSON, which tells all BSON types apart."""
    return json_util.dumps(
        value, json_options=json_util.CANONICAL_JSON_OPTIONS, separators=(",", ":")
    )


def from_extended(text: str) -> Any:
    """The value again, dates as milliseconds and UUIDs as binary: nothing is out of range."""
    return json_util.loads(text, json_options=_LOSSLESS)


_LOSSLESS = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)
