"""A pipeline as Dagster assets, from Python; the component does the same from YAML."""

# no `from __future__ import annotations`: Dagster reads the annotations of a step's function itself
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from millstream import sources
from millstream.config import PipelineConfig, parse_pipeline, project_of
from millstream.errors import ConfigError
from millstream.orchestration import partitions
from millstream.orchestration.checks import check_specs
from millstream.orchestration.jobs import jobs
from millstream.orchestration.ops import Op, ops
from millstream.orchestration.specs import STREAM, asset_specs, roots, source_spec
from millstream.orchestration.translation import Translate

FULL_REFRESH = "millstream/full_refresh"
"""Tag of a run: `true` refreshes all that it loads, whichever its steps."""


class LoadConfig(dg.Config):
    """What can be set for one run, in Dagster's launchpad."""

    full_refresh: bool = Field(
        default=False,
        description="Forget the cursors, read all again, and replace what the tables hold.",
    )


Result = dg.MaterializeResult[Any] | dg.AssetMaterialization | dg.AssetCheckResult
Execute = Callable[[dg.AssetExecutionContext, LoadConfig], Iterable[Result]]


def assets(config: PipelineConfig | None = None, /, **attributes: Any) -> dg.AssetsDefinition:
    """The assets of one pipeline: each stream one, each table below it one. Connects to nothing.

    One definition, and so one step of a run, which loads all streams; `step_assets` makes several.

    Args:
        config: a pipeline that is already parsed; else name its attributes, as in `defs.yaml`.
        attributes: `name`, `source`, `destination`, `group`, `owners`, `tags`; and `project`, the
            folder that relative paths start from (the one with `pyproject.toml` at or above the
            working directory when left out), and `folder`, where the accepted schema is kept
            (None: nowhere, and child tables are materialized without becoming assets).

    Raises:
        ConfigError: naming each wrong attribute; `config` and attributes were both given; or
            `steps` asks for several.
    """
    pipeline = _config(config, attributes, "millstream.assets(...)")
    if pipeline.steps not in (None, "pipeline"):
        raise ConfigError(
            f"pipeline {pipeline.name!r}: millstream.assets(...) is one step, and `steps` is "
            f"{pipeline.steps!r}",
            hint="use millstream.step_assets(...), a list with a definition for each step",
        )
    (one,) = _assets(pipeline.model_copy(update={"steps": "pipeline"}))
    return one


def step_assets(
    config: PipelineConfig | None = None, /, **attributes: Any
) -> list[dg.AssetsDefinition]:
    """As `assets`, with a definition for each step of a run, as `steps` says.

    By default a step loads one stream and the tables below it.

    Raises:
        ConfigError: as `assets`.
    """
    return _assets(_config(config, attributes, "millstream.step_assets(...)"))


def _assets(
    pipeline: PipelineConfig, translated: Translate | None = None, execute: Execute | None = None
) -> list[dg.AssetsDefinition]:
    specs = asset_specs(pipeline, translated)
    execute = execute or partial(load, pipeline)
    return [
        _step(
            pipeline, op, [spec for spec in specs if spec.metadata[STREAM] in op.streams], execute
        )
        for op in ops(pipeline, sources.of_pipeline(pipeline).streams())
    ]


def load(
    pipeline: PipelineConfig, context: dg.AssetExecutionContext, config: LoadConfig
) -> Iterator[Result]:
    """Load what a step is to load, and yield a result for each asset and selected check."""
    # here, so that loading definitions imports neither the runner nor what it needs
    from millstream.orchestration import step

    full_refresh = config.full_refresh or _is_tagged(context)
    yield from step.load(context, pipeline, full_refresh=full_refresh)


