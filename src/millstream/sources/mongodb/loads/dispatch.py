"""One collection -> what dlt extracts: all of it, what is new by a cursor, or what has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.config import data_dir
from millstream.errors import SourceError
from millstream.formats import engine_mode
from millstream.model import PARTITION_COLUMN, Partition
from millstream.quarantine import envelope
from millstream.sources import corrected_lines, findings
from millstream.sources.mongodb import connection, ids, partition_filter, ranges, spool
from millstream.sources.mongodb.column_hints import PartEmitter
from millstream.sources.mongodb.encode import EXACT, Encoder
from millstream.sources.mongodb.identity import Identity, identify
from millstream.sources.mongodb.load_spec import LoadSpec
from millstream.sources.mongodb.loads import change_stream, cursor
from millstream.sources.mongodb.loads import read_plan as plans
from millstream.sources.mongodb.range_reader import Reader, again, read_ranges, read_whole
from millstream.sources.mongodb.raw_batches import RawBatchEncoder
from millstream.sources.mongodb.state import ReadState

if TYPE_CHECKING:
    from dlt.sources import DltSource
    from pymongo.collection import Collection

    from millstream.sources.mongodb.connection import Client


_ALTERED = ("duckdb", "postgres")
"""Dialects of the destinations that make text of a column of numbers; files are DuckDB's, too."""


def source(job: LoadSpec, table: str) -> DltSource:
    """The dlt source of one resource that extracts the stream."""
    import dlt

    merges = job.mode != "full"

    def mongodb() -> Any:
        return dlt.resource(
            _extract,
            name=job.located.stream,
            table_name=table,
            primary_key="_id" if job.has_index else (),
            merge_key=job.merge_key or (),
            write_disposition="merge" if merges else "replace",
        )(job, table)

    # the key of the root in child tables is there from the first load on, for those that merge
    return dlt.source(mongodb, name="mongodb", root_key=merges)()


def _extract(job: LoadSpec, table: str) -> Iterator[Any]:
    import dlt

    # dlt forgets the state of a resource that replaces its table, where version 1 kept this
    state = dlt.current.source_state()
    kept = dlt.current.resource_state().pop("read", None)
    known = None if job.full else ReadState.from_json(state.get("read") or kept, job.what)
    running: Any = dlt.current.pipeline()
    naming = dlt.current.source_schema().naming
    normalize = naming.normalize_identifier
    table = naming.normalize_table_identifier(table)  # as long as the destination allows
    with (
        connection.connect() as client,
        spool.opened(_spool_folder(running, job)) as parts,
    ):
        collection = _collection(client, job)
        dialect = running.destination.capabilities().sqlglot_dialect
        hand_on = PartEmitter(table, dlt.current.source_schema(), dialect)
        if job.partition is not None:
            yield from _part(job, job.partition, table, collection, parts, normalize, hand_on)
            return
        found = again(job.what, lambda: identify(collection.database, collection.name))
        before, known = known, _known(job, known, found)
        fresh = known is None or known.fingerprint != job.fingerprint
        if known is not None and not fresh and job.mode == "changes":
            try:
                yield from _follow(job, table, collection, parts, known, normalize, hand_on, state)
                return
            except change_stream.LostTokenError as error:
                if job.config.on_lost_token == "fail":  # noqa: S105
                    raise
                findings.warn(f"{error.message}; reading the whole collection again")
        if known is not None and not fresh and job.mode == "cursor":
            yield from _newer(job, table, collection, parts, known, normalize, hand_on, state)
            return
        # its rows replace those of another one, so that the column of ids may be another, too
        is_new = before is not None and known is None and dialect in _ALTERED
        yield from _all(
            job, table, collection, found, known, parts, normalize, hand_on, state, is_new=is_new
        )


def _known(job: LoadSpec, known: ReadState | None, found: Identity) -> ReadState | None:
    """What is known of the collection that is there now; nothing where it is another one."""
    if known is None:
        return None
    if known.identity is None:  # a state of version 1, which is taken to be of this collection
        return replace(known, identity=found)
    if known.identity.is_same(found):
        return replace(known, identity=found)
    if job.mode != "full":
        findings.warn(
            f"{job.what}: {known.identity.difference(found)}; reading all of {found.database}."
            f"{found.name}, which replaces the rows of the table"
        )
    return None


