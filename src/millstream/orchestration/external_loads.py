"""Loads of the command line, reported to a Dagster instance: its assets show as materialized.

Only where `DAGSTER_HOME` names an instance. These events belong to no run of Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

import dagster as dg

from millstream.common.text import quantity
from millstream.config import PipelineConfig
from millstream.errors import SchemaHeldError
from millstream.model import RunReport
from millstream.orchestration import checks
from millstream.orchestration.specs import STREAM, TABLE, asset_specs
from millstream.orchestration.step import StreamAssets, tables_metadata
from millstream.orchestration.translation import Translate


def report_loads(
    config: PipelineConfig, reports: Sequence[RunReport], held: Mapping[str, SchemaHeldError]
) -> str:
    """Report materializations and check results; what was reported.

    Args:
        held: the streams of which the policy holds a change, so that nothing was loaded.

    Raises:
        Exception: whatever Dagster raises where the instance can't be opened or written.
    """
    # before the run there may have been no accepted schema, and so no child tables
    streams = _streams(config)
    told: set[dg.AssetKey] = set()
    with dg.DagsterInstance.get() as instance:
        for report in reports:
            assets = streams[report.stream]
            for key, metadata in tables_metadata(config, assets, report).items():
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(key, metadata=metadata, partition=report.partition)
                )
                told.add(key)
            for result in checks.results(config, assets.root, report):
                instance.report_runless_asset_event(_evaluation(result))
        for stream, error in held.items():
            for result in checks.held_results(config, streams[stream].root, error):
                instance.report_runless_asset_event(_evaluation(result))
    return f"{quantity(len(told), 'asset')} materialized"


def report_replay(config: PipelineConfig, report: RunReport) -> str:
    """Report what rows from quarantine did to the tables of a stream; what was reported.

    No check is told: these rows are no sample of the source. Those of a stream with partitions may
    be of several ones, so that its tables are observed, not materialized.

    Raises:
        Exception: as `report_loads`.
    """
    assets = _streams(config)[report.stream]
    tables = tables_metadata(config, assets, report)
    is_partitioned = config.is_partitioned(report.stream)
    event = dg.AssetObservation if is_partitioned else dg.AssetMaterialization
    with dg.DagsterInstance.get() as instance:
        for key, metadata in tables.items():
            instance.report_runless_asset_event(event(key, metadata=metadata))
    return f"{quantity(len(tables), 'asset')} {'observed' if is_partitioned else 'materialized'}"


def _translated(config: PipelineConfig) -> Translate | None:
    """What the component of a subclass says of its assets."""
    if config.component is None:
        return None
    module, _, name = config.component.rpartition(".")
    translated: Translate = getattr(import_module(module), name)(config).get_asset_spec
    return translated


def _streams(config: PipelineConfig) -> dict[str, StreamAssets]:
    by_stream: dict[str, dict[str, dg.AssetKey]] = {}
    for spec in asset_specs(config, _translated(config)):
        by_stream.setdefault(spec.metadata[STREAM], {})[spec.metadata[TABLE]] = spec.key
    found = {}
    for stream, keys in by_stream.items():
        root, *children = keys  # the specs of a stream begin with its own table
        all_of_them = frozenset(keys.values())
        found[stream] = StreamAssets(
            stream, keys[root], root, {table: keys[table] for table in children}, all_of_them
        )
    return found


def _evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    assert result.asset_key is not None
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=str(result.check_name),
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
    )
