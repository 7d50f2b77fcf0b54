"""Rows that a table had, and has no more: the keys that it has now are compared with those loaded.

A database keeps no record of what was deleted. So each run reads the key of every row, which costs
less than the rows, and takes out of the destination what is there and not among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from millstream.common.text import quantity
from millstream.errors import ConfigError
from millstream.formats.copy_files import NUL_SIGN
from millstream.formats.deletions import DELETED
from millstream.sources import findings, loaded_keys

HINT = {"name": DELETED, "data_type": "bool", "hard_delete": True}
_TOGETHER = 1000


def check(names: Iterable[str], key: Sequence[str], disposition: str, what: str) -> None:
    """
    Raises:
        ConfigError: rows can't be taken out one by one.
    """
    if not key or disposition != "merge":
        raise ConfigError(
            f"{what}: `deletes: snapshot` compares keys of rows that merge on them, and this table "
            + ("is not merged" if key else "has no primary key"),
            hint="set `primary_key` to columns that tell rows apart, or leave out `deletes`"
            if not key
            else "`write_disposition: replace` drops what was deleted by itself",
        )
    if DELETED in names:
        raise ConfigError(
            f"{what} has a column {DELETED!r}, which `deletes: snapshot` needs for itself",
            hint=f"leave it out: `exclude: [{DELETED}]`",
        )


def rows(
    table: str, key: Sequence[str], now: Iterable[Any], what: str
) -> Iterator[list[dict[str, Any]]]:
    """Rows that take out what the source has no more.

    Args:
        table: in the destination.
        key: the columns, as the destination calls them.
        now: Arrow tables or lists of rows with the keys of all rows of the source.

    None where it would be all that were loaded: what empties a table may be a mistake, or a column
    of keys that got another type.
    """
    loaded = {_comparable(each): each for each in loaded_keys.of_table(table, key)}
    before = len(loaded)
    for page in now if loaded else ():
        for row in page if isinstance(page, list) else page.to_pylist():
            there = _comparable([row[name] for name in key])
            loaded.pop(there if there in loaded else _without_nul(there), None)
    if loaded and len(loaded) == before:
        findings.warn(
            f"{what}: of {quantity(before, 'loaded row')} none is there any more; nothing was "
            "deleted. `millstream run --full-refresh` takes them out"
        )
        return
    gone = [dict(zip(key, each)) for each in loaded.values() if None not in each]
    if len(gone) < len(loaded):
        findings.warn(
            f"{what}: {quantity(len(loaded) - len(gone), 'loaded row')} without a value in the "
            "key, which is another one by now, can't be compared. `millstream run "
            "--full-refresh` takes out what is gone"
        )
    for start in range(0, len(gone), _TOGETHER):
        yield [{**each, DELETED: True} for each in gone[start : start + _TOGETHER]]


def are(item: Any) -> bool:
    """Whether an item of a table's resource holds such rows, and none that the source has."""
    return isinstance(item, list) and bool(item) and DELETED in item[0]


def _comparable(key: Sequence[Any]) -> tuple[Any, ...]:
    """A key whose values are equal to those of another reader: times by their moment."""
    return tuple(_plain(each) for each in key)


def _without_nul(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """A key as destinations have it whose texts can't hold a NUL."""
    return tuple(each.replace("\0", NUL_SIGN) if isinstance(each, str) else each for each in key)


def _plain(value: Any) -> Any:
    if value != value:  # NaN is unlike itself; this one is found by its identity
        return math.nan
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(timezone.utc).replace(tzinfo=None)
    return bytes(value) if isinstance(value, memoryview | bytearray) else value
