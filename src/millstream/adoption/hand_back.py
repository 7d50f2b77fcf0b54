"""dlt goes on from where the streams are by now, and Millstream forgets that it had them.

The rows that Millstream has loaded stay, and its loads become the old schema's. dlt's tables lose
the streams' own pipelines and schemas, so that a later run finds tables that are not its own and
refuses to load into them, until they are adopted again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from millstream import destinations, sources
from millstream.adoption.left_by_dlt import DltPipeline
from millstream.adoption.takeover import ADOPTED, held
from millstream.common.metadata_tables import is_own
from millstream.common.sql_client import sql_client
from millstream.config import PipelineConfig
from millstream.errors import ConfigError
from millstream.runs import load_ids, pending_decisions
from millstream.runs.context import RunContext

if TYPE_CHECKING:
    import dlt


def hand_back(config: PipelineConfig, old: DltPipeline) -> Sequence[str]:
    """Give the streams' cursors, and what their tables have become, back to a dlt pipeline.

    Returns:
        The streams that were handed back; those that Millstream has loaded first among them.

    Raises:
        ConfigError: none was adopted from it, or a package of one waits.
    """
    streams = [each.name for each in sources.of_pipeline(config).streams()]
    for stream in streams:
        if pending_decisions.list_pending(config, stream):
            raise ConfigError(
                f"{config.name}.{stream}: a package waits that was not loaded",
                hint="`millstream run` loads it, `millstream pending drop` drops it",
            )
    adopted: dict[str, dict[str, str]] = {}
    for stream in streams:
        context = RunContext(config, stream)
        with held(context) as pipeline:
            pipeline.sync_destination()
            kept = (pipeline.state.get("sources") or {}).get(ADOPTED)
            if kept is None and destinations.loads(pipeline, context.schema) is not None:
                # first loaded by Millstream: dlt would read it from its start
                adopted[stream] = {}
            elif kept is not None and kept["pipeline"] == old.name:
                adopted[stream] = dict(kept["schemas"])
    was = deepcopy(dict(old.sources))
    origins = [schema for schemas in adopted.values() for schema in schemas.values()]
    if not origins:
        raise ConfigError(
            f"pipeline {config.name!r} has no stream that was adopted from {old.name!r}"
        )
    # those that were adopted last: they tell what there is to do, if this is interrupted
    for stream in sorted(adopted, key=lambda each: bool(adopted[each])):
        context = RunContext(config, stream)
        with held(context) as pipeline:
            pipeline.sync_destination()
            _hand_back(context, pipeline, old, adopted[stream], origins[0], was)
    return list(adopted)


def _hand_back(
    context: RunContext,
    pipeline: dlt.Pipeline,
    old: DltPipeline,
    roots: Mapping[str, str],
    default: str,
    was: Mapping[str, Any],
) -> None:
    """Hand one stream back.

    Args:
        roots: the old schema of each root table that was adopted.
        default: the old schema of those that have come since.
        was: the state of each of dlt's sources before any stream was handed back.
    """
    state: Any = pipeline.state.get("sources") or {}
    stored = pipeline.schemas[context.schema]
    for table in stored.data_tables(include_incomplete=True):
        if is_own(str(table["name"])):
            continue
        owner = old.schemas[_owner(stored, str(table["name"]), roots, default)]
        own: Any = {key: value for key, value in table.items() if key != "file_format"}
        owner.update_table(own, normalize_identifiers=False)  # the format is the writer's choice
    for schema in old.schemas.values():
        old.pipeline.schemas.save_schema(schema)
    loads = destinations.loads(pipeline, context.schema)
    names = {*roots.values()} or {default}
    with (
        load_ids.above(loads.newest if loads else None, stream=context.stream),
        old.pipeline.managed_state(extract_state=True) as theirs,
    ):
        kept: Any = theirs.setdefault("sources", {})
        for name in names:
            source = kept.setdefault(name, {})
            mine = state.get(context.schema, {})
            # of a stream that was not adopted, all is its own
            before = was.get(name, {}) if roots else {}
            _update(source, *({**each, "resources": {}} for each in (mine, before)))
            source["resources"] = {**source.get("resources", {}), **mine.get("resources", {})}
    old.pipeline.normalize()
    old.pipeline.load()
    for name in old.schemas:
        old.pipeline.sync_schema(name)
    _forget(context, old.pipeline, min(names))


def _update(state: Any, mine: Mapping[str, Any], was: Mapping[str, Any]) -> None:
    """Change of a state what a stream has changed; the rest may be another stream's, and newer."""
    for key, value in mine.items():
        before = was.get(key)
        if isinstance(value, dict) and isinstance(state.get(key), dict):
            before = before if isinstance(before, dict) else {}
            for gone in before.keys() - value.keys():
                state[key].pop(gone, None)
            _update(state[key], value, before)
        elif key not in was or value != before:
            state[key] = value


def _owner(schema: dlt.Schema, table: str, roots: Mapping[str, str], default: str) -> str:
    """The old schema that a table belongs to."""
    from dlt.common.schema.utils import get_root_table

    root = str(get_root_table(schema.tables, table)["name"])
    return roots.get(root) or next(iter(roots.values()), default)


def _forget(context: RunContext, pipeline: dlt.Pipeline, schema: str) -> None:
    """Take the stream's own pipeline and schema out of dlt's tables; its loads go to `schema`."""
    opened = sql_client(pipeline)
    assert opened is not None
    with opened as client:
        table, column = client.make_qualified_table_name, client.escape_column_name
        client.execute_sql(
            f"UPDATE {table('_dlt_loads')} SET {column('schema_name')} = %s "  # noqa: S608
            f"WHERE {column('schema_name')} = %s",
            schema,
            context.schema,
        )
        for name, key in (
            ("_dlt_version", "schema_name"),
            ("_dlt_pipeline_state", "pipeline_name"),
        ):
            client.execute_sql(
                f"DELETE FROM {table(name)} WHERE {column(key)} = %s",  # noqa: S608
                context.schema if key == "schema_name" else context.name,
            )
