"""Which partition a row from quarantine lands in: the one that it was read with.

A row that somebody typed, or corrected, has the fields of its source alone. Without the key of its
partition no later load of that partition would replace it: it would be there for good, beside the
row that the source gives by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millstream.config import PartitionsConfig, PipelineConfig, TargetConfig
from millstream.errors import ConfigError, SourceDataError
from millstream.model import PARTITION_COLUMN
from millstream.quarantine.store import Entry
from millstream.sources.partition import holds_value, value_at


class UnplacedRowError(ValueError):
    """Nothing tells the partition of a row, or it is another one than it was read with."""


def with_partition(
    text: str,
    row: Any,
    entry: Entry,
    kept: Any,
    target: TargetConfig,
    loaded: Mapping[str, str],
) -> str:
    """The JSON text of a row with the key of its partition, where its stream has partitions.

    Args:
        row: what the text says.
        kept: what the entry's own text says; None where it can't be read.
        loaded: the partition of each load, by load id, as far as the history tells.

    Raises:
        UnplacedRowError: the row would be in no partition, or in another one.
    """
    from millstream.sources import file_partitions  # late: it imports Arrow

    if not isinstance(target, PipelineConfig) or target.partitions is None:
        return text
    if not target.partitions.covers(entry.stream) or _key(row) is not None:
        return text
    first = str(entry.put_aside.get("load_id"))  # before a replay that could not load it
    key = _key(kept) or loaded.get(entry.load_id) or loaded.get(first)
    if key is None or not isinstance(row, Mapping):
        raise UnplacedRowError(
            "nothing tells the partition that it was read with: write the whole row with --row, "
            f"and its partition's key in `{PARTITION_COLUMN}`"
        )
    is_by_path = file_partitions.is_told_by_path(target.source, entry.stream)
    told = None if is_by_path else _told_otherwise(row, entry.stream, key, target.partitions)
    if told is not None:
        raise UnplacedRowError(
            f"it says {told!r}, and was read with the partition {key!r}: correct it at the source, "
            "and load both partitions"
        )
    return file_partitions.stamped_text(text, key)


def _key(row: Any) -> str | None:
    found = row.get(PARTITION_COLUMN) if isinstance(row, Mapping) else None
    return None if found is None else str(found)


def _told_otherwise(row: Any, stream: str, key: str, partitions: PartitionsConfig) -> Any:
    """What a row's own field says, where that is another partition; else None."""
    try:
        partition = partitions.partition(stream, key)
        value = None if partition.by is None else value_at(row, partition.by)
        return None if value is None or holds_value(partition, value, stream) else value
    except (ConfigError, SourceDataError):  # a key or a value that is told of elsewhere
        return None
