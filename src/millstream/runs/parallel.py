"""Several streams of a pipeline in parallel: each in a thread of its own, up to a limit.

A run of a stream shares nothing with another's: dlt keeps what is active by thread, the working
folder, the schema and the state are the stream's alone, and a destination that takes one writer at
a time is waited for (`destinations.writer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from importlib import import_module
from signal import SIGINT
from typing import TypeVar

from millstream import destinations
from millstream.common.arrow_import import import_arrow
from millstream.config import PipelineConfig
from millstream.errors import MillstreamError

Result = TypeVar("Result")

_INTERRUPTIBLE = 3600.0
"""Seconds: polars has signals restart what waits for ever, so that Ctrl-C would not be heard."""


def run_parallel(
    config: PipelineConfig, streams: Sequence[str], do: Callable[[str], Result]
) -> Iterator[tuple[str, Result]]:
    """Do something for each stream, several at once; results in the order in which they come.

    Where one is allowed at once, in the order of `streams` and in the caller's thread. If `do`
    raises, or the caller stops, no further stream is begun, and those under way come to their end;
    where the caller is interrupted, they are interrupted, too.
    """
    limit = min(config.streams_abreast, len(streams))
    if limit <= 1:
        for stream in streams:
            yield stream, do(stream)
        return
    _import_first(config)
    with ThreadPoolExecutor(limit, "millstream-stream") as pool:
        under_way = {pool.submit(do, stream): stream for stream in streams}
        try:
            waiting = {*under_way}
            while waiting:
                done, waiting = wait(waiting, _INTERRUPTIBLE, FIRST_COMPLETED)
                for each in done:
                    yield under_way[each], each.result()
        except BaseException as error:
            for each in under_way:
                each.cancel()
            if not isinstance(error, Exception | GeneratorExit):
                _interrupt(under_way)
            raise


def _import_first(config: PipelineConfig) -> None:
    """Import what every run will need.

    A thread that looks at a module which another one is still importing sees half of it; dlt looks
    at these whenever they are in `sys.modules`.
    """
    import_arrow()
    for name in ("polars", "millstream.engine.dlt.patch"):
        with suppress(ImportError):
            import_module(name)
    with suppress(MillstreamError):  # each run will say what is wrong
        destinations.build(config)


def _interrupt(under_way: Iterable[Future[Result]]) -> None:
    """Stop what runs in other threads, where only the main one hears of a signal."""
    from dlt.common.runtime import signals

    signals.set_received_signal(SIGINT)
    signals.wake_all()
    wait(under_way)
    signals.set_received_signal(0)
