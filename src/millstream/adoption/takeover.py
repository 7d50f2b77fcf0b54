"""The streams of a pipeline get tables and cursors of a dlt pipeline, each in a load of its own.

A stream's dlt pipeline gets a state and a schema as if it had loaded the rows itself; nothing of
the old pipeline's is written to. `ADOPTED` in the state says where they come from, for `hand_back`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from millstream import destinations, schema_changes
from millstream.adoption.left_by_dlt import DltPipeline
from millstream.adoption.plan import Plan, StreamPlan
from millstream.common.metadata_tables import own_pipeline
from millstream.config import PipelineConfig
from millstream.errors import ConfigError
from millstream.runs import load_ids
from millstream.runs.context import RunContext
from millstream.runs.turn import Turn

if TYPE_CHECKING:
    import dlt

ADOPTED = "_millstream_adopted"
"""Beside the states of sources: the old pipeline's name, and the schema of each root table."""


def take_over(config: PipelineConfig, old: DltPipeline, plan: Plan) -> None:
    """Let the streams of a plan go on from where a dlt pipeline is.

    What they take over counts as accepted. A stream that has it already stays as it is, so that
    what was interrupted can be done again.

    Raises:
        ConfigError: a run has loaded a stream meanwhile.
        DestinationError: it can't be written to.
    """
    with destinations.writer(config):
        destinations.ensure_ready(config)
    newest = old.newest_load
    store = destinations.accepted_store(config)
    for each in plan.streams:
        if each.schema is None or each.problem:
            continue
        _take_over(RunContext(config, each.stream), old.name, each, newest)
        if store is not None:
            store.add(each.stream, schema_changes.snapshot(each.schema))


@contextmanager
def held(context: RunContext) -> Iterator[dlt.Pipeline]:
    """The stream's own dlt pipeline, as on a new machine, while no run loads the stream."""
    with (
        tempfile.TemporaryDirectory(prefix="millstream-adopt-") as scratch,
        Turn(context),
        own_pipeline(),
        context.writer(),
    ):
        yield context.pipeline(Path(scratch))


def _take_over(context: RunContext, old: str, found: StreamPlan, newest: str | None) -> None:
    with held(context) as pipeline:
        if destinations.loads(pipeline, context.schema) is not None:
            raise ConfigError(
                f"{context.what}: a run has loaded the stream meanwhile",
                hint="`millstream adopt --dry-run` shows what there is to take over now",
            )
        assert found.schema is not None
        pipeline.schemas.save_schema(found.schema)
        pipeline.default_schema_name = context.schema  # type: ignore[assignment]
        with (
            load_ids.above(newest, stream=context.stream),
            pipeline.managed_state(extract_state=True) as state,
        ):
            state["sources"] = {
                context.schema: dict(found.state),
                ADOPTED: {"pipeline": old, "schemas": dict(found.origin)},
            }
        pipeline.normalize()
        pipeline.load()
