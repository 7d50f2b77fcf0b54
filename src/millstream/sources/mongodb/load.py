"""One collection -> what dlt extracts: all of it, what is new by a cursor, or what has changed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream import handover
from millstream.config import data_dir
from millstream.errors import SourceDataError
from millstream.model import PARTITION_COLUMN, Partition
from millstream.sources.mongodb import changes, connection, cursor, ids, ranges, spool, windows
from millstream.sources.mongodb import plan as plans
from millstream.sources.mongodb.encode import EXACT, Encoder
from millstream.sources.mongodb.hints import HandOn
from millstream.sources.mongodb.jobs import Job
from millstream.sources.mongodb.raw import Forwarder
from millstream.sources.mongodb.reading import Reader, again, read_ranges, read_whole

if TYPE_CHECKING:
    from dlt.sources import DltSource
    from pymongo.collection import Collection

    from millstream.sources.mongodb.connection import Client

logger = logging.getLogger("millstream")


def source(job: Job, table: str) -> DltSource:
    """The dlt source of one resource that extracts the stream."""
    import dlt

    merges = job.mode != "full"

    def mongodb() -> Any:
        return dlt.resource(
            _extract,
            name=job.located.stream,
            table_name=table,
            primary_key="_id" if job.has_index else (),
            write_disposition="merge" if merges else "replace",
        )(job, table)

    # the key of the root in child tables is there from the first load on, for those that merge
    return dlt.source(mongodb, name="mongodb", root_key=merges)()


def _extract(job: Job, table: str) -> Iterator[Any]:
    import dlt

    state = dlt.current.resource_state()
    known: dict[str, Any] = state.get("read") or {}
    fresh = job.full or not known or known.get("fingerprint") != job.fingerprint
    pipeline = dlt.current.pipeline().pipeline_name
    normalize = dlt.current.source_schema().naming.normalize_identifier
    with (
        connection.connect() as client,
        spool.opened(_folder(pipeline, job)) as parts,
    ):
        collection = _collection(client, job)
        hand_on = HandOn(table, dlt.current.source_schema())
        if job.partition is not None:
            yield from _part(job, job.partition, table, collection, parts, normalize, hand_on)
            return
        if not fresh and job.mode == "changes":
            try:
                yield from _follow(job, collection, parts, known, normalize, hand_on, state)
                return
            except changes.LostTokenError as error:
                if job.config.on_lost_token == "fail":  # noqa: S105
                    raise
                logger.warning("%s; reading the whole collection again", error.message)
        if not fresh and job.mode == "cursor":
            yield from _newer(job, collection, parts, known, normalize, hand_on, state)
            return
        yield from _all(job, table, collection, parts, normalize, hand_on, state)


def _all(
    job: Job,
    table: str,
    collection: Collection[Any],
    parts: spool.Spool,
    normalize: Any,
    hand_on: HandOn,
    state: dict[str, Any],
) -> Iterator[Any]:
    """A full load, from where a broken one stopped; the table is replaced."""
    with connection.causal(collection.database.client) as session:
        plan = plans.make(job, collection, parts, session)
        # every range is read as of now or later, on whichever member: a token made before is older
        plans.see_now(collection, session)
        kind = plan["kind"]
        extra = plans.snapshot_columns(job, plan)
        reader = Reader(
            collection,
            job.what,
            lambda: _forwarder(job, kind, normalize, extra),
            job.query,
            job.projection,
            job.config.chunk_size,
            session if session is not None and session.operation_time is not None else None,
            extra=extra,
        )
        _check_id_column(job, table, kind)
        hand_on.kind = kind
        hand_on.replace = True
        if job.mode == "changes":
            hand_on.columns = changes.columns(job.config.deletes, merges=False)
        if job.has_index:
            todo = [ranges.Range.from_json(each) for each in plan["ranges"]]
            for part in read_ranges(reader, parts, todo, parallel=job.config.parallel):
                yield hand_on(part)
        else:
            for part in read_whole(reader, parts):
                yield hand_on(part)
    state["read"] = {
        "fingerprint": job.fingerprint,
        "kind": kind,
        **({"token": plan["token"]} if "token" in plan else {}),
        **({"highest": plan["highest"]} if "highest" in plan else {}),
    }
    parts.clear()


def _part(
    job: Job,
    partition: Partition,
    table: str,
    collection: Collection[Any],
    parts: spool.Spool,
    normalize: Any,
    hand_on: HandOn,
) -> Iterator[Any]:
    """One partition, chosen by the server, whatever was read before."""
    parts.clear()
    where = windows.condition(partition, job.what)
    query = {"$and": [job.query, where]} if job.query else where
    with connection.causal(collection.database.client) as session:
        # a partition is not read again soon: what a member lacks still must not be missed
        plans.see_now(collection, session)
        kind = again(job.what, lambda: plans.kind(collection, session)) if job.has_index else None
        _check_id_column(job, table, kind)
        hand_on.kind = kind
        extra = {PARTITION_COLUMN: partition.key}
        reader = Reader(
            collection,
            job.what,
            lambda: _forwarder(job, kind, normalize, extra),
            query,
            job.projection,
            job.config.chunk_size,
            session,
            extra=extra,
        )
        for part in read_whole(reader, parts):
            yield hand_on(part)
    windows.tell_homeless(collection, job.query, partition, job.what)
    parts.clear()


def _newer(
    job: Job,
    collection: Collection[Any],
    parts: spool.Spool,
    known: dict[str, Any],
    normalize: Any,
    hand_on: HandOn,
    state: dict[str, Any],
) -> Iterator[Any]:
    """What is at or above the cursor."""
    assert job.settings.cursor is not None
    parts.clear()
    newer = cursor.condition(job.settings.cursor, known["highest"], job.settings.lag)
    query = {"$and": [job.query, newer]} if job.query else newer
    with connection.causal(collection.database.client) as session:
        field = job.settings.cursor
        highest = again(job.what, lambda: cursor.highest(collection, query, field, session))
        kind = known["kind"]
        if kind is None and job.has_index:
            kind = again(job.what, lambda: plans.kind(collection, session))
        hand_on.kind = kind
        reader = Reader(
            collection,
            job.what,
            lambda: _forwarder(job, kind, normalize, None),
            query,
            job.projection,
            job.config.chunk_size,
            session,
        )
        for part in read_whole(reader, parts):
            yield hand_on(part)
    state["read"] = {
        **known,
        "kind": kind,
        "highest": cursor.merged(known["highest"], highest),
    }
    parts.clear()


def _follow(
    job: Job,
    collection: Collection[Any],
    parts: spool.Spool,
    known: dict[str, Any],
    normalize: Any,
    hand_on: HandOn,
    state: dict[str, Any],
) -> Iterator[Any]:
    """What has changed since the last run."""
    parts.clear()
    kind = known["kind"] or again(job.what, lambda: plans.kind(collection, None)) or "text"
    encoder = _encoder(job, kind, normalize)
    hand_on.kind = kind
    hand_on.columns = changes.columns(job.config.deletes, merges=True)
    follower = changes.Follower(
        collection, encoder, known["token"], job.query, job.projection, job.config.deletes
    )
    writer = spool.PartWriter(parts, 0)
    written: list[spool.Part | None] = []
    for encoded in follower.batches():
        writer.write(encoded)
        if writer.is_full:
            written.append(writer.close())
    written.append(writer.close(None, tuple(sorted(encoder.not_finite))))
    # all at once: where the token turns out to be lost, nothing has been handed on
    for part in written:
        if part is not None:
            yield hand_on(part)
    if follower.without_before:
        logger.warning(
            "%s: %d deleted documents had no last version any more: their rows hold `_id` and "
            "`deleted_at` alone",
            job.what,
            follower.without_before,
        )
    state["read"] = {**known, "kind": kind, "token": follower.token}
    parts.clear()


def _check_id_column(job: Job, table: str, kind: ids.Kind | None) -> None:
    """Refuse ids that the table's column can't hold: dlt would leave null in the primary key.

    Raises:
        SourceDataError: the column is of another type, and a full load does not change that.
    """
    import dlt

    schema = dlt.current.source_schema()
    known = schema.tables.get(table, {}).get("columns", {}).get("_id", {}).get("data_type")
    if kind is None or known is None or known == ids.DATA_TYPE[kind]:
        return
    raise SourceDataError(
        f"{job.what}: the column `_id` of table {table} is {known}, and the collection's ids are "
        f"{ids.DATA_TYPE[kind]} now",
        hint=f"make the table anew: drop {table} and its child tables ({table}__...) in the "
        f"destination, delete the rows of schema {schema.name} from _dlt_version, then run again "
        "with --full-refresh",
    )


def _encoder(job: Job, kind: ids.Kind | None, normalize: Any) -> Encoder:
    reserved: frozenset[str] = frozenset()
    if job.mode == "changes":
        reserved = frozenset(changes.columns(job.config.deletes, merges=True))
    elif job.mode == "partition":
        reserved = frozenset((PARTITION_COLUMN,))
    return Encoder(job.what, normalize, kind, reserved)


def _forwarder(
    job: Job, kind: ids.Kind | None, normalize: Any, extra: Mapping[str, Any] | None
) -> Encoder | Forwarder:
    """Batches as they are, where the engine reads them; else as lines for dlt."""
    encoder = _encoder(job, kind, normalize)
    return Forwarder(encoder, extra) if handover.Engine.reads else encoder


def _collection(client: Client, job: Job) -> Collection[Any]:
    database = job.located.database or connection.default_database()
    assert database is not None, "checked when the stream was opened"
    return client[database].get_collection(job.located.collection, codec_options=EXACT)


def _folder(pipeline: str, job: Job) -> Path:
    return data_dir() / "spool" / pipeline / job.fingerprint[:12]
