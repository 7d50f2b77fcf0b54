"""The streams that a configuration names, held against those that its source has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from millstream.config import PipelineConfig, TimePartitions
from millstream.errors import ConfigError
from millstream.model import Stream


def require_stream(config: PipelineConfig, streams: Sequence[Stream], name: str) -> None:
    """That the source has a stream.

    Raises:
        ConfigError: it has not, or loads it together with others.
    """
    for each in streams:
        if name in each.members and name not in {known.name for known in streams}:
            raise ConfigError(
                f"pipeline {config.name!r}: {name!r} is loaded together with "
                f"{', '.join(other for other in each.members if other != name)}",
                hint=f"load the stream {each.name!r}",
            )
    if name not in {each.name for each in streams}:
        raise _no_such(config, streams, name)


def require_named(config: PipelineConfig, streams: Sequence[Stream]) -> None:
    """That the source has all streams that the configuration says something of.

    Raises:
        ConfigError: it lacks one, so that what is said of it would be said of none.
    """
    known = {each.name for each in streams}
    members = {member for each in streams for member in each.members}
    for where, names, allowed in [
        ("dedup_sort", config.dedup_sort, known),
        ("maps", config.maps, known | members),
        *((where, names, known) for where, names in _of_partitions(config)),
    ]:
        for name in names:
            if name not in allowed:
                raise _no_such(config, streams, name, f"{where}: ")


def _of_partitions(config: PipelineConfig) -> Iterator[tuple[str, Sequence[str]]]:
    partitions = config.partitions
    if partitions is None:
        return
    yield "partitions.streams", partitions.streams
    if isinstance(partitions, TimePartitions):
        yield "partitions.cursors", [*partitions.cursors]
    else:
        yield "partitions.fields", [*partitions.fields]


def _no_such(
    config: PipelineConfig, streams: Sequence[Stream], name: str, where: str = ""
) -> ConfigError:
    return ConfigError(
        f"{where}pipeline {config.name!r} has no stream {name!r}",
        hint=f"it has {', '.join(each.name for each in streams)}",
    )
