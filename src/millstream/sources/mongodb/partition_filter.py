"""The query for the documents of one partition, which the server evaluates.

MongoDB compares within a type, so that a window of time finds dates alone; of the field `_id` it
finds ObjectIds, which begin with the second they were made in, and dates. Documents whose field
holds neither are in no window, and a run says so.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from millstream.model import Partition
from millstream.sources.partition import require_field

if TYPE_CHECKING:
    from pymongo.collection import Collection

logger = logging.getLogger(__name__)

_PATIENCE_MS = 2000
"""How long the server may look for documents in no window: without an index it reads all."""


def condition(partition: Partition, what: str) -> dict[str, Any]:
    """The query for the documents of a partition.

    Raises:
        ConfigError: no field is configured.

    >>> condition(Partition("eu", "region", value="eu"), "a test")
    {'region': 'eu'}
    """
    field = require_field(partition, what)
    if partition.window is None:
        return {field: partition.value}
    start, end = partition.window
    found: dict[str, Any] = {field: {"$gte": start, "$lt": end}}
    if field != "_id":
        return found
    made = {"$gte": _first_id(start), "$lt": _first_id(end)}
    return {"$or": [found, {field: made}]}


def tell_homeless(
    collection: Collection[Any], query: dict[str, Any], partition: Partition, what: str
) -> None:
    """Warn where there is a document that is in no window of time, if the server finds it soon."""
    from pymongo.errors import PyMongoError

    if partition.start is None or partition.by is None:
        return
    types = ["date", "objectId"] if partition.by == "_id" else ["date"]
    lost = {partition.by: {"$not": {"$type": types}}}
    try:
        found = collection.find_one({"$and": [query, lost]}, {"_id": 1}, max_time_ms=_PATIENCE_MS)
    except PyMongoError:
        return
    if found is not None:
        logger.warning(
            "%s: documents whose %r is no date are in no partition, such as _id %r",
            what,
            partition.by,
            found["_id"],
        )


def _first_id(moment: datetime) -> ObjectId:
    """The lowest id of a second, also before 1970, when ids are as high as if long after 2038."""
    return ObjectId.from_datetime(max(moment, datetime(1970, 1, 1, tzinfo=moment.tzinfo)))
