"""Reads ranges in threads into parts, on from the last document after an error that passes."""

from __future__ import annotations

import gc
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from bson import MaxKey

from millstream.common.retry import Retries
from millstream.sources.mongodb import connection, errors, ids
from millstream.sources.mongodb.encode import EXACT, Encoder, documents, id_of, last_document
from millstream.sources.mongodb.quick_replies import quick
from millstream.sources.mongodb.ranges import Range
from millstream.sources.mongodb.raw_batches import RawBatchEncoder
from millstream.sources.mongodb.spool import Part, PartWriter, Progress, Spool

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

ATTEMPTS = 6
"""How often one and the same document may fail to arrive."""

WAIT = 0.5
"""Seconds before the first retry; twice as many before each further one."""


@dataclass(frozen=True)
class Reader:
    """What a collection is read with.

    Attributes:
        after: the session that planned the read; what it saw, each range sees.
        encoder: makes an encoder; each thread has its own.
        extra: columns that each row gets.
    """

    collection: Collection[Any]
    what: str
    encoder: Callable[[], Encoder | RawBatchEncoder]
    query: dict[str, Any] = field(default_factory=dict)
    projection: dict[str, int] | None = None
    chunk_size: int = 2000
    after: ClientSession | None = None
    extra: dict[str, Any] | None = None

    def find(self, session: ClientSession | None, **options: Any) -> Any:
        exact = self.collection.with_options(codec_options=EXACT)
        return quick(
            exact.find_raw_batches(
                self.query,
                projection=self.projection,
                batch_size=self.chunk_size,
                session=session,
                **options,
            )
        )

    def session(self) -> Any:
        """A session that sees what the plan saw; none where nothing was planned with one."""
        if self.after is None:
            return nullcontext()
        return connection.causal(self.collection.database.client, self.after)


def read_ranges(
    reader: Reader, spool: Spool, ranges: Sequence[Range], *, parallel: int
) -> Iterator[Part]:
    """The parts of all ranges: first those that an earlier run left, then the missing ones.

    Raises:
        SourceError: what was read until then stays in the spool.
    """
    todo = []
    for number, each in enumerate(ranges):
        progress = spool.progress(number)
        yield from progress.parts
        if not progress.done:
            todo.append((number, each))
    found: queue.Queue[Part | Exception | None] = queue.Queue()
    stop = threading.Event()

    def work(number: int, each: Range) -> None:
        try:
            if not stop.is_set():
                _read_range(reader, spool, number, each, found.put, stop)
            found.put(None)
        except Exception as error:
            stop.set()
            found.put(error)

    with _no_garbage_collection(), ThreadPoolExecutor(max(1, min(parallel, len(todo)))) as pool:
        try:
            for number, each in todo:
                pool.submit(work, number, each)
            left = len(todo)
            while left:
                item = found.get()
                if isinstance(item, Part):
                    yield item
                elif item is None:
                    left -= 1
                else:
                    raise item
        finally:
            stop.set()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    # documents hold no cycles, and looking for them in millions of values takes half of the time
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_whole(reader: Reader, spool: Spool, number: int = 0) -> list[Part]:
    """All that the query finds, in no order; from the start again after an error that passes.

    For views and cursors, where no order tells what was read already: nothing is handed on before
    all of it has arrived.
    """
    retries = _retries()
    while True:
        spool.forget(number)
        encoder, parts = reader.encoder(), []
        writer = PartWriter(spool, number, header=encoder.header)
        try:
            with reader.session() as session, closing(reader.find(session)) as cursor:
                for batch in cursor:
                    if batch:
                        writer.write(encoder.encode(batch, reader.extra))
                    if writer.is_full:
                        parts.append(_closed(writer, encoder, None))
            parts.append(_closed(writer, encoder, None))
            encoder.log_warnings()
            return [part for part in parts if part is not None]
        except _driver_errors() as error:
            writer.drop()
            _pause(error, reader.what, retries)


