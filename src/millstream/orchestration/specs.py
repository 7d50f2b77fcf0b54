"""Configuration and accepted schema -> asset specs. Connects to nothing.

stream                     asset [pipeline, stream]
  └── table of its lists   asset [pipeline, table], which depends on its parent table's asset
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from millstream import destinations, sources
from millstream.config import PipelineConfig
from millstream.errors import ConfigError
from millstream.ledger import baseline
from millstream.model import SchemaVersion, Stream, Table
from millstream.orchestration.columns import table_schema

STREAM = "millstream/stream"
TABLE = "millstream/table"
"""Metadata of each spec: which stream loads the asset, and which of its tables the asset is."""


def asset_specs(config: PipelineConfig) -> Sequence[dg.AssetSpec]:
    """One spec a stream, and one a table below it that the accepted schema knows.

    A child table that no run has made yet has no spec until the definitions are loaded again.

    Raises:
        ConfigError: the source offers no streams, or two of them load into one table.
    """
    streams = sources.create(config.source).streams()
    if not streams:
        raise ConfigError(
            f"pipeline {config.name!r}: its source offers no streams",
            hint="name the streams to load under `source.streams`",
        )
    accepted = baseline.load(config.folder) if config.folder else {}
    specs: dict[dg.AssetKey, dg.AssetSpec] = {}
    for stream in streams:
        for spec in _specs_of(config, stream, accepted.get(stream.name, SchemaVersion())):
            if spec.key in specs:
                both = sorted({specs[spec.key].metadata[STREAM], stream.name})
                raise ConfigError(
                    f"pipeline {config.name!r}: the table {spec.metadata[TABLE]!r} is loaded by "
                    f"more than one stream: {', '.join(both)}",
                    hint="give each of them a pipeline and a dataset of its own",
                )
            specs[spec.key] = spec
    return list(specs.values())


def split(tables: Sequence[Any]) -> tuple[Any | None, Sequence[Any]]:
    """A stream's own table, which is the first without a parent, and all others."""
    root = next((table for table in tables if table.parent is None), None)
    return root, [table for table in tables if table is not root]


def _specs_of(
    config: PipelineConfig, stream: Stream, schema: SchemaVersion
) -> Iterator[dg.AssetSpec]:
    root, others = split(schema.tables)
    key = dg.AssetKey([config.name, stream.name])
    yield _spec(
        config,
        key,
        stream,
        root or Table(stream.name),
        description=stream.description or f"The stream `{stream.name}`.",
    )
    keys = {root.name: key} if root else {}
    for table in others:
        keys[table.name] = dg.AssetKey([config.name, table.name])
        parent = keys.get(table.parent) if table.parent else None
        yield _spec(
            config,
            keys[table.name],
            stream,
            table,
            description=f"One row per item of a list in `{table.parent}`; `_dlt_parent_id` there "
            "is the `_dlt_id` of the row that held it."
            if table.parent
            else f"A further table of the stream `{stream.name}`.",
            deps=[parent] if parent else [],
        )


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
        "dagster/table_name": destinations.table_name(config, table.name),
        "dagster/storage_kind": storage,
        STREAM: stream.name,
        TABLE: table.name,
    }
    if table.columns:
        metadata["dagster/column_schema"] = table_schema(table)
    return dg.AssetSpec(
        key,
        deps=deps,
        description=description,
        metadata=metadata,
        group_name=config.group or config.name,
        owners=list(config.owners),
        tags=dict(config.tags),
        kinds={config.source.type, storage, "table"},
    )