def _step(
    pipeline: PipelineConfig, op: Op, specs: Sequence[dg.AssetSpec], execute: Execute
) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=op.name,
        description=op.description,
        specs=specs,
        check_specs=check_specs(pipeline, roots(specs)),
        can_subset=True,
        pool=pipeline.pool or f"millstream_{pipeline.destination.type.rsplit('.', 1)[-1]}",
        backfill_policy=_backfill(pipeline, specs),
    )
    def load_streams(context: dg.AssetExecutionContext, config: LoadConfig) -> Iterator[Result]:
        yield from execute(context, config)

    return load_streams


def definitions(config: PipelineConfig | None = None, /, **attributes: Any) -> dg.Definitions:
    """The assets of one pipeline, the job that bears its name, its other jobs, and its schedule.

    Takes what `assets` takes, and `schedule` and `stream_jobs`.

    Raises:
        ConfigError: as `assets`, or the schedule is no cron expression.
    """
    return definitions_of(_config(config, attributes, "millstream.definitions(...)"))


def definitions_of(
    config: PipelineConfig, translated: Translate | None = None, execute: Execute | None = None
) -> dg.Definitions:
    """The definitions of a pipeline, of which a component has something to say.

    Args:
        translated: has the last word on the spec of each asset.
        execute: what a step does instead of `load`.
    """
    loaded = _assets(config, translated, execute)
    job, *others = jobs(config, [spec for each in loaded for spec in each.specs])
    return dg.Definitions(
        assets=[*loaded, *([source_spec(config)] if config.source_asset else [])],
        jobs=[job, *others],
        schedules=[_schedule(config, config.schedule, job)] if config.schedule else [],
    )


def _is_tagged(context: dg.AssetExecutionContext) -> bool:
    """Whether a tag of the run asks all of its steps for a full refresh."""
    value = context.run.tags.get(FULL_REFRESH, "false")
    if value not in ("true", "false"):
        raise ConfigError(
            f"the tag {FULL_REFRESH} is {value!r}", hint="set it to `true` or `false`"
        )
    return value == "true"


def _backfill(config: PipelineConfig, specs: Sequence[dg.AssetSpec]) -> dg.BackfillPolicy | None:
    if config.partitions is None or not any(spec.partitions_def for spec in specs):
        return None
    per_run = config.partitions.per_run
    return dg.BackfillPolicy.multi_run(per_run) if per_run else dg.BackfillPolicy.single_run()


def _schedule(config: PipelineConfig, cron: str, job: Any) -> dg.ScheduleDefinition:
    name = config.name
    starts = config.schedule_status == "running"
    status = dg.DefaultScheduleStatus.RUNNING if starts else dg.DefaultScheduleStatus.STOPPED
    description = f"Loads all streams of {name}." + (
        ""
        if starts
        else " Switched off until you switch it on here, or set `schedule_status: running`."
    )
    try:
        if config.partitions is not None:
            return dg.ScheduleDefinition(
                name=f"{name}_schedule",
                job=job,
                cron_schedule=cron,
                default_status=status,
                description=description,
                execution_timezone=getattr(config.partitions, "timezone", "UTC"),
                execution_fn=lambda context: partitions.requests(config, context),
            )
        return dg.ScheduleDefinition(
            name=f"{name}_schedule",
            job=job,
            cron_schedule=cron,
            default_status=status,
            description=description,
        )
    except dg.DagsterInvalidDefinitionError:
        raise ConfigError(
            f"pipeline {name!r}: schedule: {cron!r} is not a cron expression",
            hint="five fields: minute hour day month weekday; `0 6 * * *` is every day at 6:00",
        ) from None


def _config(
    config: PipelineConfig | None, attributes: dict[str, Any], where: str
) -> PipelineConfig:
    if config is not None:
        if attributes:
            raise ConfigError(
                f"{where}: a configuration and attributes: {', '.join(sorted(attributes))}",
                hint="pass one of them; `config.model_copy(update={...})` changes a configuration",
            )
        return config
    attributes = dict(attributes)
    project = Path(attributes.pop("project", None) or project_of(Path.cwd()))
    folder = attributes.pop("folder", None)
    return parse_pipeline(
        attributes, where=where, project=project, folder=Path(folder) if folder else None
    )
