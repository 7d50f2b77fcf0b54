"""The jobs of a pipeline: over all of it, over each place in its source, over each stream.

    shop                       all streams
    shop__sample_mflix         a database's collections
    shop__sample_mflix__users  one collection and its child tables

A job for each stream has a page that shows since when it fails, and how long it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from millstream import sources
from millstream.config import PipelineConfig
from millstream.model import Stream
from millstream.orchestration.ops import job_name
from millstream.orchestration.specs import STREAM


def jobs(config: PipelineConfig, specs: Sequence[dg.AssetSpec]) -> Sequence[Any]:
    """The pipeline's own job first; then those below it."""
    streams = sources.of_pipeline(config).streams()
    made = [_job(config.name, f"Load all streams of {config.name}.", specs, streams)]
    places: dict[tuple[str, ...], list[Stream]] = {}
    for stream in streams:
        for depth in range(1, len(stream.place)):
            places.setdefault(stream.place[:depth], []).append(stream)
    for place, within in places.items():
        description = f"Load all of {config.name} that is in {'.'.join(place)}."
        made.append(_job("__".join([config.name, *place]), description, specs, within))
    if config.has_stream_jobs:
        for stream in streams:
            description = f"Load {stream.description or stream.name} alone."
            made.append(_job(job_name(config, stream), description, specs, [stream]))
    return made


def _job(
    name: str, description: str, specs: Sequence[dg.AssetSpec], streams: Sequence[Stream]
) -> Any:
    wanted = {stream.name for stream in streams}
    keys = [spec.key for spec in specs if spec.metadata[STREAM] in wanted]
    return dg.define_asset_job(
        name, selection=dg.AssetSelection.assets(*keys), description=description
    )
