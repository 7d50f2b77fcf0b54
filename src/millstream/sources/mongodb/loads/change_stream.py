"""Change streams: which documents changed since the last run, and how they look now.

The stream tells ids; the documents are then read by these ids, in bulk, with the filter and the
projection of a full load. A document that changed twice is read once, one that no longer passes the
filter is deleted as one that is gone, and an event never exceeds the 16 MB that a change event may
have. The full load that comes first starts the stream before it reads: what changes meanwhile is in
the next run's events, and reading a document again does no harm.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bson import Timestamp
from bson import encode as encode_bson

from millstream.common.retry import Retries
from millstream.errors import SourceError
from millstream.formats.deletions import DELETED, MARKS_DELETIONS
from millstream.quarantine.store import Entry
from millstream.sources.mongodb import connection, errors, ids
from millstream.sources.mongodb.encode import EXACT, Encoded, Encoder
from millstream.sources.mongodb.values import EPOCH

if TYPE_CHECKING:
    from pymongo.collection import Collection

CLUSTER_TIME = "_cluster_time"
DELETED_AT = "deleted_at"

FLUSH = 20_000
_ATTEMPTS = 6
_IDLE_SECONDS = 30.0
_WRITES = ("insert", "update", "replace", "delete")
_GONE = ("drop", "rename", "dropDatabase", "invalidate")


class LostTokenError(SourceError):
    """The changes since the last run can't be had any more; only a new full load helps."""


@dataclass(frozen=True, slots=True)
class Change:
    """The last thing that happened to a document."""

    id: Any
    deleted_at: datetime | None
    before: Mapping[str, Any] | None


def columns(deletes: str, *, merges: bool) -> dict[str, Any]:
    """The columns that rows get beside the document's fields.

    Args:
        merges: whether rows merge into the table; a full load replaces it.
    """
    found: dict[str, Any] = {
        CLUSTER_TIME: {
            "data_type": "timestamp",
            "description": "the document as it was at this time of the cluster, or later",
        }
    }
    if deletes == "hard":
        found[DELETED] = {"data_type": "bool"}
        if merges:
            found[DELETED]["hard_delete"] = True
    else:
        found[DELETED_AT] = {"data_type": "timestamp", MARKS_DELETIONS: True}
    if merges:
        found[CLUSTER_TIME]["dedup_sort"] = "desc"
    return found


def start(collection: Collection[Any]) -> str:
    """A token for now, as Extended JSON: a stream from it tells all that happens from here on.

    Raises:
        PyMongoError: no replica set, or not allowed.
    """
    with collection.watch(max_await_time_ms=1) as stream:
        token = stream.resume_token
        if token is None:  # a server that gives none before the first event
            stream.try_next()
            token = stream.resume_token
    if token is None:
        what = _name(collection)
        raise SourceError(f"{what}: the server gives no resume token", hint="MongoDB 4.2 or later")
    return ids.extended(token)


def readable_time(stamp: Timestamp) -> datetime:
    """A cluster time as a time that sorts alike: its counter within the second as microseconds."""
    return EPOCH + timedelta(seconds=stamp.time, microseconds=min(stamp.inc, 999_999))


def time_of(token: str) -> Timestamp | None:
    """The cluster time in a token: after the type 0x82, seconds and counter, big-endian.

    https://github.com/mongodb/mongo/blob/master/src/mongo/db/pipeline/README.md
    """
    data = ids.from_extended(token).get("_data")
    if not isinstance(data, str) or not data.startswith("82") or len(data) < 18:
        return None
    return Timestamp(int(data[2:10], 16), int(data[10:18], 16))


