"""The limits of quarantine and the schema policy: they decide before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from millstream import schema_changes
from millstream.model import Decision, SchemaVersion
from millstream.quarantine import limits
from millstream.runs.context import RunContext
from millstream.runs.recorder import RunRecorder
from millstream.runs.stages.normalizing import Normalized


def decide(
    context: RunContext,
    run: Path,
    new: SchemaVersion,
    recent: Sequence[schema_changes.LoadProfile],
    accepted: SchemaVersion | None,
) -> tuple[Decision, ...]:
    """What the policy says of what nobody has accepted yet."""
    decisions = schema_changes.govern(
        schema_changes.held_packages.read_baseline(run, context.stream),
        accepted,
        new,
        context.target.schema_policy,
        stream=context.stream,
        approved=schema_changes.held_packages.approved(run),
        recent=recent,
        maps=context.maps,
        shares=context.target.profile_check,
        knows_columns=context.is_reflected,
    )
    # what should be quarantined, and yet came this far, came in a form that is not rows
    return tuple(
        replace(each, action="hold") if each.action == "quarantine" else each for each in decisions
    )


def govern(
    context: RunContext,
    recorder: RunRecorder,
    run: Path,
    package: Normalized,
    recent: Sequence[schema_changes.LoadProfile],
    accepted: SchemaVersion | None,
) -> tuple[Decision, ...]:
    """Let the limits of quarantine and the policy decide before anything is sent.

    Raises:
        QuarantineLimitError: too many rows are bad.
        SchemaHeldError: the policy holds a change; the package waits.
    """
    target, stream, seen = context.target, context.stream, package.seen
    # rows that are replayed are expected to be bad
    if not seen.outcomes.keys() & {"replayed", "waiting"}:
        limits.check(
            target.quarantine,
            seen.quarantined,
            sum(seen.rows.values()) + sum(package.outdated.values()),
            pipeline=target.name,
            stream=stream,
        )
    decisions = decide(context, run, package.schema, recent, accepted)
    if any(decision.action == "hold" for decision in decisions):
        rows = package.rows
        error = schema_changes.held_packages.hold(
            run, target.name, stream, (*package.refusals, *decisions), package.schema, rows
        )
        # with what was loaded first of an interrupted run: one message a run
        recorder.send_alerts((*recorder.decisions, *decisions), {**recorder.rows, **rows})
        raise error
    return decisions
