"""Secrets taken out of a row, by their JSON paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millstream.formats.json_path import keys_of

BLANK = "[redacted]"


def redacted(row: Any, paths: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """The row without the values at these paths, and those of the paths that it had.

    A path names the fields on the way, and goes through every item of a list; `*` is any field.
    A key that would be misread stands in quotes, as `schema show` has it.
    The row itself is not changed.

    >>> redacted({"id": 1, "users": [{"name": "ann", "token": "s"}]}, ["users.token", "key"])
    ({'id': 1, 'users': [{'name': 'ann', 'token': '[redacted]'}]}, ('users.token',))
    """
    found = []
    for path in paths:
        row, hit = _at(row, [key for key in keys_of(path) if key])
        if hit:
            found.append(path)
    return row, tuple(found)


def _at(value: Any, keys: Sequence[str]) -> tuple[Any, bool]:
    if not keys:
        return BLANK, True
    if isinstance(value, list):
        items = [_at(item, keys) for item in value]
        return [item for item, _ in items], any(hit for _, hit in items)
    if not isinstance(value, dict):
        return value, False
    changed = dict(value)
    hits = False
    for key in value if keys[0] == "*" else [k for k in value if k == keys[0]]:
        changed[key], hit = _at(value[key], keys[1:])
        hits = hits or hit
    return changed, hits
