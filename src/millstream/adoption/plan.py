"""Which stream takes which tables and which cursor over from a dlt pipeline, or why it can't."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from millstream import destinations, sources
from millstream.adoption.left_by_dlt import DltPipeline
from millstream.config import DltConfig, PipelineConfig, RestApiConfig
from millstream.dlt_compat.pipes import names_above
from millstream.errors import ConfigError
from millstream.runs.context import RunContext, resources_of

if TYPE_CHECKING:
    import dlt


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What a stream takes over.

    Attributes:
        tables: root tables first, each followed by those below it; empty where there are none.
        cursors: the last value of each, by `resource.field`.
        problem: why nothing can be taken over; empty where it can.
        schema: the stream's own, with these tables.
        state: of its resources.
        origin: the dlt schema of each root table.
    """

    stream: str
    tables: tuple[str, ...] = ()
    rows: Mapping[str, int | None] = field(default_factory=dict)
    cursors: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    schema: dlt.Schema | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        """Whether dlt has loaded nothing of it: there is nothing to take over."""
        return self.schema is None and not self.problem

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "stream": self.stream,
            "tables": list(self.tables),
            "rows": dict(self.rows),
            "cursors": {name: str(value) for name, value in self.cursors.items()},
            "problem": self.problem or None,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a dlt pipeline.

    Attributes:
        left: its root tables that no stream takes over, with the resource that made each.
    """

    streams: tuple[StreamPlan, ...]
    left: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {"streams": [each.to_dict() for each in self.streams], "left": dict(self.left)}


def plan(config: PipelineConfig, old: DltPipeline) -> Plan:
    """What each stream of a pipeline takes over; changes nothing.

    Raises:
        ConfigError: the source can't be opened, or is not one of dlt's resources.
    """
    if not isinstance(config.source, (DltConfig, RestApiConfig)):
        raise ConfigError(
            f"pipeline {config.name!r}: a source of type {config.source.type!r} keeps cursors of "
            "its own, and can't go on from those of dlt",
            hint="let `source` name the dlt source (`type: dlt`) or its `rest_api` configuration",
        )
    if config.destination.type == "filesystem":
        raise ConfigError(
            f"pipeline {config.name!r}: tables of files are not adopted: dlt's may be JSON, and "
            "Millstream's are Parquet",
            hint="load into another `destination.dataset`",
        )
    source = sources.of_pipeline(config)
    names = [each.name for each in source.streams()]
    with destinations.reader(config):
        streams = tuple(_of_stream(config, source, name, old) for name in names)
    taken = {table for each in streams for table in each.tables}
    left = {
        str(table["name"]): str(table.get("resource"))
        for schema in old.schemas.values()
        for table in _roots(schema)
        if table["name"] not in taken
    }
    return Plan(streams, left)


def _of_stream(
    config: PipelineConfig, source: sources.Source, stream: str, old: DltPipeline
) -> StreamPlan:
    context = RunContext(config, stream)
    resources = resources_of(source.open(stream))
    members = {each.name for each in resources}
    owners = {
        str(table["name"]): schema
        for schema in old.schemas.values()
        for table in _roots(schema)
        if table.get("resource") in members
    }
    if not owners:
        return StreamPlan(stream, problem=_own_cursor(context, old))
    schema = destinations.schema_of_tables(owners, context.schema)
    tables = tuple(_in_order(schema, owners))
    state = _state(old.sources, {*members, *names_above(resources)}, owners.values())
    return StreamPlan(
        stream,
        tables,
        destinations.row_counts(old.pipeline, next(iter(owners.values())), tables),
        _cursors(state),
        _problem(context, schema, resources, old),
        schema,
        state,
        {root: owner.name for root, owner in owners.items()},
    )


def _own_cursor(context: RunContext, old: DltPipeline) -> str:
    if destinations.loads(old.pipeline, context.schema) is None:
        return ""
    return "the stream has been loaded by Millstream already: it goes on from its own cursor"


def _problem(
    context: RunContext, schema: dlt.Schema, resources: Sequence[Any], old: DltPipeline
) -> str:
    if problem := _own_cursor(context, old):
        return problem
    roots = [str(table["name"]) for table in _roots(schema)]
    for table, newest in destinations.owners_of(old.pipeline, context.schema, roots, ()).items():
        if newest.name not in old.schemas:
            return f"the table `{table}` is loaded by `{newest.name}` by now"
    config = context.target
    assert isinstance(config, PipelineConfig)
    try:
        if config.is_partitioned(context.stream):
            destinations.refuse_unpartitioned(schema, context.what)
        for resource in resources:
            _check_hints(schema, resource)
            destinations.refuse_unmergeable(old.pipeline, schema, resource, context.what)
    except ConfigError as error:
        return error.message
    return ""


def _check_hints(schema: dlt.Schema, resource: Any) -> None:
    """See that a resource would load as it did; `pipeline.run` may have been told otherwise.

    Raises:
        ConfigError: it would load into another table, or in another way.
    """
    table = resource.table_name
    if not isinstance(table, str):  # chosen by the row
        return
    made = [each for each in _roots(schema) if each.get("resource") == resource.name]
    name = schema.naming.normalize_tables_path(table)
    if len(made) > 1 and name not in schema.tables:  # by the row, too: dlt.mark.with_table_name
        return
    if made and name not in schema.tables:
        raise ConfigError(
            f"the resource `{resource.name}` loads into `{name}`, and dlt was told to load it into "
            f"`{made[0]['name']}`: give it `table_name`, as `pipeline.run` was given"
        )
    how = resource.write_disposition
    how = how["disposition"] if isinstance(how, dict) else how
    before = schema.tables[name].get("write_disposition") if made else how
    if how != before:
        raise ConfigError(
            f"the resource `{resource.name}` says `{how}`, and dlt was told `{before}`: give it "
            "`write_disposition` and `primary_key`, as `pipeline.run` was given"
        )


def _roots(schema: dlt.Schema) -> list[Any]:
    return [each for each in schema.data_tables(seen_data_only=True) if not each.get("parent")]


def _in_order(schema: dlt.Schema, roots: Iterable[str]) -> Iterable[str]:
    for root in roots:
        yield root
        children = [
            str(each["name"])
            for each in schema.data_tables(seen_data_only=True)
            if each.get("parent") == root
        ]
        yield from _in_order(schema, children)


def _state(
    left: Mapping[str, Any], resources: set[str], owners: Iterable[dlt.Schema]
) -> dict[str, Any]:
    """What the sources of these resources remember, without that of other resources."""
    named = {schema.name for schema in owners}
    found: dict[str, Any] = {}
    # those that made the tables last: what they know is newer
    for name, state in sorted(left.items(), key=lambda each: each[0] in named):
        own = {
            each: value
            for each, value in (state.get("resources") or {}).items()
            if each in resources
        }
        if own or name in named:
            found |= {key: value for key, value in state.items() if key != "resources"}
            found["resources"] = {**found.get("resources", {}), **own}
    return found


def _cursors(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{resource}.{path}": cursor["last_value"]
        for resource, kept in (state.get("resources") or {}).items()
        for path, cursor in (kept.get("incremental") or {}).items()
        if cursor.get("last_value") is not None
    }
