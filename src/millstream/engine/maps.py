"""Objects used as maps become child tables: a row per key, instead of a column per key.

`{"tiers": {"0df0": {"tier": "gold"}, "3f1a": {"tier": "silver"}}}` would make columns
`tiers__0df0__tier`, `tiers__3f1a__tier` and so on, one for each key that ever comes. Named as a
map, `tiers` becomes the table `..__tiers` with the columns `key` and `tier`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millstream.errors import ConfigError

if TYPE_CHECKING:
    from dlt.sources import DltResource

KEY = "key"
VALUE = "value"
_LONG_INTEGER = re.compile(rb"\d{19}")


def as_lists(row: Any, paths: Sequence[tuple[str, ...]]) -> Any:
    """A row with the objects at these paths as lists of objects with a `key`.

    A value that is no object goes under `value`; null and the empty object stay what they are, and
    so does anything at a path that is no object. The row itself is not changed.

    >>> as_lists({"m": {"a": {"n": 1}, "b": 2}}, [("m",)])
    {'m': [{'key': 'a', 'n': 1}, {'key': 'b', 'value': 2}]}

    Raises:
        ConfigError: an object inside the map has a `key` of its own.
    """
    for path in paths:
        row = _at(row, path, path)
    return row


def apply(resource: DltResource, maps: Sequence[str]) -> DltResource:
    """Let a resource yield its rows with these maps as lists; paths are dotted, `a.b`."""
    import orjson

    paths = [tuple(each.split(".")) for each in maps]
    if any(not all(path) for path in paths):
        raise ConfigError(f"maps: not all of {list(maps)} are paths", hint="such as `a` or `a.b`")

    def convert(row: Any) -> Any:
        if not isinstance(row, orjson.Fragment):
            return as_lists(row, paths)
        text = orjson.dumps(row)
        if not _LONG_INTEGER.search(text):
            return as_lists(orjson.loads(text), paths)
        # orjson rounds integers beyond 64 bits; Python keeps them, and they travel as text
        return orjson.Fragment(json.dumps(as_lists(json.loads(text), paths)).encode())

    return resource.add_map(convert) if paths else resource


def _at(value: Any, path: tuple[str, ...], whole: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_at(item, path, whole) for item in value]
    if not isinstance(value, dict):
        return value
    if not path:
        return [_entry(key, item, whole) for key, item in value.items()] or value
    if path[0] not in value:
        return value
    return {**value, path[0]: _at(value[path[0]], path[1:], whole)}


def _entry(key: str, item: Any, whole: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(item, dict):
        return {KEY: key, VALUE: item}
    if KEY in item:
        raise ConfigError(
            f"maps: an object in `{'.'.join(whole)}` has a field `{KEY}` of its own",
            hint="leave this path out of `maps`",
        )
    return {KEY: key, **item}
