"""Configuration and accepted schema -> asset specs. Connects to nothing.

source                       asset [sources, pipeline], where lineage begins; nobody loads it
└── stream                   asset [pipeline, stream], or [pipeline, database, collection]
    └── table of its lists   asset [pipeline, table], which depends on its parent table's asset
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import dagster as dg

from millstream import destinations, sources
from millstream.common.redact import redact_url
from millstream.config import (
    DltConfig,
    FilesConfig,
    GitHubConfig,
    MongoDBConfig,
    PipelineConfig,
    RestApiConfig,
    SqlDatabaseConfig,
)
from millstream.errors import ConfigError
from millstream.model import SchemaVersion, Stream, Table
from millstream.orchestration import partitions
from millstream.orchestration.columns import table_schema
from millstream.orchestration.translation import TableData, Translate, own_key, translate
from millstream.schema_changes import accepted_file

STREAM = "millstream/stream"
TABLE = "millstream/table"
"""Metadata of each spec: which stream loads the asset, and which of its tables the asset is."""


def asset_specs(
    config: PipelineConfig, translated: Translate | None = None
) -> Sequence[dg.AssetSpec]:
    """One spec a stream, and one a table below it that the accepted schema knows, or a sample.

    Any other child table has no spec until a run has made it and the definitions are loaded again.

    Args:
        translated: has the last word on each; what the configuration says, when left out.

    Raises:
        ConfigError: the source offers no streams, two of them load into one table, two assets
            have one key, or the configuration has attributes of an asset that is not there.
    """
    translated = translated or partial(translate, config)
    streams = sources.of_pipeline(config).streams()
    if not streams:
        raise ConfigError(
            f"pipeline {config.name!r}: its source offers no streams",
            hint="name the streams to load under `source.streams`",
        )
    names = {stream.name for stream in streams}
    if unknown := sorted(config.assets.keys() - names):
        raise ConfigError(
            f"assets: pipeline {config.name!r} has no stream {unknown[0]!r}",
            hint=f"it has {', '.join(sorted(names))}",
        )
    accepted = accepted_file.load(config.folder) if config.folder else {}
    specs: dict[dg.AssetKey, dg.AssetSpec] = {}
    for stream in streams:
        for spec in _specs_of(config, stream, accepted.get(stream.name), translated):
            if spec.key in specs:
                other = specs[spec.key].metadata
                if other[TABLE] != spec.metadata[TABLE]:
                    raise ConfigError(
                        f"pipeline {config.name!r}: the tables {other[TABLE]!r} and "
                        f"{spec.metadata[TABLE]!r} have the key {spec.key.to_user_string()!r}",
                        hint='`key: "raw/{{ table.name }}"` gives each its own',
                    )
                both = sorted({other[STREAM], stream.name})
                raise ConfigError(
                    f"pipeline {config.name!r}: the table {spec.metadata[TABLE]!r} is loaded by "
                    f"more than one stream: {', '.join(both)}",
                    hint="give each of them a pipeline and a dataset of its own",
                )
            specs[spec.key] = spec
    return list(specs.values())


def source_spec(config: PipelineConfig) -> dg.AssetSpec:
    """The source as an asset, upstream of all streams; Dagster shows it and never runs it."""
    source = config.source
    match source:
        case GitHubConfig():
            owners = [f"all of {source.organization}"] if source.organization else []
            what = f"GitHub: {', '.join([*source.repositories, *owners])}"
        case MongoDBConfig():
            what = f"MongoDB: {', '.join(source.databases) or 'the database in MONGODB_URI'}"
        case SqlDatabaseConfig():
            what = f"SQL database: the one in {source.url_from or 'DATABASE_URL'}"
        case FilesConfig():
            what = f"Files: {', '.join(redact_url(each.path) for each in source.streams.values())}"
        case RestApiConfig():
            what = f"The API at {redact_url(source.base_url)}"
        case DltConfig():
            what = f"The dlt source `{source.path}`"
    return dg.AssetSpec(
        source_key(config),
        description=f"{what}. Loaded by the pipeline `{config.name}`.",
        group_name=config.group or config.name,
        owners=list(config.owners),
        tags=dict(config.tags),
        kinds={source.type},
    )


def source_key(config: PipelineConfig) -> dg.AssetKey:
    return dg.AssetKey(["sources", config.name])


def roots(specs: Iterable[dg.AssetSpec]) -> list[dg.AssetKey]:
    """Of each stream the asset of its own table, which is the first of its specs."""
    first: dict[str, dg.AssetKey] = {}
    for spec in specs:
        first.setdefault(spec.metadata[STREAM], spec.key)
    return list(first.values())


def split(tables: Sequence[Any], own: str) -> tuple[Any | None, Sequence[Any]]:
    """A stream's own table, and all others.

    Args:
        own: what the table is called as far as is known, which is not needed where the stream has
            one table without a parent; empty of a stream that has none of its own, such as one
            whose rows choose their tables.
    """
    roots = [table for table in tables if table.parent is None]
    named = [table for table in roots if table.name in (own, own.lower())]
    root = next(iter(roots if len(roots) == 1 and own else named), None)
    return root, [table for table in tables if table is not root]


def child_key(root: dg.AssetKey, root_table: str, table: str) -> dg.AssetKey:
    """The asset of a table below a stream's own: beside that one's, and called after it.

    >>> child_key(dg.AssetKey(["shop", "crm", "users"]), "crm_users", "crm_users__tags").path
    ['shop', 'crm', 'users__tags']
    """
    *place, name = root.path
    below = table.removeprefix(f"{root_table}__") if root_table else table
    return dg.AssetKey([*place, table if below == table else f"{name}__{below}"])


def _key(config: PipelineConfig, stream: Stream) -> dg.AssetKey:
    if (own := own_key(config, stream)) is not None:
        return own
    return dg.AssetKey([config.name, *(stream.place or (stream.name,))])


def _sampled(config: PipelineConfig, stream: Stream) -> SchemaVersion:
    """The tables that a sample of the stream's rows would make, their columns left open."""
    root = stream.table or stream.name
    tables: dict[tuple[str, ...], str] = {(): root}
    found = [Table(root)]
    for keys in sorted(stream.lists):
        tables[keys] = destinations.nested_table(config, root, keys)
        # the nearest list around this one; objects on the way make no table
        above = next(tables[keys[:n]] for n in reversed(range(len(keys))) if keys[:n] in tables)
        found.append(Table(tables[keys], above))
    return SchemaVersion(tuple(found))