def _all(
    job: LoadSpec,
    table: str,
    collection: Collection[Any],
    found: Identity,
    known: ReadState | None,
    parts: spool.Spool,
    normalize: Any,
    hand_on: PartEmitter,
    state: dict[str, Any],
    *,
    is_new: bool,
) -> Iterator[Any]:
    """A full load, from where a broken one stopped; the table is replaced."""
    with connection.causal(collection.database.client) as session:
        settled = partial(_settled, job, table, known, is_new=is_new)
        plan = plans.make(job, collection, found, parts, session, settled)
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
        hand_on.kind = kind
        hand_on.replace = True
        if job.mode == "changes":
            hand_on.columns = change_stream.columns(job.config.deletes, merges=False)
        if job.has_index:
            todo = [ranges.Range.from_json(each) for each in plan["ranges"]]
            for part in read_ranges(reader, parts, todo, parallel=job.config.parallel):
                yield hand_on(part)
        elif kind is not None or not job.has_ids:
            for part in read_whole(reader, parts):
                yield hand_on(part)
        if job.mode != "full" and not hand_on.has_told:
            yield from hand_on.nothing()
        now = again(job.what, lambda: identify(collection.database, collection.name))
        if not found.is_same(now):
            raise SourceError(
                f"{job.what}: it was replaced by another collection while it was read",
                hint="run again; nothing was loaded",
            )
    read = ReadState(job.fingerprint, found, kind, plan.get("token"), plan.get("highest") or {})
    state["read"] = read.to_json()
    parts.clear()


def _part(
    job: LoadSpec,
    partition: Partition,
    table: str,
    collection: Collection[Any],
    parts: spool.Spool,
    normalize: Any,
    hand_on: PartEmitter,
) -> Iterator[Any]:
    """One partition, chosen by the server, whatever was read before."""
    parts.clear()
    where = partition_filter.condition(partition, job.what)
    query = {"$and": [job.query, where]} if job.query else where
    with connection.causal(collection.database.client) as session:
        # a partition is not read again soon: what a member lacks still must not be missed
        plans.see_now(collection, session)
        kind = again(job.what, lambda: plans.kind(collection, session)) if job.has_index else None
        kind = _settled(job, table, None, kind)
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
    partition_filter.tell_homeless(collection, job.query, partition, job.what)
    parts.clear()


def _newer(
    job: LoadSpec,
    table: str,
    collection: Collection[Any],
    parts: spool.Spool,
    known: ReadState,
    normalize: Any,
    hand_on: PartEmitter,
    state: dict[str, Any],
) -> Iterator[Any]:
    """What is at or above the cursor."""
    assert job.settings.cursor is not None
    parts.clear()
    newer = cursor.condition(job.settings.cursor, known.highest, job.settings.lag)
    query = {"$and": [job.query, newer]} if job.query else newer
    with connection.causal(collection.database.client) as session:
        field = job.settings.cursor
        highest = again(job.what, lambda: cursor.highest(collection, query, field, session))
        kind = known.kind if _holds_ids(table) else None
        if kind is None and job.has_ids:
            kind = again(job.what, lambda: plans.kind_of(job, collection, session))
            kind = _settled(job, table, None, kind)
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
        readers = [reader]
        if job.merge_key == "_id":
            keys = again(job.what, lambda: cursor.keys(collection, query, job.what, session))
            # of an `_id` that was met, all documents that the view shows
            readers = [
                replace(reader, query={"$and": [{"_id": {"$in": some}}, job.query]})
                for some in cursor.batches(keys)
            ]
        for number, each in enumerate(readers):
            for part in read_whole(each, parts, number):
                yield hand_on(part)
    highest = cursor.merged(known.highest, highest)
    state["read"] = replace(known, kind=kind, highest=highest).to_json()
    parts.clear()


