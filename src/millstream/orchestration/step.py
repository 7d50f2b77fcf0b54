"""The step behind a pipeline's assets: each stream loads on its own, and says what it did."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from millstream import alerts
from millstream.common.text import quantity
from millstream.config import PipelineConfig, load_dotenv
from millstream.errors import MillstreamError, SchemaHeldError
from millstream.model import RunReport
from millstream.orchestration import checks, logs
from millstream.orchestration.columns import column_lineage
from millstream.orchestration.downstream import downstream_of, history_page, links_of
from millstream.orchestration.metadata import child_metadata, stream_metadata
from millstream.orchestration.retries import already_loaded, carried_on, checks_carried_on
from millstream.orchestration.specs import STREAM, TABLE, child_key, source_key, split
from millstream.runs import runner
from millstream.runs.parallel import run_parallel


@dataclass(frozen=True, slots=True)
class StreamAssets:
    """The assets of one stream, whatever Dagster users made of their keys.

    Attributes:
        root: the asset of the stream's own table.
        table: the name of that table; empty of a stream without one of its own.
        children: the other assets, by table.
        selected: those of all these that this step is to materialize.
        checks: those of the root's checks that this step is to evaluate. Never empty, both of them.
    """

    stream: str
    root: dg.AssetKey
    table: str
    children: Mapping[str, dg.AssetKey]
    selected: frozenset[dg.AssetKey]
    checks: frozenset[dg.AssetCheckKey] = frozenset()

    def in_order(self) -> tuple[dg.AssetKey, ...]:
        """All of them, a table before its children: the order in which Dagster takes results."""
        return (self.root, *self.children.values())

    def key_of(self, table: str) -> dg.AssetKey:
        """The asset of a child table; of one that is new, what it will be after a reload."""
        return self.children.get(table) or child_key(self.root, self.table, table)


@dataclass(frozen=True, slots=True)
class _StreamFailure:
    stream: str
    reason: str
    held: SchemaHeldError | None = None


def load(
    context: dg.AssetExecutionContext, config: PipelineConfig, *, full_refresh: bool = False
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetMaterialization | dg.AssetCheckResult]:
    """Run each stream that has a selected asset; yield a result for each selected asset and check.

    A check that is selected without an asset of its stream is evaluated without loading.

    Raises:
        dagster.Failure: at the end, naming the streams that failed; the others are materialized.
            No retry is asked for where all of them wait for someone to accept a change.
    """
    load_dotenv(config.project)
    wanted = selected_streams(context)
    done = already_loaded(context, [key for stream in wanted for key in stream.selected])
    todo: dict[str, StreamAssets] = {}
    losses: dict[str, _StreamFailure] = {}
    for assets in wanted:
        if not assets.selected:
            yield from _judge(context, config, assets, losses)
            continue
        if assets.selected <= done.keys():
            before = {key: done[key] for key in assets.in_order() if key in assets.selected}
            (run, *_) = {record.run_id for record in before.values()}
            context.log.info(f"{assets.stream}: loaded before, in run {run}; not loaded again")
            yield from carried_on(context, before)
            yield from checks_carried_on(context, assets.root, assets.checks)
        else:
            todo[assets.stream] = assets

    def load_one(stream: str) -> list[RunReport] | _StreamFailure:
        reports: list[RunReport] = []
        for key in _partitions(context, config, stream):
            report = _run(context, config, todo[stream], key, full_refresh)
            if isinstance(report, _StreamFailure):
                return report
            reports.append(report)
        return reports

    for stream, outcome in run_parallel(config, list(todo), load_one):
        assets = todo[stream]
        if not isinstance(outcome, _StreamFailure):
            yield from _results(context, config, assets, outcome)
            yield from _checked(
                context, assets, checks.results(config, assets.root, _together(outcome))
            )
            continue
        losses[stream] = outcome
        if outcome.held is not None:
            results = checks.held_results(config, assets.root, outcome.held)
            yield from _checked(context, assets, results)
    if losses:
        in_order = [losses[each.stream] for each in wanted if each.stream in losses]
        raise _failure(config, in_order, [stream.stream for stream in wanted])


def tables_metadata(
    config: PipelineConfig, assets: StreamAssets, report: RunReport
) -> dict[dg.AssetKey, dict[str, Any]]:
    """What a load did to each of its tables, by asset; new tables included."""
    root, others = split(report.tables, assets.table)
    metadata = {assets.root: stream_metadata(report, assets.table) | history_page(assets.root)}
    metadata |= {assets.key_of(table.name): child_metadata(report, table) for table in others}
    source = source_key(config) if config.source_asset else None

    def key_of(table: str) -> dg.AssetKey:
        return assets.root if root is not None and table == root.name else assets.key_of(table)

    for table in report.schema.tables:
        if key_of(table.name) in metadata:
            metadata[key_of(table.name)]["dagster/column_lineage"] = column_lineage(
                table, report.stream, source, assets.root, key_of
            )
    return metadata


def selected_streams(context: dg.AssetExecutionContext) -> Sequence[StreamAssets]:
    """The streams with a selected asset or check, in the order of the configuration."""
    by_stream: dict[str, dict[str, dg.AssetKey]] = {}
    for spec in context.assets_def.specs:
        by_stream.setdefault(spec.metadata[STREAM], {})[spec.metadata[TABLE]] = spec.key
    found = []
    for stream, keys in by_stream.items():
        root, *children = keys  # the specs of a stream begin with its own table
        selected = context.selected_asset_keys & set(keys.values())
        chosen = {k for k in context.selected_asset_check_keys if k.asset_key == keys[root]}
        if selected or chosen:
            found.append(
                StreamAssets(
                    stream,
                    keys[root],
                    root,
                    {table: keys[table] for table in children},
                    frozenset(selected),
                    frozenset(chosen),
                )
            )
    return found


def _partitions(
    context: dg.AssetExecutionContext, config: PipelineConfig, stream: str
) -> Sequence[str | None]:
    """The partitions of a stream that this run loads; None for all of a stream without any."""
    if config.is_partitioned(stream) and (
        context.has_partition_key or context.has_partition_key_range
    ):
        return list(context.partition_keys)
    return [None]


def _run(
    context: dg.AssetExecutionContext,
    config: PipelineConfig,
    assets: StreamAssets,
    partition: str | None,
    full_refresh: bool,
) -> RunReport | _StreamFailure:
    """The report, or where the stream failed, which is then logged, the reason."""
    told = (
        alerts.about(
            links=links_of(context, assets.root),
            downstream=downstream_of(context, assets.in_order()),
        )
        if config.alerts
        else nullcontext()
    )
    try:
        with logs.forwarded(context.log), told:
            return runner.run(
                config,
                assets.stream,
                partition=partition,
                full_refresh=full_refresh,
                progress="log",
            )
    except Exception as error:
        return _lost(context, assets.stream, error)


def _lost(context: dg.AssetExecutionContext, stream: str, error: Exception) -> _StreamFailure:
    """Log what a stream's run raised, without secrets."""
    from millstream.common.redact import redact_foreign

    if isinstance(error, MillstreamError):
        reason = redact_foreign(str(error))
        context.log.error(f"{stream}: {reason}")
        if error.loaded is not None:  # no materialization: a retry would take the stream for done
            context.log.warning(
                f"{stream}: loaded before it failed: {quantity(error.loaded.rows, 'row')}, "
                f"{quantity(len(error.loaded.changes), 'schema change')}"
            )
    else:
        reason = redact_foreign(f"unexpected {type(error).__name__}: {error}")
        trace = "".join(traceback.format_exception(error))
        context.log.error(f"{stream}: {redact_foreign(trace)}")
    held = error if isinstance(error, SchemaHeldError) else None
    return _StreamFailure(stream, reason, held)


