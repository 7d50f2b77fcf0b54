"""How all of a collection is read: from where a load that broke off stopped, or in new ranges."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bson import Binary

from millstream.sources.mongodb import ids, ranges
from millstream.sources.mongodb.identity import Identity
from millstream.sources.mongodb.load_spec import LoadSpec
from millstream.sources.mongodb.loads import change_stream, cursor
from millstream.sources.mongodb.range_reader import again
from millstream.sources.mongodb.spool import Spool

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection

logger = logging.getLogger(__name__)


def make(
    job: LoadSpec,
    collection: Collection[Any],
    found: Identity,
    parts: Spool,
    session: ClientSession | None,
    settled: Callable[[ids.Kind | None], ids.Kind | None],
) -> dict[str, Any]:
    """How to read all: the plan of a run that broke off, if it still holds, or a new one.

    Args:
        settled: the kind of ids to write, given that of those in the collection.
    """
    identity = {"fingerprint": job.fingerprint, **found.to_json()}
    old = parts.plan()
    if (
        old is not None
        and not job.full
        and old.get("identity") == identity
        and 0 <= time.time() - old["begun"] < job.config.resume_hours * 3600
    ):
        logger.info("%s: going on with a full load that broke off", job.what)
        return old
    plan: dict[str, Any] = {"identity": identity, "kind": None}

    def ask() -> None:
        # before anything is read: what changes from here on is the next run's
        if job.mode == "changes":
            plan["token"] = change_stream.start(collection)
        if job.mode == "cursor":
            assert job.settings.cursor is not None
            plan["highest"] = cursor.highest(collection, job.query, job.settings.cursor, session)
        if job.has_ids:
            plan["kind"] = settled(kind_of(job, collection, session))
        if job.has_index:
            # what is inserted into an empty collection from here on is the next run's, which
            # then knows what its ids are
            split = (
                ranges.split(collection, parallel=job.config.parallel, session=session)
                if plan["kind"] is not None
                else []
            )
            plan["ranges"] = [each.to_json() for each in split]

    again(job.what, ask)
    parts.begin(plan)
    return plan


def see_now(collection: Collection[Any], session: ClientSession | None) -> None:
    """Have a session see at least what the primary has now."""
    if session is not None:
        admin = collection.database.client.admin
        again("the MongoDB server", lambda: admin.command("ping", session=session))


def snapshot_columns(job: LoadSpec, plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """What each row of a full load gets, where changes are merged into it later."""
    if job.mode != "changes":
        return None
    at = change_stream.time_of(plan["token"])
    return {change_stream.CLUSTER_TIME: change_stream.readable_time(at)} if at is not None else None


def kind_of(
    job: LoadSpec, collection: Collection[Any], session: ClientSession | None
) -> ids.Kind | None:
    """What the `_id` of all documents is; None where there are none."""
    if job.has_index:
        return kind(collection, session)
    return view_kind(job, collection, session)


def kind(collection: Collection[Any], session: ClientSession | None) -> ids.Kind | None:
    """What the `_id` of all documents is; None where there are none."""

    def first(query: dict[str, Any], order: int = 1) -> Any:
        return collection.find_one(
            query, {"_id": 1}, sort=[("_id", order)], hint=[("_id", 1)], session=session
        )

    ends = first({}), first({}, -1)
    if ends[0] is None or ends[1] is None:
        return None
    # an index holds the ids of one type side by side: all between two of a type are of it
    kinds = {ids.bson_kind(end["_id"]) for end in ends}
    if kinds == {"date"}:
        return "date"
    # to MongoDB, 5 and 5.5 are of one type
    if kinds == {"int"} and first({"_id": {"$type": ["double", "decimal"]}}) is None:
        return "int"
    return ids.text_kind(
        object_ids=first({"_id": {"$type": "objectId"}}) is not None,
        uuids=first({"_id": _UUIDS}) is not None,
        hex_texts=lambda: first({"_id": {"$type": "string", "$regex": ids.HEX_TEXT}}) is not None,
    )


def view_kind(
    job: LoadSpec, collection: Collection[Any], session: ClientSession | None
) -> ids.Kind | None:
    """As `kind`, of a view, which has no index.

    Raises:
        ConfigError: there are documents without an `_id`.
    """
    groups = [{"$match": job.query}, {"$group": {"_id": {"$type": "$_id"}}}]
    types = {each["_id"] for each in collection.aggregate(groups, session=session)}
    if "missing" in types:
        raise ids.missing(job.what)
    if not types:
        return None
    if types == {"date"}:
        return "date"
    if types <= {"int", "long"}:
        return "int"
    hex_text = {"$and": [{"_id": {"$type": "string", "$regex": ids.HEX_TEXT}}, job.query]}
    return ids.text_kind(
        object_ids="objectId" in types,
        uuids="binData" in types,
        hex_texts=lambda: collection.find_one(hex_text, {"_id": 1}, session=session) is not None,
    )


_UUIDS = {"$gte": Binary(bytes(16), 4), "$lte": Binary(b"\xff" * 16, 4)}
"""MongoDB compares binary data by length, subtype and bytes."""
