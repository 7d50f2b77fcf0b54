"""What a source's schema would be, without a destination: for `schema diff`, in CI."""

from __future__ import annotations

import tempfile

from millstream import destinations, engine, ledger, sources
from millstream.config import PipelineConfig
from millstream.model import SchemaVersion
from millstream.quarantine.watch import Watch
from millstream.steps import explain


def preview(config: PipelineConfig, stream: str, *, pages: int | None = 10) -> SchemaVersion:
    """The schema of a stream's first pages, normalized as for its destination; loads nothing.

    The destination is not asked: cursors start from the beginning, and what it has is not known.

    Args:
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
    with tempfile.TemporaryDirectory(prefix="millstream-preview-") as folder:
        pipeline = dlt.pipeline(
            pipeline_name=f"{config.name}__preview",
            pipelines_dir=folder,
            destination=destinations.build(config),
            dataset_name=config.dataset,
        )
        try:
            pipeline.extract(opened, schema=dlt.Schema(f"{config.name}__preview"))
            watch = Watch(config.name, stream, config.quarantine)
            watched = {pipeline.pipeline_name: watch} if config.quarantine.enabled else {}
            with engine.enabled(watched):
                pipeline.normalize()
        except Exception as error:
            raise explain(error, f"{config.name}.{stream}", stream, "extract") from None
        if pipeline.default_schema_name is None:
            return SchemaVersion()
        return ledger.snapshot(pipeline.default_schema)
