"""How all of a collection is read: from where a load that broke off stopped, or in new ranges."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from millstream.sources.mongodb import changes, cursor, ids, ranges
from millstream.sources.mongodb.jobs import Job
from millstream.sources.mongodb.reading import again
from millstream.sources.mongodb.spool import Spool

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection

logger = logging.getLogger("millstream")


def make(
    job: Job, collection: Collection[Any], parts: Spool, session: ClientSession | None
) -> dict[str, Any]:
    """How to read all: the plan of a run that broke off, if it still holds, or a new one."""
    identity = f"{job.fingerprint} {uuid(collection)}"
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
            plan["token"] = changes.start(collection)
        if job.mode == "cursor":
            assert job.settings.cursor is not None
            plan["highest"] = cursor.highest(collection, job.query, job.settings.cursor, session)
        if job.has_index:
            plan["kind"] = kind(collection, session)
            found = ranges.split(collection, parallel=job.config.parallel, session=session)
            plan["ranges"] = [each.to_json() for each in found]

    again(job.what, ask)
    parts.begin(plan)
    return plan


def see_now(collection: Collection[Any], session: ClientSession | None) -> None:
    """Have a session see at least what the primary has now."""
    if session is not None:
        admin = collection.database.client.admin
        again("the MongoDB server", lambda: admin.command("ping", session=session))


def snapshot_columns(job: Job, plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """What each row of a full load gets, where changes are merged into it later."""
    if job.mode != "changes":
        return None
    at = changes.time_of(plan["token"])
    return {changes.CLUSTER_TIME: changes.readable_time(at)} if at is not None else None


def kind(collection: Collection[Any], session: ClientSession | None) -> ids.Kind | None:
    """What the `_id` of all documents is; None where there are none."""
    ends = [
        collection.find_one(
            {}, {"_id": 1}, sort=[("_id", order)], hint=[("_id", 1)], session=session
        )
        for order in (1, -1)
    ]
    if ends[0] is None or ends[1] is None:
        return None
    broken = collection.find_one(
        {"_id": {"$type": ["double", "decimal"]}}, {"_id": 1}, hint=[("_id", 1)], session=session
    )
    return ids.kind_between(ends[0]["_id"], ends[1]["_id"], whole_numbers=broken is None)


def uuid(collection: Collection[Any]) -> str:
    """Tells a collection from one of the same name that was made after it was dropped."""
    from pymongo.errors import PyMongoError

    try:
        for found in collection.database.list_collections(filter={"name": collection.name}):
            return str(found.get("info", {}).get("uuid", ""))
    except PyMongoError:
        pass  # may not be listed by this user
    return ""
