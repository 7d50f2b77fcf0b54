"""What a source's schema would be, without a destination: for `schema diff`, in CI."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from millstream import destinations, engine, ledger, sources
from millstream.config import PipelineConfig
from millstream.failures import explain
from millstream.key_names import UNKNOWN
from millstream.model import Column, SchemaVersion
from millstream.own_tables import own_pipeline
from millstream.quarantine.watch import Watch
from millstream.steps import coercion_of

if TYPE_CHECKING:
    import dlt


def preview(
    config: PipelineConfig,
    stream: str,
    accepted: SchemaVersion | None = None,
    *,
    pages: int | None = 10,
) -> SchemaVersion:
    """The schema of a stream's first pages, normalized as for its destination; loads nothing.

    The destination is not asked: cursors start from the beginning, and what it has is not known.

    Args:
        accepted: what is taken to be there already: values of another type go into a variant of
            its columns, as they would in a run, and none of them is missing from the result.
        pages: how many pages to read; None reads all.

    Raises:
        ConfigError: the pipeline or its destination is not configured as it should be.
        SourceError: the source can't be read.
        RunError: what it yields can't be normalized.
    """
    import dlt

    opened = sources.create(config.source).open(stream)
    if pages is not None:
        opened = opened.add_limit(pages)
    with tempfile.TemporaryDirectory(prefix="millstream-preview-") as folder, own_pipeline():
        pipeline = dlt.pipeline(
            pipeline_name=f"{config.name}__preview",
            pipelines_dir=folder,
            destination=destinations.build(config),
            dataset_name=config.dataset,
        )
        try:
            with engine.unambiguous():
                pipeline.extract(opened, schema=_schema(config, accepted))
            watch = Watch(config.name, stream, config.quarantine)
            watched = {pipeline.pipeline_name: watch} if config.quarantine.enabled else {}
            named = (pipeline.pipeline_name,) if config.names_keys else ()
            coercions = {pipeline.pipeline_name: coercion_of(config)}
            with engine.enabled(watched, named, coercions):
                pipeline.normalize()
        except Exception as error:
            raise explain(error, f"{config.name}.{stream}", stream, "extract") from None
        if pipeline.default_schema_name is None:
            return SchemaVersion()
        return ledger.snapshot(pipeline.default_schema)


def _schema(config: PipelineConfig, accepted: SchemaVersion | None) -> dlt.Schema:
    """A dlt schema that has these tables; their keys are for the source to say."""
    import dlt

    schema = dlt.Schema(f"{config.name}__preview")
    for table in accepted.tables if accepted else ():
        columns: Any = {column.name: _column(column) for column in table.columns}
        described: Any = {"name": table.name, "columns": columns}
        if table.parent is not None:
            described["parent"] = table.parent
        else:
            described[UNKNOWN] = True
        schema.update_table(described)
    return schema


def _column(column: Column) -> dict[str, Any]:
    traits = {
        "precision": column.precision,
        "scale": column.scale,
        "timezone": column.timezone,
        "variant": column.variant_of is not None or None,
    }
    return {
        "name": column.name,
        "data_type": column.data_type,
        "nullable": column.nullable,
        **{name: value for name, value in traits.items() if value is not None},
    }
