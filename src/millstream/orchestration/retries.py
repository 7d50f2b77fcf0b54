"""What is already done when a step is tried again, as the event log shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import dagster as dg

# dagster._core.storage.tags: set by "re-execute from failure", by hand or by automatic run retries.
_RESUMES = "dagster/is_resume_retry"


def already_loaded(
    context: dg.AssetExecutionContext, keys: Iterable[dg.AssetKey]
) -> Mapping[dg.AssetKey, dg.EventLogRecord]:
    """Those of `keys` that this run has loaded, or one that it continues, as that one recorded it.

    Empty for a first attempt, and for a re-execution of everything. A re-execution "from asset
    failure" needs nothing of this: it selects the assets that are missing.
    """
    runs = _runs_that_this_one_continues(context)
    if not runs:
        return {}
    started = min(runs.values())
    found: dict[dg.AssetKey, dg.EventLogRecord] = {}
    for key in keys:
        cursor, more = None, True
        while more and key not in found:
            page = context.instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=key, after_timestamp=started - 1),
                limit=100,
                cursor=cursor,
            )
            cursor, more = page.cursor, page.has_more
            for record in page.records:
                if record.run_id in runs:
                    found[key] = record
                    break
    return found


def carried_on(
    context: dg.AssetExecutionContext, records: Mapping[dg.AssetKey, dg.EventLogRecord]
) -> Iterator[dg.MaterializeResult[Any]]:
    """A result for what an earlier run loaded, where steps of this run may wait for it.

    Without one, Dagster skips the steps downstream in a re-execution. It says that this run loaded
    nothing, and which one did. A retry within a run needs none: Dagster still has the first one.
    """
    if len(context.run.step_keys_to_execute or ()) < 2:
        return
    for key, record in records.items():
        if record.run_id != context.run.run_id and record.asset_materialization is not None:
            of_table = {
                name: value
                for name, value in record.asset_materialization.metadata.items()
                if name.startswith("dagster/")
            }
            yield dg.MaterializeResult(
                asset_key=key,
                metadata={
                    **of_table,
                    "rows_loaded": 0,
                    "bytes_loaded": 0,
                    "loaded_in_run": dg.MetadataValue.dagster_run(record.run_id),
                },
            )


def checks_carried_on(
    context: dg.AssetExecutionContext, root: dg.AssetKey, keys: Collection[dg.AssetCheckKey]
) -> Iterator[dg.AssetCheckResult]:
    """What these checks of `root` said when a run that this one continues loaded it.

    Without it, a retry would let downstream assets run although a blocking check had failed: one
    that did not pass is told, too, where a child table was selected without the check.
    """
    said: dict[dg.AssetCheckKey, tuple[str, dg.AssetCheckEvaluation]] = {}
    for run_id in reversed(list(_runs_that_this_one_continues(context))):  # the newest word counts
        found = context.instance.get_records_for_run(
            run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        )
        for record in found.records:
            event = record.event_log_entry.dagster_event
            if event is not None:
                evaluation = event.asset_check_evaluation_data
                said[evaluation.asset_check_key] = (run_id, evaluation)
    for key, (run_id, evaluation) in said.items():
        if key.asset_key != root or (key not in keys and evaluation.passed):
            continue
        yield dg.AssetCheckResult(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=evaluation.passed,
            severity=evaluation.severity,
            description=evaluation.description,
            metadata={
                **evaluation.metadata,
                "loaded_in_run": dg.MetadataValue.dagster_run(run_id),
            },
        )


def _runs_that_this_one_continues(context: dg.AssetExecutionContext) -> dict[str, float]:
    """Ids of these runs and when each was created, in seconds since 1970."""
    runs: dict[str, float] = {}
    run = context.run
    record = context.instance.get_run_record_by_id(run.run_id)
    if context.retry_number > 0 and record is not None:
        runs[run.run_id] = record.create_timestamp.timestamp()
    while run.tags.get(_RESUMES) == "true" and run.parent_run_id not in (None, *runs):
        record = context.instance.get_run_record_by_id(run.parent_run_id)
        if record is None:  # deleted since
            break
        run = record.dagster_run
        runs[run.run_id] = record.create_timestamp.timestamp()
    return runs
