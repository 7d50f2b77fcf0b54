"""Objects used as maps become child tables: a row per key, instead of a column per key.

`{"tiers": {"0df0": {"tier": "gold"}, "3f1a": {"tier": "silver"}}}` would make columns
`tiers__0df0__tier`, `tiers__3f1a__tier` and so on, one for each key that ever comes. Named as a
map, `tiers` becomes the table `..__tiers` with the columns `key` and `tier`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha1
from typing import Any

KEY = "key"
VALUE = "value"
_TAKEN = f"{KEY}_x{sha1(KEY.encode(), usedforsecurity=False).hexdigest()[:6]}"


class MapItems(list[Any]):
    """What a file of columns has as a map: objects with `key` and `value`, one for each key."""


def as_lists(row: Any, paths: Sequence[tuple[str, ...]]) -> Any:
    """A row with the objects at these paths as lists of objects with a `key`.

    A value that is not an object goes under `value`. An object's own `key` goes under that name
    with its digest, as any key whose name is taken. Null and the empty object stay what they are,
    and so does anything at a path that is not an object. The row itself is not changed.

    A path may have a column's name, `tier_list`, in place of the key `tierList`.

    >>> as_lists({"m": {"a": {"n": 1}, "b": 2}}, [("m",)])
    {'m': [{'key': 'a', 'n': 1}, {'key': 'b', 'value': 2}]}
    >>> as_lists({"m": {"a": {"key": 1}}}, [("m",)])
    {'m': [{'key': 'a', 'key_xa62f22': 1}]}
    """
    for path in paths:
        row = _at(row, path)
    return row


def _at(value: Any, path: tuple[str, ...]) -> Any:
    if isinstance(value, MapItems) and not path:
        return [_entry(each[KEY], each[VALUE]) for each in value]
    if isinstance(value, list):
        return [_at(item, path) for item in value]
    if not isinstance(value, dict):
        return value
    if not path:
        return [_entry(key, item) for key, item in value.items()] or value
    key = path[0] if path[0] in value else _alike(path[0], value)
    if key is None:
        return value
    return {**value, key: _at(value[key], path[1:])}


def is_below(keys: Sequence[str], path: Sequence[str]) -> bool:
    """Whether keys lead to something in the object at a path, each spelt as a column may be.

    >>> is_below(("at", "tierList", "0df0"), ("at", "tier_list")), is_below(("at",), ("at",))
    (True, False)
    """
    return len(keys) > len(path) and all(map(_is_alike, keys, path))


def _alike(name: str, value: Mapping[str, Any]) -> str | None:
    """The key that a column's name stands for: errors name `tier_list` where it is `tierList`."""
    return next((key for key in value if isinstance(key, str) and _is_alike(key, name)), None)


def _is_alike(key: str, name: str) -> bool:
    return key == name or _folded(key) == _folded(name)


@lru_cache(maxsize=10_000)
def _folded(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _entry(key: Any, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        return {KEY: key, VALUE: item}
    if KEY in item:
        item = {_TAKEN if name == KEY else name: each for name, each in item.items()}
    return {KEY: key, **item}
