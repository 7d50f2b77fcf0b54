"""A MongoDB query as YAML holds it -> Extended JSON, which JSON can hold.

YAML turns 2024-01-04 without quotes into a date, and MongoDB compares dates with dates alone.
https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any

_WHOLE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,3}))?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?"
)


def to_extended_json(value: Any) -> Any:
    """The value with its dates, bytes and typed numbers in Extended JSON.

    >>> to_extended_json({"at": {"$gte": date(2024, 1, 4)}})
    {'at': {'$gte': {'$date': '2024-01-04T00:00:00.000Z'}}}
    >>> to_extended_json({"n": {"$numberLong": 5}})
    {'n': {'$numberLong': '5'}}

    Raises:
        ValueError: a value has no form in Extended JSON, or is not what its `$...` says.
    """
    if isinstance(value, Mapping):
        if len(value) == 1:
            ((key, inner),) = value.items()
            if key in _TYPED:
                return {key: _TYPED[key](inner)}
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r} is not text: put it in quotes")
        return {key: to_extended_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_extended_json(inner) for inner in value]
    if isinstance(value, date):
        return {"$date": _date(value)}
    if isinstance(value, bytes):
        return {"$binary": {"base64": b64encode(value).decode(), "subType": "00"}}
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(f"{type(value).__name__} has no form in Extended JSON")


def with_exact_dates(value: Any) -> Any:
    """Extended JSON with its dates as milliseconds: parsers of texts may lose one.

    >>> with_exact_dates({"at": {"$date": "1970-01-01T00:00:01.029+00:00"}})
    {'at': {'$date': {'$numberLong': '1029'}}}
    """
    if isinstance(value, list):
        return [with_exact_dates(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    if set(value) == {"$date"} and isinstance(value["$date"], str):
        found = _WHOLE.fullmatch(value["$date"])
        if found is None:
            return value
        head, fraction, sign, hours, minutes = found.groups()
        moment = datetime.fromisoformat(head)
        seconds = (moment - datetime(1970, 1, 1)) // timedelta(seconds=1)
        offset = int(hours or 0) * 3600 + int(minutes or 0) * 60
        seconds -= -offset if sign == "-" else offset
        return {"$date": {"$numberLong": str(seconds * 1000 + int((fraction or "").ljust(3, "0")))}}
    return {key: with_exact_dates(inner) for key, inner in value.items()}


def _date(value: Any) -> Any:
    if isinstance(value, str):
        whole = _WHOLE.fullmatch(value)
        try:
            moment = datetime.fromisoformat(whole[1] if whole else value.replace("Z", "+00:00"))
        except ValueError:
            raise ValueError(
                f"$date: {value!r} is not a time such as 2024-01-31T00:00:00Z"
            ) from None
        if whole:
            return value
        value = moment
    if isinstance(value, Mapping) and set(value) == {"$numberLong"}:
        return {"$numberLong": _integer(value["$numberLong"])}
    if isinstance(value, int) and not isinstance(value, bool):  # milliseconds since 1970
        return {"$numberLong": str(value)}
    if not isinstance(value, date):
        raise ValueError(f"$date: {value!r} is not a time such as 2024-01-31T00:00:00Z")
    moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    if moment.microsecond % 1000:
        raise ValueError(f"$date: {value} is more exact than MongoDB's dates: milliseconds")
    if moment.tzinfo is not None:  # without a zone, YAML means UTC
        moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def _integer(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return value
    raise ValueError(f"{value!r} is not an integer in quotes")


def _double(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _object_id(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f]{24}", value):
        return value
    raise ValueError(f"$oid: {value!r} is not 24 hexadecimal digits in quotes")


def _decimal(value: Any) -> Any:
    if isinstance(value, str):
        return value
    raise ValueError(f"$numberDecimal: put {value!r} in quotes, so that no digit is lost")


_TYPED: dict[str, Callable[[Any], Any]] = {
    "$date": _date,
    "$numberLong": _integer,
    "$numberInt": _integer,
    "$numberDouble": _double,
    "$numberDecimal": _decimal,
    "$oid": _object_id,
}
"""What stands under a key of Extended JSON -> as a JSON parser of it wants it."""