def _read_range(
    reader: Reader,
    spool: Spool,
    number: int,
    each: Range,
    found: Callable[[Part], None],
    stop: threading.Event,
) -> None:
    progress = spool.progress(number)
    parts = list(progress.parts)
    last = ids.from_extended(parts[-1].last)[0] if parts and parts[-1].last else None
    begun = bool(parts)
    encoder = reader.encoder()
    writer = PartWriter(spool, number, progress.parts, header=encoder.header)

    def close(*, done: bool) -> None:
        part = _closed(writer, encoder, ids.extended([last]) if begun else None)
        if part is not None:
            parts.append(part)
        spool.record(number, Progress(tuple(parts), done))
        if part is not None:
            found(part)

    try:
        for batch, until in _batches(reader, each, last, begun):
            writer.write(encoder.encode(batch, reader.extra))
            last, begun = until, True
            if writer.is_full:
                close(done=False)
            if stop.is_set():
                close(done=False)
                return
        close(done=True)
    except BaseException:
        # what arrived is whole batches: the next run goes on behind them
        close(done=False)
        raise
    finally:
        writer.drop()
        encoder.log_warnings()


def _batches(reader: Reader, each: Range, last: Any, begun: bool) -> Iterator[tuple[bytes, Any]]:
    """Batches of a range in the order of `_id`, after a fault from the last document on.

    Yields:
        Documents, and the `_id` of the last one.
    """
    retries = _retries()
    while True:
        try:
            bounds: dict[str, Any] = {"hint": [("_id", 1)], "sort": [("_id", 1)]}
            low = last if begun else each.low
            if begun or each.low is not None:
                bounds["min"] = {"_id": low}
            if each.high is not None:
                bounds["max"] = {"_id": each.high}
            with reader.session() as session, closing(reader.find(session, **bounds)) as cursor:
                overlaps = begun
                for batch in cursor:
                    if overlaps and batch:
                        batch = _behind(batch, last)
                        overlaps = False
                    if batch:
                        last, begun = id_of(last_document(batch)), True
                        retries.succeeded()
                        yield batch, last
            if "min" in bounds and each.high is None and not isinstance(last, MaxKey):
                yield from _highest(reader)
            return
        except _driver_errors() as error:
            _pause(error, reader.what, retries)


def _highest(reader: Reader) -> Iterator[tuple[bytes, Any]]:
    # a find with a `min` alone ends before MaxKey, which may be an `_id` like any other
    query = {"$and": [{"_id": MaxKey()}, reader.query]}
    with reader.session() as session, closing(replace(reader, query=query).find(session)) as cursor:
        yield from ((batch, MaxKey()) for batch in cursor if batch)


def again(what: str, ask: Callable[[], Result]) -> Result:
    """Ask the server something, again after an error that passes.

    Raises:
        SourceError: another try won't help, or there were enough.
    """
    retries = _retries()
    while True:
        try:
            return ask()
        except _driver_errors() as error:
            _pause(error, what, retries)


def _behind(batch: bytes, last: Any) -> bytes:
    # bounds include the lower one: the document may be there still, or have been deleted since
    first = next(documents(batch))
    return batch[len(first) :] if ids.extended(id_of(first)) == ids.extended(last) else batch


def _closed(
    writer: PartWriter, encoder: Encoder | RawBatchEncoder, last: str | None
) -> Part | None:
    return writer.close(last, tuple(sorted(encoder.not_finite)))


def _retries() -> Retries:
    return Retries(ATTEMPTS, WAIT, jitter=True)


def _pause(error: Exception, what: str, retries: Retries) -> None:
    """Wait before another try.

    Raises:
        SourceError: another try won't help, or there were enough.
    """
    wait = retries.failed()
    if wait is None or not errors.passing(error):
        raise errors.explain(error, what) from None
    logger.warning(
        "%s: %s; again in %.1f s",
        what,
        type(error).__name__,
        wait,
    )
    retries.sleep(wait)


def _driver_errors() -> tuple[type[Exception], ...]:
    from pymongo.errors import PyMongoError

    return (PyMongoError,)
