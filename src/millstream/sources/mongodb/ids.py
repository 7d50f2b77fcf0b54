"""`_id` as one column that tells every document apart, whatever types the ids have.

dlt puts a value that does not fit a column's type into another column, which leaves null in the
primary key. So the kind of a stream's ids is fixed at the first load. How an id is written depends
on the id and that kind alone: another document of the collection never changes it. What a kind does
not write plainly becomes its Extended JSON, which no plain id of that kind can equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from bson import Binary, ObjectId, json_util
from bson.codec_options import DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64

from millstream.errors import ConfigError
from millstream.sources.mongodb.values import plain_date

BsonKind = Literal["oid", "uuid", "text", "int", "date"]
"""The types that can be written plainly."""

Kind = Literal["any", "any_uuid", "text", "int", "date", "oid", "uuid"]
"""What a stream's ids are; `oid` and `uuid` are of streams that an earlier version began."""

_JSON = r'[{"]|(null|true|false)$'
_HEX = r"[0-9a-f]{24}$"
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

HEX_TEXT = f"^{_HEX}"
"""A text that looks like an ObjectId, as MongoDB's regular expressions have it."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a kind writes ids.

    Attributes:
        data_type: of the column.
        plain: the types that are written plainly.
        quoted: the texts among them that another id could equal, and that become JSON texts.
    """

    data_type: Literal["text", "bigint", "timestamp"]
    plain: frozenset[BsonKind]
    quoted: Callable[[str], object] = re.compile(_JSON).match


FORMS: dict[Kind, Form] = {
    "any": Form("text", frozenset(("oid", "text")), re.compile(f"{_JSON}|{_HEX}").match),
    "any_uuid": Form(
        "text", frozenset(("oid", "uuid", "text")), re.compile(f"{_JSON}|{_HEX}|{_UUID}").match
    ),
    "text": Form("text", frozenset(("text",))),
    "int": Form("bigint", frozenset(("int",))),
    "date": Form("timestamp", frozenset(("date",))),
    "oid": Form("text", frozenset(("oid",))),
    "uuid": Form("text", frozenset(("uuid",))),
}

LASTING: frozenset[Kind | None] = frozenset(("any", "any_uuid", "text"))
"""The kinds that hold any id, and that a full load keeps."""

DATA_TYPE = {kind: form.data_type for kind, form in FORMS.items()}

OF_COLUMN: dict[str, Kind] = {"text": "any", "bigint": "int", "timestamp": "date"}
"""The kind that writes into a column of a type that is there."""


def text_kind(*, object_ids: bool, uuids: bool, hex_texts: Callable[[], bool]) -> Kind:
    """The kind of ids that are neither all integers nor all dates.

    Args:
        object_ids, uuids: whether there are such ids.
        hex_texts: whether a text looks like an ObjectId; asked only where that matters.
    """
    # 24 digits stand for ObjectIds, unless the collection has such texts in their place
    if not object_ids and hex_texts():
        return "text"
    return "any_uuid" if uuids else "any"


def kind_of(values: Iterable[Any]) -> Kind:
    """The kind of these ids, of which there must be one."""
    values = list(values)
    kinds = {bson_kind(value) for value in values}
    if kinds in ({"int"}, {"date"}):
        return "int" if kinds == {"int"} else "date"
    hex_text = re.compile(HEX_TEXT).match
    return text_kind(
        object_ids="oid" in kinds,
        uuids="uuid" in kinds,
        hex_texts=lambda: any(isinstance(each, str) and hex_text(each) for each in values),
    )


def bson_kind(value: Any) -> BsonKind | None:
    """The type of an id, None where it can't be written plainly."""
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

    What a column of numbers or dates can't hold is written as text, which exact coercion refuses:
    the row goes to quarantine.
    """
    form, own = FORMS[kind], bson_kind(value)
    if own in form.plain:
        if own == "oid":
            return value.binary.hex()
        if own == "uuid":
            return str(UUID(bytes=bytes(value)))
        if own == "date":
            return value if isinstance(value, datetime) else plain_date(int(value))
        if own == "int" or not form.quoted(value):
            return value
    return plain(value, "any") if kind in ("int", "date") else extended(value)


def missing(what: str) -> ConfigError:
    """The error of a view whose documents can't be replaced, since they have no `_id`."""
    return ConfigError(
        f"{what}: documents without an `_id` can't be read by a cursor: nothing tells which rows "
        "they replace",
        hint="have the view keep `_id`, or load it without `cursor`",
    )


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
