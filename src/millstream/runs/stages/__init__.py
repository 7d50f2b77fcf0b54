"""The stages of a run, each a function of what it needs.

`runner.execute` puts them in order; `normalize_and_load` has the second half of it, from extracted
rows to loaded ones, which a run also does for the package that an interrupted one left.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from millstream import engine, schema_changes
from millstream.runs.context import RunContext
from millstream.runs.recorder import RunRecorder
from millstream.runs.scope import Baseline, OnePartition, Scope
from millstream.runs.stages.extracting import Extracted, extract, restore
from millstream.runs.stages.governing import decide, govern
from millstream.runs.stages.loading import load, sweep
from millstream.runs.stages.normalizing import normalize
from millstream.runs.turn import Turn

if TYPE_CHECKING:
    import dlt

__all__ = [
    "Extracted",
    "decide",
    "extract",
    "govern",
    "load",
    "normalize",
    "normalize_and_load",
    "restore",
    "sweep",
]


def normalize_and_load(
    context: RunContext,
    scope: Scope,
    recorder: RunRecorder,
    turn: Turn,
    baseline: Baseline,
    pipeline: dlt.Pipeline,
    run: Path,
    extracted: Extracted,
) -> None:
    """Normalize, govern and load what was extracted.

    Raises:
        SchemaHeldError: the policy holds a change; the package waits.
        StaleCursorError: its rows are older than what the destination has by now.
    """
    # partitions share tables and a schema: each in its turn; extracting is done by then
    with turn.of_stream():
        if isinstance(scope, OnePartition):
            with recorder.step("restore"), context.writer():
                recorder.history.reconcile(pipeline)
                now = scope.sync_schema(pipeline, recorder.history)
                baseline = replace(now, load_ids=baseline.load_ids)
                recorder.before = baseline.version
                schema_changes.held_packages.write_baseline(run, context.stream, baseline.version)
        accepted = context.accepted()
        with recorder.step("normalize"):
            package = normalize(context, baseline, pipeline, run, accepted)
        with recorder.step("govern"):
            is_sample = package.seen.profile and not package.seen.is_replay
            recent = recorder.recent(pipeline, baseline.loads) if is_sample else ()
            decisions = govern(context, recorder, run, package, recent, accepted)
        with recorder.step("load"), context.writer():
            turn.check()
            loaded = load(
                context, scope, recorder, baseline, pipeline, run, extracted, package, decisions
            )
        recorder.stopped |= loaded.stopped
        if context.target.receipts != "none":
            from millstream.runs.stages.verifying import verify

            recorder.receipts += verify(context, recorder, pipeline, run, package)
        recorder.count(package.counted, pipeline.schemas[context.schema])
        recorder.engine_rows.update(package.seen.rows)
        recorder.engine_reasons.update(package.seen.reasons)
        recorder.quarantined += package.seen.quarantined
        recorder.outcomes.update(package.seen.outcomes)
        recorder.outdated.update(package.outdated)
        recorder.deletions.update(package.seen.deletions)
        recorder.warnings += (*extracted.warnings, *package.warnings, *loaded.warnings)
        recorder.warnings += engine.describe_collisions(package.seen.collisions)
        recorder.skipped += extracted.findings.skipped
        recorder.add_profile(schema_changes.profile_of(package.schema))
        recorder.decisions += (*package.refusals, *decisions)
        recorder.compare(package.schema, recent, decisions)
        recorder.accept(context.version(pipeline))