def _specs_of(
    config: PipelineConfig, stream: Stream, schema: SchemaVersion | None, translated: Translate
) -> Iterator[dg.AssetSpec]:
    own = (stream.table or stream.name) if stream.has_own_table else ""
    schema = schema or (_sampled(config, stream) if own else SchemaVersion())
    root, others = split(schema.tables, own)
    if root is None and others:  # the accepted schema knows better
        own = ""
    key = _key(config, stream)
    above = [source_key(config)] if config.source_asset else []
    keys: dict[str, dg.AssetKey] = {}

    def named(table: Table, spec: dg.AssetSpec, *, is_root: bool = False) -> dg.AssetSpec:
        found = translated(TableData(stream, table, spec, is_root))
        keys[table.name] = found.key
        # how a run finds the tables of its assets
        return found.merge_attributes(metadata={STREAM: stream.name, TABLE: table.name})

    own_table = root or Table(own)
    description = stream.description or f"The stream `{stream.name}`."
    spec = _spec(config, key, stream, own_table, description=description, deps=above)
    yield named(own_table, spec, is_root=True)
    for table in others:
        parent = keys.get(table.parent) if table.parent else None
        spec = _spec(
            config,
            child_key(key, root.name if root else "", table.name),
            stream,
            table,
            description=f"One row per item of a list in `{table.parent}`; `_dlt_parent_id` there "
            "is the `_dlt_id` of the row that held it."
            if table.parent
            else f"A further table of the stream `{stream.name}`.",
            deps=[parent] if parent else above,
        )
        yield named(table, spec)


def _spec(
    config: PipelineConfig,
    key: dg.AssetKey,
    stream: Stream,
    table: Table,
    *,
    description: str,
    deps: Sequence[dg.AssetKey] = (),
) -> dg.AssetSpec:
    storage = destinations.storage_kind(config)
    metadata: dict[str, Any] = {
        "dagster/storage_kind": storage,
        STREAM: stream.name,
        TABLE: table.name,
    }
    if table.name:
        metadata["dagster/table_name"] = destinations.table_name(config, table.name)
    if table.columns:
        metadata["dagster/column_schema"] = table_schema(table)
    return dg.AssetSpec(
        key,
        deps=deps,
        description=description,
        metadata=metadata,
        group_name=config.group or (stream.place[0] if len(stream.place) > 1 else config.name),
        owners=list(config.owners),
        tags=dict(config.tags),
        kinds={config.source.type, storage, "table"},
        partitions_def=partitions.definition(config, stream.name),
    )
