"""Rows in, Arrow tables out: the tables that dlt would make, several times faster.

The way of a batch, one file a step:

    transpose, flatten  rows become columns, and a table per nested list
    casts, coerce     each column gets the type that dlt would give it; in runs of Millstream a
                      value enters a column of another type only as `coercion` has it
    row_ids, tables   rows get dlt's ids and links, columns become whole tables
    column_batch      tables go into the files that the destination loads: dlt's Parquet,
                      text for PostgreSQL's COPY, or JSON lines
    fast_path         rows that look like those before skip all that: text straight to Arrow
    bson              the same for MongoDB's documents, as the server sent them
    profile, report   what was in the columns, and who did how much
    versions          which of several rows with one key is loaded

`schema_rules` is what these ask of a schema. `dlt` answers with dlt's rules, and puts all this into
dlt's normalizer.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from millstream.engine.coercion import Coercion
from millstream.engine.dlt.key_collisions import told
from millstream.engine.report import EngineReport, collect

if TYPE_CHECKING:
    from dlt.common.schema import Schema
    from dlt.sources import DltResource

    from millstream.quarantine.rules import QuarantineRules

__all__ = [
    "Coercion",
    "EngineReport",
    "accelerate",
    "check_arrow_items",
    "collect",
    "disable",
    "enable",
    "enabled",
    "told",
    "unambiguous",
    "warming",
]


def enable(*, keep_stats: bool = False) -> bool:
    """Let dlt normalize through the engine, in this process and in workers that it starts.

    Args:
        keep_stats: whether workers leave counts and profiles for `collect`.

    Returns:
        Whether the engine is on; False with `MILLSTREAM_ENGINE=dlt`, or where it does not fit the
        installed dlt, which is said once in a warning.
    """
    from millstream.engine.dlt import patch

    if os.environ.get("MILLSTREAM_ENGINE", "").strip().lower() == "dlt":
        patch.deactivate()
        return False
    return patch.activate(keep_stats=keep_stats)


_OBJECTS = 10_000
"""New objects until Python looks for cycles among them; its own figure is 700, or 2,000."""

_entered = 0
_entering = Lock()
_outside: bool | None = None


@contextmanager
def enabled(
    watches: Mapping[str, QuarantineRules] | None = None,
    named: Iterable[str] = (),
    coercions: Mapping[str, Coercion] | None = None,
) -> Iterator[bool]:
    """Normalize through the engine within this block, and count; then all is as it was before.

    Other dlt pipelines of the process keep the normalizer that their owner chose.

    Args:
        watches: by the name of a dlt schema, how its rows are watched.
        named: dlt schemas whose keys are named by `key_names`.
        coercions: by the name of a dlt schema, how its rows are typed.

    Yields:
        Whether rows are watched; not where Millstream does not fit the installed dlt.
    """
    global _entered, _outside
    import pyarrow

    from millstream.engine.dlt import patch

    with _entering:
        if not _entered:
            _outside = patch.active()
        _entered += 1
        for name, watch in (watches or {}).items():
            patch.watch(name, watch)
        named = [*named]
        for name in named:
            patch.name_keys(name, on=True)
        for name, coercion in (coercions or {}).items():
            patch.set_coercion(name, coercion)
        is_watched = enable(keep_stats=True) or patch.activate(keep_stats=True, columnar=False)
    try:
        yield is_watched
    finally:
        with _entering:
            _entered -= 1
            for name in watches or ():
                patch.watch(name, None)
            for name in named:
                patch.name_keys(name, on=False)
            for name in coercions or ():
                patch.set_coercion(name, None)
            if not _entered:
                if _outside is None:
                    patch.deactivate()
                else:
                    patch.activate(keep_stats=_outside)
        # what comes next, the destination's driver, needs memory of its own
        pyarrow.default_memory_pool().release_unused()


def check_arrow_items(
    resources: Iterable[DltResource], schema: Schema, capabilities: Any, *, is_exact: bool
) -> None:
    """Have rows of Arrow tables that do not fit their columns quarantined as they are extracted."""
    from millstream.engine import arrow_check

    for resource in resources:
        arrow_check.check_arrow_items(resource, schema, capabilities, is_exact=is_exact)


@contextmanager
def unambiguous() -> Iterator[None]:
    """dlt extracts in this thread, within this block, so that text is read back as text."""
    from millstream.formats import typed_json
    from millstream.quarantine import envelope

    def wrap(text: str, detail: str) -> Mapping[str, Any]:
        return envelope.unreadable(text, detail=detail, origin="")

    with typed_json.unambiguous(wrap):
        yield


@contextmanager
def warming() -> Iterator[None]:
    """Import what normalizing needs in a thread, while the block waits for its source."""
    # dlt looks at modules that are only half imported, and Arrow imports pandas where it is
    # installed: both are whole before the block begins
    import pyarrow  # noqa: F401

    with suppress(ImportError):
        import pandas  # noqa: F401

    thread = Thread(target=_warm, name="millstream-warming")
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _warm() -> None:
    # an import that fails here fails again where it is needed, and is told there
    with suppress(Exception):
        import millstream.engine.dlt.patch  # noqa: F401


def disable() -> None:
    """Let dlt normalize by itself again."""
    from millstream.engine.dlt import patch

    patch.deactivate()


def accelerate() -> bool:
    """Make every dlt pipeline of this process faster: call it once, before `pipeline.run`.

    Rows are normalized by Millstream's engine where the destination loads Parquet, with dlt's own
    result: the same tables, columns, keys and contracts. dlt's intermediate files are no longer
    compressed and have shorter lines, unless the configuration says otherwise; and Python looks for
    cycles among objects less often, unless it is not to look at all.

    Returns:
        Whether the engine is on; `MILLSTREAM_ENGINE=dlt` turns it off.
    """
    if not enable():
        return False
    import dlt

    # rows are trees, which need no collector: it took a quarter of extracting a million objects
    if 0 < gc.get_threshold()[0] < _OBJECTS:
        gc.set_threshold(_OBJECTS)

    # extracted rows are read back at once: packing them costs more than a third of a bulk run; and
    # a line of a thousand rows teaches the engine their shape as well as one of five thousand
    for key, value in (("disable_compression", True), ("buffer_max_items", 1000)):
        known = [f"{place}data_writer.{key}" for place in ("sources.", "")]
        if all(dlt.config.get(each) is None for each in known):
            dlt.config[known[0]] = value
    return True
