"""Incremental reads: what is at or above the highest value of a field that earlier runs saw.

MongoDB compares within a type: `{$gte: 5}` finds no text. So the highest value is kept per type,
and values of types that have none, nulls and missing fields are read each time: nothing is left
behind, and since rows merge on `_id`, nothing is doubled, ties included.

The highest values are the server's, from before the read: what is written meanwhile is read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bson.datetime_ms import DatetimeMS

from millstream.sources.mongodb import ids
from millstream.sources.mongodb.encode import EXACT

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection

_NUMBERS = ["int", "long", "double", "decimal"]
_ORDERED = ("number", "string", "objectId", "bool", "date", "timestamp", "binData")
_OTHERS = (
    "array",
    "dbPointer",
    "javascript",
    "javascriptWithScope",
    "maxKey",
    "minKey",
    "object",
    "regex",
    "symbol",
    "undefined",
)

Highest = Mapping[str, str]
"""By MongoDB's name of the type, the highest value as Extended JSON."""


def highest(
    collection: Collection[Any], query: Mapping[str, Any], field: str, session: ClientSession | None
) -> dict[str, str]:
    """The highest value of the field per type, among the documents that the query finds."""
    kind = {"$type": f"${field}"}
    groups = collection.with_options(codec_options=EXACT).aggregate(
        [
            {"$match": dict(query)},
            {
                "$group": {
                    "_id": {"$cond": [{"$in": [kind, _NUMBERS]}, "number", kind]},
                    "highest": {"$max": f"${field}"},
                }
            },
        ],
        session=session,
    )
    return {
        group["_id"]: ids.extended([group["highest"]])
        for group in groups
        if group["_id"] in _ORDERED and group["highest"] == group["highest"]  # NaN is the lowest
    }


def keys(
    collection: Collection[Any],
    query: Mapping[str, Any],
    what: str,
    session: ClientSession | None,
) -> list[Any]:
    """The ids that the query finds, each once.

    Raises:
        ConfigError: a document has none.
    """
    found: dict[str, Any] = {}
    exact = collection.with_options(codec_options=EXACT)
    for document in exact.find(dict(query), {"_id": 1}, session=session):
        if "_id" not in document:
            raise ids.missing(what)
        found[ids.extended(document["_id"])] = document["_id"]
    return list(found.values())


def batches(found: Sequence[Any]) -> Iterator[list[Any]]:
    """Ids in lists that fit into a query each."""
    batch: list[Any] = []
    size = 0
    for each in found:
        batch.append(each)
        size += len(ids.extended(each)) + 24
        if size > _QUERY_BYTES or len(batch) == _QUERY_IDS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


_QUERY_IDS = 20_000
_QUERY_BYTES = 4 << 20


def merged(old: Highest, new: Highest) -> dict[str, str]:
    """The types of both; where both have one, the new value, which is not below the old one."""
    return {**old, **new}


def condition(field: str, seen: Highest, lag: float) -> dict[str, Any]:
    """The query for what the next run reads.

    Args:
        lag: how far behind the highest value to begin: seconds of dates, units of numbers.

    >>> condition("n", {"number": '[{"$numberInt":"0"}]'}, 0)["$or"][0]
    {'n': {'$gte': 0}}
    """
    found: list[dict[str, Any]] = [
        {field: {"$gte": _behind(ids.from_extended(text)[0], lag)}} for text in seen.values()
    ]
    found.append({field: None})  # null or missing
    if "number" in seen:
        found.append({field: float("nan")})
    found.append({field: {"$type": [*_OTHERS, *(kind for kind in _ORDERED if kind not in seen)]}})
    return {"$or": found}


def _behind(value: Any, lag: float) -> Any:
    if not lag:
        return value
    if isinstance(value, DatetimeMS):
        return DatetimeMS(int(int(value) - lag * 1000))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value - lag
    return value