def _judge(
    context: dg.AssetExecutionContext,
    config: PipelineConfig,
    assets: StreamAssets,
    losses: dict[str, _StreamFailure],
) -> Iterator[dg.AssetCheckResult]:
    """The selected checks of a stream that is not loaded now."""
    for key in sorted(assets.checks, key=lambda key: key.name):
        try:
            with logs.forwarded(context.log):
                result = checks.standing_result(config, assets.stream, key)
        except Exception as error:
            losses[assets.stream] = _lost(context, assets.stream, error)
        else:
            yield result


def _checked(
    context: dg.AssetExecutionContext,
    assets: StreamAssets,
    results: Sequence[dg.AssetCheckResult],
) -> Iterator[dg.AssetCheckResult]:
    """The results, whether or not the check was selected: a child's run loads its stream too."""
    for result in results:
        name = str(result.check_name)
        # Dagster lets a result through that was not selected, with a warning, and gates on it:
        # right for one that failed; one that passed is recorded without ado
        if dg.AssetCheckKey(assets.root, name) in assets.checks or not result.passed:
            yield result
        else:
            context.log_event(
                dg.AssetCheckEvaluation(
                    asset_key=assets.root,
                    check_name=name,
                    passed=True,
                    metadata=result.metadata,
                    severity=result.severity,
                    description=result.description,
                )
            )


