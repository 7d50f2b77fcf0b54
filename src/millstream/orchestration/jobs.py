"""The jobs of a pipeline: over all of it, over each place in its source, over each stream.

    shop                       all streams
    shop__sample_mflix         a database's collections
    shop__sample_mflix__users  one collection and its child tables

A run of the pipeline's job shows one step for all streams; with a job for each of them, its page
shows which one fails, since when, and how long it takes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha1
from typing import Any

import dagster as dg

from millstream import sources
from millstream.config import PipelineConfig
from millstream.model import Stream
from millstream.orchestration.specs import STREAM


def jobs(config: PipelineConfig, assets: dg.AssetsDefinition) -> Sequence[Any]:
    """The pipeline's own job first; then those below it."""
    streams = sources.of_pipeline(config).streams()
    made = [_job(config.name, f"Load all streams of {config.name}.", assets, streams)]
    places: dict[tuple[str, ...], list[Stream]] = {}
    for stream in streams:
        for depth in range(1, len(stream.place)):
            places.setdefault(stream.place[:depth], []).append(stream)
    for place, within in places.items():
        description = f"Load all of {config.name} that is in {'.'.join(place)}."
        made.append(_job("__".join([config.name, *place]), description, assets, within))
    if config.has_stream_jobs:
        for stream in streams:
            description = f"Load {stream.description or stream.name} alone."
            made.append(_job(_name(config, stream), description, assets, [stream]))
    return made


def _job(
    name: str, description: str, assets: dg.AssetsDefinition, streams: Sequence[Stream]
) -> Any:
    wanted = {stream.name for stream in streams}
    keys = [spec.key for spec in assets.specs if spec.metadata[STREAM] in wanted]
    return dg.define_asset_job(
        name, selection=dg.AssetSelection.assets(*keys), description=description
    )


def _name(config: PipelineConfig, stream: Stream) -> str:
    if stream.place:
        return "__".join([config.name, *stream.place])
    plain = re.sub(r"[^A-Za-z0-9_]", "_", stream.name)
    if plain != stream.name:  # `a.b` and `a_b` are two streams
        plain += "_" + sha1(stream.name.encode(), usedforsecurity=False).hexdigest()[:6]
    return f"{config.name}__{plain}"
