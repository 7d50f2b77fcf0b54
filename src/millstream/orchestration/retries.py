"""What is already done when a step is tried again, as the event log shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

# dagster._core.storage.tags: set by "re-execute from failure", by hand or by automatic run retries.
_RESUMES = "dagster/is_resume_retry"


def already_loaded(
    context: dg.AssetExecutionContext, keys: Iterable[dg.AssetKey]
) -> Mapping[dg.AssetKey, str]:
    """Those of `keys` that this run has loaded, or one that it continues, with that run's id.

    Empty for a first attempt, and for a re-execution of everything. A re-execution "from asset
    failure" needs nothing of this: it selects the assets that are missing.
    """
    runs = _runs_that_this_one_continues(context)
    if not runs:
        return {}
    started = min(runs.values())
    found: dict[dg.AssetKey, str] = {}
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
                    found[key] = record.run_id
                    break
    return found


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
