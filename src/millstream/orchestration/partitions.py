"""A pipeline's partitions as Dagster's: the same keys, the same windows."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from millstream.config import PipelineConfig, StaticPartitions, TimePartitions


def definition(config: PipelineConfig, stream: str) -> dg.PartitionsDefinition[str] | None:
    """The partitions of one stream's assets; None for a stream without any."""
    partitions = config.partitions
    if partitions is None or not partitions.covers(stream):
        return None
    if isinstance(partitions, StaticPartitions):
        return dg.StaticPartitionsDefinition(list(partitions.keys()))
    return _windows(partitions)


def requests(
    config: PipelineConfig, context: dg.ScheduleEvaluationContext
) -> Iterator[dg.RunRequest]:
    """What a schedule's tick runs: the window that ended last, or every static key."""
    partitions = config.partitions
    assert partitions is not None, "only a partitioned job has such a schedule"
    keys = partitions.keys(context.scheduled_execution_time)
    for key in keys if isinstance(partitions, StaticPartitions) else keys[-1:]:
        yield dg.RunRequest(partition_key=key)


def _windows(partitions: TimePartitions) -> dg.TimeWindowPartitionsDefinition:
    start, zone = partitions.start.isoformat(), partitions.timezone
    if partitions.every == "hour":
        return dg.HourlyPartitionsDefinition(start_date=f"{start}-00:00", timezone=zone)
    if partitions.every == "day":
        return dg.DailyPartitionsDefinition(start_date=start, timezone=zone)
    if partitions.every == "month":
        return dg.MonthlyPartitionsDefinition(start_date=start, timezone=zone)
    weekday = partitions.start.isoweekday() % 7  # Dagster's weeks begin on day 0, a Sunday
    return dg.WeeklyPartitionsDefinition(start_date=start, timezone=zone, day_offset=weekday)