@dataclass
class ChangeStreamReader:
    """Follows one collection's changes.

    Attributes:
        token: where the stream is now, as Extended JSON; moves on as `batches` is read.
        query, projection: as in a full load.
        deletes: `hard` or `soft`.
        without_before: deletions whose last version the server no longer had.
        keys: the ids of all documents that changed, as rows hold them.
    """

    collection: Collection[Any]
    encoder: Encoder
    token: str
    query: dict[str, Any]
    projection: dict[str, int] | None
    deletes: str
    without_before: int = 0
    wait: float = 0.5
    keys: list[Any] = field(default_factory=list)

    def batches(self) -> Iterator[Encoded]:
        """The changed documents up to now, each as it is now, in lines to load.

        Raises:
            LostTokenError: the server can't continue from the token.
            SourceError: it can't be read.
        """
        changed: dict[str, Change] = {}
        until: Timestamp | None = None
        shown = EPOCH
        for key, change, at in self._events():
            if until is not None and at != until and len(changed) >= FLUSH:
                shown = max(readable_time(until), shown + timedelta(microseconds=1))
                yield from self._lines(changed, until, shown)
                changed = {}
            changed[key] = change
            until = at
        if until is not None:
            shown = max(readable_time(until), shown + timedelta(microseconds=1))
            yield from self._lines(changed, until, shown)

    def outdated(self, waiting: Callable[[], Sequence[Entry]]) -> list[Entry]:
        """Of the rows that wait in quarantine, those whose documents have changed or are deleted.

        They are read as they are by now, and an older version must not come back by a replay.

        Args:
            waiting: asked only where anything has changed.
        """
        entries = waiting() if self.keys else ()
        if not entries:
            return []
        changed = {self.encoder.dump([{"_id": key}]) for key in self.keys}
        return [entry for entry in entries if _id_line(entry) in changed]

    def _events(self) -> Iterator[tuple[str, Change, Timestamp]]:
        from pymongo.errors import PyMongoError

        retries = Retries(_ATTEMPTS, self.wait)
        end = self._now()
        while True:
            try:
                for event in self._open_stream(end):
                    retries.succeeded()
                    yield event
                return
            except PyMongoError as error:
                what = _name(self.collection)
                if errors.lost_token(error):
                    raise LostTokenError(
                        f"{what}: the server no longer has the changes since the last run",
                        hint="set `on_lost_token: resnapshot`, or run once with --full-refresh; a "
                        "larger oplog (replSetResizeOplog) or more frequent runs prevent it",
                    ) from None
                wait = retries.failed()
                if wait is None or not errors.passing(error):
                    raise errors.explain(error, what) from None
                retries.sleep(wait)

    def _open_stream(self, end: Timestamp) -> Iterator[tuple[str, Change, Timestamp]]:
        options: dict[str, Any] = {"resume_after": ids.from_extended(self.token)}
        if self.deletes == "soft":
            options["full_document_before_change"] = "whenAvailable"
        idle_since = None
        exact = self.collection.with_options(codec_options=EXACT)
        with exact.watch(self._pipeline(), max_await_time_ms=200, **options) as stream:
            while True:
                event = stream.try_next()
                if event is not None:
                    idle_since = None
                    found = self._change(event)
                    self.token = ids.extended(event["_id"])
                    if found is not None:
                        yield found
                    if event["clusterTime"] > end:
                        return
                    continue
                self.token = ids.extended(stream.resume_token)
                reached = time_of(self.token)
                idle_since = idle_since or time.monotonic()
                idle = time.monotonic() - idle_since
                if reached is None or reached >= end or idle > _IDLE_SECONDS:
                    return

    def _change(self, event: Mapping[str, Any]) -> tuple[str, Change, Timestamp] | None:
        kind, at = event["operationType"], event["clusterTime"]
        if kind in _GONE:
            raise LostTokenError(
                f"{_name(self.collection)}: the collection was dropped or renamed ({kind})",
                hint="set `on_lost_token: resnapshot`, or run once with --full-refresh, if it is "
                "there again",
            )
        if kind not in _WRITES:
            return None
        key = event["documentKey"]["_id"]
        deleted_at = None
        if kind == "delete":
            wall = event.get("wallTime")  # from MongoDB 6.0
            deleted_at = (
                EPOCH + timedelta(milliseconds=int(wall))
                if wall is not None
                else EPOCH + timedelta(seconds=at.time)
            )
        change = Change(key, deleted_at, event.get("fullDocumentBeforeChange"))
        return ids.extended(key), change, at

    def _pipeline(self) -> list[dict[str, Any]]:
        shown = {"operationType": 1, "documentKey": 1, "clusterTime": 1, "wallTime": 1}
        if self.deletes == "hard":
            return [{"$project": shown}]
        before = "fullDocumentBeforeChange"
        kept = [name for name, keep in (self.projection or {}).items() if keep]
        left_out = [name for name, keep in (self.projection or {}).items() if not keep]
        stages: list[dict[str, Any]] = [
            {"$project": {**shown, **({f"{before}.{name}": 1 for name in kept} or {before: 1})}}
        ]
        if left_out:
            stages.append({"$unset": [f"{before}.{name}" for name in left_out]})
        is_delete = {"$eq": ["$operationType", "delete"]}
        stages.append({"$set": {before: {"$cond": [is_delete, f"${before}", "$$REMOVE"]}}})
        return stages

    def _lines(
        self, changed: Mapping[str, Change], until: Timestamp, shown: datetime
    ) -> Iterator[Encoded]:
        changes = list(changed.values())
        if self.encoder.kind is None:  # nothing was there up to now
            self.encoder.kind = ids.kind_of([change.id for change in changes])
        extra: dict[str, Any] = {CLUSTER_TIME: shown}
        if self.deletes == "soft":
            extra[DELETED_AT] = None  # a document that came back
        for at in range(0, len(changes), 1000):
            some = changes[at : at + 1000]
            rows = self._read([change.id for change in some], until, extra)
            there = {row["_id"] for row in rows}
            for change in some:
                key = ids.plain(change.id, self.encoder.kind)
                self.keys.append(key)
                if key not in there:
                    rows.extend(self._gone(change, key, shown))
            if rows:
                yield Encoded(self.encoder.dump(rows), len(rows))

    def _read(
        self, keys: list[Any], until: Timestamp, extra: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        from pymongo.errors import PyMongoError

        query: dict[str, Any] = {"_id": {"$in": keys}}
        if self.query:
            query = {"$and": [query, self.query]}
        exact: Any = self.collection.with_options(codec_options=EXACT)
        retries = Retries(_ATTEMPTS, self.wait)
        while True:
            rows: list[dict[str, Any]] = []
            try:
                with connection.causal(self.collection.database.client) as session:
                    if session is not None:
                        session.advance_operation_time(until)
                    for batch in exact.find_raw_batches(
                        query, projection=self.projection, session=session
                    ):
                        rows.extend(self.encoder.rows(batch, extra))
                return rows
            except PyMongoError as error:
                wait = retries.failed()
                if wait is None or not errors.passing(error):
                    raise errors.explain(error, _name(self.collection)) from None
                retries.sleep(wait)

    def _gone(self, change: Change, key: Any, shown: datetime) -> list[dict[str, Any]]:
        if change.deleted_at is None and not self.query:
            return []  # deleted since: that event comes with the next run
        if self.deletes == "hard":
            return [{"_id": key, CLUSTER_TIME: shown, DELETED: True}]
        extra = {CLUSTER_TIME: shown, DELETED_AT: change.deleted_at}
        if change.before is None:
            self.without_before += 1
            return [{"_id": key, **extra}]
        return self.encoder.rows(encode_bson(change.before, codec_options=EXACT), extra)

    def _now(self) -> Timestamp:
        from pymongo.errors import PyMongoError

        client = self.collection.database.client
        try:
            with client.start_session() as session:
                client.admin.command("ping", session=session)
                now: Timestamp | None = session.operation_time
        except PyMongoError as error:
            raise errors.explain(error, _name(self.collection)) from None
        return now if now is not None else Timestamp(2**31 - 1, 0)


def _id_line(entry: Entry) -> bytes | None:
    """The id of a row in quarantine, in the words of `Encoder.dump`; None where it was not kept."""
    import orjson

    document = json.loads(str(entry.fields["document"]))
    if type(document) is not dict or "_id" not in document:
        return None
    return orjson.dumps([{"_id": document["_id"]}]) + b"\n"


def has_before_images(client_options: Mapping[str, Any]) -> bool:
    """Whether a collection keeps the last version of what is deleted, from its options."""
    enabled = client_options.get("changeStreamPreAndPostImages", {})
    return bool(enabled.get("enabled"))


def _name(collection: Collection[Any]) -> str:
    return f"collection {collection.database.name}.{collection.name}"
