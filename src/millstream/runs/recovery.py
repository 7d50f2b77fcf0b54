"""What interrupted runs left on this machine, finished or dropped before a run begins."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from millstream import destinations, schema_changes
from millstream.errors import RunError, SchemaTooLargeError
from millstream.runs import load_packages, pending_packages, workdir
from millstream.runs.context import RunContext
from millstream.runs.recorder import RunRecorder, StaleCursorError
from millstream.runs.scope import Baseline, WholeStream
from millstream.runs.stages import Extracted, normalize_and_load, sweep
from millstream.runs.step_errors import pending_hint
from millstream.runs.turn import Turn
from millstream.sources import findings

logger = logging.getLogger(__name__)


def finish_abandoned(
    context: RunContext, recorder: RunRecorder, turn: Turn, place: str, *, drop: bool
) -> frozenset[str]:
    """Load what interrupted runs had extracted, unless newer data got there first.

    A partition is read again instead: since then its rows may have changed, or have moved to
    another partition that was loaded meanwhile.

    Args:
        place: of the destination, as `destinations.ensure_ready` has it.
        drop: leave what they had extracted, and take out what they had loaded of it.

    Returns:
        Changes that people accepted for packages that are read again.
    """
    approved: frozenset[str] = frozenset()
    for left in workdir.abandoned(context.target.name, context.key, place):
        load_packages.complete_deletions(left.path)
        recorder.history.dead.update(load_packages.pending(left.path))
        if context.partition is not None:
            approved |= schema_changes.held_packages.approved(left.path)
        elif drop or schema_changes.held_packages.is_mapped(left.path, context.maps):
            take_out(context, recorder, left.path)
        elif load_packages.pending(left.path):
            _finish(context, recorder, turn, left.path)
        left.remove()
    return approved


def take_out(context: RunContext, recorder: RunRecorder, run: Path) -> None:
    """Take out of the destination what an interrupted load of a package had appended."""
    interrupted = load_packages.interrupted(run)
    if not interrupted:
        return
    with recorder.step("restore"), context.writer(), TemporaryDirectory() as folder:
        # the package may be damaged: what it loaded into is in the destination's own schema
        pipeline = context.pipeline(Path(folder))
        schema = destinations.stored_schema(pipeline, context.schema)
        if schema is None:
            return
        complete = destinations.load_ids(pipeline, context.schema)
        pipeline.schemas.save_schema(schema)
        for load_id in interrupted:
            if load_id not in complete:
                destinations.undo(pipeline, schema, load_id)


def _finish(context: RunContext, recorder: RunRecorder, turn: Turn, run: Path) -> None:
    try:
        try:
            _load_first(context, recorder, turn, run)
        except RunError as error:
            # whatever it is, such as a file that was damaged meanwhile: there is a way out
            error.hint = error.hint or pending_hint(context.stream)
            raise
        recorder.warnings.append("loaded first what an earlier run had extracted")
    except StaleCursorError:
        logger.info("%s: an interrupted run's package is out of date: dropped", context.stream)
    except SchemaTooLargeError:
        logger.info("%s: rows of an interrupted run are too wide: read again", context.stream)


def _load_first(context: RunContext, recorder: RunRecorder, turn: Turn, run: Path) -> None:
    recorder.folder = run
    with recorder.step("restore"), context.writer():
        extracted = Extracted(findings.stored(run))
        load_packages.complete_renames(run)
        pending_packages.check(run, context.what, context.stream, fully=True)
        pipeline = context.pipeline(run)
        loads = destinations.loads(pipeline, context.schema)
        waiting = load_packages.pending(run)
        if loads is not None and loads.newest in waiting:
            # killed right after the load
            sweep(context, pipeline, run, waiting, load_packages.counted(run, ()))
        if not load_packages.unchanged_since_start(run, Baseline(loads=loads).marks):
            raise StaleCursorError  # by another run; or by itself, killed right after its load
        logger.info("%s: an earlier run had extracted a package: it comes first", context.stream)
        load_packages.complete_extracts(run, pipeline)
        stored = destinations.stored_schema(pipeline, context.schema)
        recorder.history.reconcile(pipeline)
        before = schema_changes.held_packages.read_baseline(run, context.stream)
        for load_id in load_packages.rewind(run, pipeline):
            destinations.undo(pipeline, pipeline.default_schema, load_id)
    baseline = Baseline(before, stored, loads)
    normalize_and_load(
        context, WholeStream(context), recorder, turn, baseline, pipeline, run, extracted
    )
    recorder.before = recorder.before or before
    with context.writer():
        recorder.finished(pipeline, before)