def _results(
    context: dg.AssetExecutionContext,
    config: PipelineConfig,
    assets: StreamAssets,
    reports: Sequence[RunReport],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetMaterialization]:
    """What the loads of a stream did: one of all of it, or one of each partition, oldest first.

    Its own table comes first, or Dagster would take the others for older than what they come from.
    """
    told = [_told(context, config, assets, report) for report in reports]
    made = (key for metadata in told for key in metadata)
    for key in dict.fromkeys((*assets.in_order(), *made)):
        if key not in assets.selected:
            # yielded, not logged: Dagster drops what is logged last when the step fails
            for report, metadata in zip(reports, told):
                if key in metadata:
                    yield dg.AssetMaterialization(
                        key, metadata=metadata[key], partition=report.partition
                    )
            continue
        if len(told) == 1:
            yield dg.MaterializeResult(asset_key=key, metadata=told[0].get(key, _GONE))
            continue
        # Dagster makes an event of each partition, with the metadata that is its own
        for report, metadata in zip(reports, told):
            context.add_asset_metadata(metadata.get(key, _GONE), key, report.partition)
        yield dg.MaterializeResult(asset_key=key)


def _together(reports: Sequence[RunReport]) -> RunReport:
    """What the checks judge: the last report, with what the policy said in all of them."""
    return replace(
        reports[-1],
        decisions=tuple(each for report in reports for each in report.decisions),
        jumps=tuple(each for report in reports for each in report.jumps),
    )


def _told(
    context: dg.AssetExecutionContext,
    config: PipelineConfig,
    assets: StreamAssets,
    report: RunReport,
) -> dict[dg.AssetKey, dict[str, Any]]:
    """The metadata of each of a load's tables."""
    _, others = split(report.tables, assets.table)
    metadata = tables_metadata(config, assets, report)

    context.log.info(
        f"{report.stream}: {quantity(report.rows, 'row')} in {report.total_seconds:.1f} s, "
        f"{quantity(len(report.changes), 'schema change')}"
    )
    for change in report.changes:
        if change.severity != "safe":
            context.log.warning(f"{report.stream}: {change.table}: {change.message}")

    new = [table.name for table in others if table.name not in assets.children]
    # child tables are known to the definitions from this file alone
    if new and config.folder and config.accepted_schema == "file":
        context.log.info(
            f"{report.stream}: new tables: {', '.join(new)}. They become assets of their own when "
            "the definitions are reloaded."
        )
    return metadata


_GONE = {
    "rows_loaded": 0,
    "note": "This table is in the accepted schema or was in a sample, but is none of the stream's.",
}


def _failure(
    config: PipelineConfig, losses: Sequence[_StreamFailure], wanted: Sequence[str]
) -> dg.Failure:
    lost = [loss.stream for loss in losses]
    kept = [stream for stream in wanted if stream not in lost]
    reasons = "\n\n".join(f"{loss.stream}: {loss.reason}" for loss in losses)
    description = (
        f"{len(lost)} of {len(wanted)} streams of {config.name!r} failed: {', '.join(lost)}"
        if len(wanted) > 1
        else f"the stream {lost[0]!r} of {config.name!r} failed"
    )
    return dg.Failure(
        f"{description}\n\n{reasons}",
        metadata={
            "failed_streams": ", ".join(lost),
            "loaded_streams": ", ".join(kept) or "none",
        },
        # nothing but an acceptance helps a stream that is held
        allow_retries=any(loss.held is None for loss in losses),
    )