def _follow(
    job: LoadSpec,
    table: str,
    collection: Collection[Any],
    parts: spool.Spool,
    known: ReadState,
    normalize: Any,
    hand_on: PartEmitter,
    state: dict[str, Any],
) -> Iterator[Any]:
    """What has changed since the last run."""
    import orjson

    assert known.token is not None
    parts.clear()
    kind = known.kind if _holds_ids(table) else None
    if kind is None:
        kind = _settled(job, table, None, again(job.what, lambda: plans.kind(collection, None)))
    encoder = _encoder(job, kind, normalize)
    hand_on.columns = change_stream.columns(job.config.deletes, merges=True)
    follower = change_stream.ChangeStreamReader(
        collection, encoder, known.token, job.query, job.projection, job.config.deletes
    )
    writer = spool.PartWriter(parts, 0)
    written: list[spool.Part | None] = []
    for encoded in follower.batches():
        writer.write(encoded)
        if writer.is_full:
            written.append(writer.close())
    written.append(writer.close(None, tuple(sorted(encoder.not_finite))))
    # of a collection that was empty up to now, the changes tell; still empty, nobody knows
    hand_on.kind = encoder.kind
    # all at once: where the token turns out to be lost, nothing has been handed on
    outdated = follower.outdated(corrected_lines.waiting)
    if outdated:
        notes = (envelope.read_again(entry.without_document()) for entry in outdated)
        yield [orjson.Fragment(orjson.dumps(note)) for note in notes]
    for part in written:
        if part is not None:
            yield hand_on(part)
    if follower.without_before:
        findings.warn(
            f"{job.what}: {follower.without_before} deleted documents had no last version any "
            "more: their rows hold `_id` and `deleted_at` alone"
        )
    state["read"] = replace(known, kind=encoder.kind, token=follower.token).to_json()
    parts.clear()


def _settled(
    job: LoadSpec,
    table: str,
    known: ReadState | None,
    now: ids.Kind | None,
    *,
    is_new: bool = False,
) -> ids.Kind | None:
    """The kind of ids to write: as earlier loads wrote them, and as the table's column holds them.

    A full refresh, or another collection, alone gives a column of numbers or dates another type;
    else documents whose ids it can't hold go to quarantine.

    Args:
        now: the kind of those in the collection.
        is_new: whether earlier loads read another collection.
    """
    if now is None:
        return None
    # what version 1 wrote depended on all ids of the collection: all is read anew here
    before = known.kind if known is not None and known.version > 1 else None
    if before in ids.LASTING and ids.DATA_TYPE[now] == "text":
        return before
    column = _id_column(table).get("data_type")
    if column is None or column == ids.DATA_TYPE[now]:
        return now
    return "any" if job.full or is_new else ids.OF_COLUMN.get(column, "any")


def _holds_ids(table: str) -> bool:
    """False while nothing was loaded: version 1 took the ids of an empty collection for texts."""
    return bool(_id_column(table))


def _id_column(table: str) -> Mapping[str, Any]:
    import dlt

    columns = dlt.current.source_schema().tables.get(table, {}).get("columns", {})
    return columns.get("_id", {})


def _encoder(job: LoadSpec, kind: ids.Kind | None, normalize: Any) -> Encoder:
    reserved: frozenset[str] = frozenset()
    if job.mode == "changes":
        reserved = frozenset(change_stream.columns(job.config.deletes, merges=True))
    elif job.mode == "partition":
        reserved = frozenset((PARTITION_COLUMN,))
    maps = tuple(tuple(path.split(".")) for path in job.maps)
    return Encoder(job.what, normalize, kind, reserved, maps)


def _forwarder(
    job: LoadSpec, kind: ids.Kind | None, normalize: Any, extra: Mapping[str, Any] | None
) -> Encoder | RawBatchEncoder:
    """Batches as they are, where the engine reads them; else as lines of rows."""
    encoder = _encoder(job, kind, normalize)
    if job.maps or not engine_mode.current().reads_raw_parts:
        return encoder
    return RawBatchEncoder(encoder, extra)


def _collection(client: Client, job: LoadSpec) -> Collection[Any]:
    database = job.located.database or connection.default_database()
    assert database is not None, "checked when the stream was opened"
    return client[database].get_collection(job.located.collection, codec_options=EXACT)


def _spool_folder(pipeline: Any, job: LoadSpec) -> Path:
    """Where a run finds again what it had read; of a preview, where nobody does."""
    name: str = pipeline.pipeline_name
    folder = Path(pipeline.working_dir)
    is_run = folder.is_relative_to(data_dir() / "runs")
    return (data_dir() if is_run else folder) / "spool" / name / job.fingerprint[:12]
