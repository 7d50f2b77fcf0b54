"""Rows in, Arrow tables out: the tables that dlt would make, several times faster.

The way of a batch, one file a step:

    transpose, flatten  rows become columns, and a table per nested list
    casts,            each column gets the type that dlt would give it; in runs of Millstream a
    coerce_values     value enters a column of another type only as `coercion_rules` has it
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
from threading import Thread
from typing import TYPE_CHECKING, Any

from millstream.common.arrow_import import import_arrow
from millstream.engine.coercion_rules import Coercion
from millstream.engine.dlt.key_collisions import describe_collisions
from millstream.engine.report import EngineReport, collect
from millstream.formats.engine_mode import EngineMode, RowRules

if TYPE_CHECKING:
    from dlt.common.schema import Schema
    from dlt.sources import DltResource

    from millstream.engine.arrow_check import ArrowCheck

__all__ = [
    "Coercion",
    "EngineReport",
    "RowRules",
    "accelerate",
    "check_arrow_items",
    "collect",
    "describe_collisions",
    "disable",
    "enable",
    "enabled",
    "fits",
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

    if not _wanted() or not patch.fits():
        patch.choose(EngineMode())
        return False
    patch.choose(EngineMode("columnar", is_run=keep_stats))
    return True


def fits() -> bool:
    """Whether the engine fits the installed dlt; a warning says once that it does not."""
    from millstream.engine.dlt import patch

    return patch.fits()


def _wanted() -> bool:
    return os.environ.get("MILLSTREAM_ENGINE", "").strip().lower() != "dlt"


_OBJECTS = 10_000
"""New objects until Python looks for cycles among them; its own figure is 700, or 2,000."""


@contextmanager
def enabled(rules: Mapping[str, RowRules] | None = None) -> Iterator[bool]:
    """Normalize through the engine within this block, and count; then all is as it was before.

    Other dlt pipelines of the process keep the normalizer that their owner chose.

    Args:
        rules: by the name of a dlt schema, how its rows are normalized.

    Yields:
        Whether the rules are followed; not where Millstream does not fit the installed dlt.
    """
    import pyarrow

    from millstream.engine.dlt import patch

    if not patch.fits():
        yield False
        return
    try:
        with patch.running("columnar" if _wanted() else "quarantining", rules or {}):
            yield True
    finally:
        # what comes next, the destination's driver, needs memory of its own
        pyarrow.default_memory_pool().release_unused()


def check_arrow_items(
    resources: Iterable[DltResource],
    schema: Schema,
    capabilities: Any,
    *,
    is_exact: bool,
    makes_variants: bool,
) -> list[ArrowCheck]:
    """Have rows of Arrow tables that do not fit their columns quarantined as they are extracted.

    Args:
        makes_variants: whether values of another type go to variants, as those of rows.

    Returns:
        The steps, which count what came while they are extracted.
    """
    from millstream.engine.arrow_check import check_arrow_items as check

    normalize = schema.naming.normalize_identifier
    return [
        check(each, normalize, capabilities, is_exact=is_exact, makes_variants=makes_variants)
        for each in resources
    ]


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
    # dlt looks at modules that are only half imported: Arrow is whole before the block begins
    import_arrow()
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

    patch.choose(EngineMode())


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
