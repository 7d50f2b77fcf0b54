"""The ops of a pipeline, which are the steps of its runs: which streams each loads, and its name.

steps: stream     load_shop__orders, load_shop__sample_mflix__users    a stream and its children
steps: 25         load_shop__1, load_shop__2                           25 streams, in their order
steps: pipeline   load_shop                                            all streams
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1

from millstream.common.text import quantity
from millstream.config import PipelineConfig
from millstream.model import Stream

MOST_STEPS = 16
"""docs/decisions/0030-a-step-for-each-stream.md"""


@dataclass(frozen=True, slots=True)
class Op:
    """One step of a run. The job has the pipeline's name, and Dagster wants another one here."""

    name: str
    streams: tuple[str, ...]
    description: str


def ops(config: PipelineConfig, streams: Sequence[Stream]) -> Sequence[Op]:
    """The ops that load these streams: each of them in one op, in their order."""
    size = _size(config, len(streams))
    if size is None:
        every = tuple(stream.name for stream in streams)
        return [Op(f"load_{config.name}", every, f"Loads all streams of {config.name}.")]
    if size == 1:
        return [
            Op(f"load_{job_name(config, stream)}", (stream.name,), f"Loads {stream.name}.")
            for stream in streams
        ]
    made = []
    for number, start in enumerate(range(0, len(streams), size), 1):
        names = tuple(stream.name for stream in streams[start : start + size])
        description = f"Loads {quantity(len(names), 'stream')}: {', '.join(names)}."
        made.append(Op(f"load_{config.name}__{number}", names, description))
    return made


def job_name(config: PipelineConfig, stream: Stream) -> str:
    """What a stream's own job is called: a name of Dagster's that no other stream has."""
    if stream.place:
        return "__".join([config.name, *stream.place])
    plain = re.sub(r"[^A-Za-z0-9_]", "_", stream.name)
    if plain != stream.name:  # `a.b` and `a_b` are two streams
        plain += "_" + sha1(stream.name.encode(), usedforsecurity=False).hexdigest()[:6]
    return f"{config.name}__{plain}"


def _size(config: PipelineConfig, count: int) -> int | None:
    """Streams a step; None: all of them."""
    if config.steps == "pipeline":
        return None
    if config.steps == "stream":
        return 1
    if config.steps is None:
        return -(-count // MOST_STEPS)
    return config.steps
