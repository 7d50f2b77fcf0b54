"""Secrets taken out of a row, by their JSON paths."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from millstream.formats.json_path import keys_of
from millstream.formats.key_names import natural_name, snake_case

BLANK = "[redacted]"
_DIGEST = re.compile(r"_x[0-9a-f]{6}\Z")
"""What follows the name of a column that is not the only one of its name."""
_LEVELS = re.compile(r"(?<=[^_])__(?=[^_])")
"""What is between the names of an object and of its field in a column's name."""


def redacted(row: Any, paths: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """The row without the values at these paths, and those of the paths that it had.

    A path names the fields on the way, and goes through every item of a list; `*` is any field.
    A key that would be misread stands in quotes, as `schema show` has it. Rows of databases and
    typed files are called by their columns: a field is also known by the name that it has there,
    and so is the whole path: `user__email`.
    The row itself is not changed.

    >>> redacted({"id": 1, "users": [{"name": "ann", "token": "s"}]}, ["users.token", "key"])
    ({'id': 1, 'users': [{'name': 'ann', 'token': '[redacted]'}]}, ('users.token',))
    >>> redacted({"e_mail": "a@b", "id": 1}, ["E-Mail"])
    ({'e_mail': '[redacted]', 'id': 1}, ('E-Mail',))
    >>> redacted({"User": {"E-Mail": "a@b"}}, ["user__e_mail"])
    ({'User': {'E-Mail': '[redacted]'}}, ('user__e_mail',))
    """
    found = []
    for path in paths:
        keys = [key for key in keys_of(path) if key]
        row, hit = _at(row, keys)
        levels = [level for key in keys for level in _LEVELS.split(key)]
        if levels != keys:
            row, below = _at(row, levels)
            hit = hit or below
        if hit:
            found.append(path)
    return row, tuple(found)


def _at(value: Any, keys: Sequence[str]) -> tuple[Any, bool]:
    if not keys:
        return BLANK, True
    if isinstance(value, list):
        items = [_at(item, keys) for item in value]
        return [item for item, _ in items], any(hit for _, hit in items)
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        return _within_text(value, keys)
    if not isinstance(value, dict):
        return value, False
    changed = dict(value)
    hits = False
    for key in value if keys[0] == "*" else [k for k in value if _is(k, keys[0])]:
        changed[key], hit = _at(value[key], keys[1:])
        hits = hits or hit
    return changed, hits


def _within_text(text: str, keys: Sequence[str]) -> tuple[Any, bool]:
    """JSON that a row has as text, as an object; nothing of one in which nothing can be found."""
    try:
        found, hit = _at(json.loads(text), keys)
    except (ValueError, RecursionError):
        return BLANK, True
    return (found, True) if hit else (text, False)


def _is(key: Any, named: str) -> bool:
    return key == named or (isinstance(key, str) and _column(key) == _column(named))


@lru_cache(maxsize=10_000)
def _column(key: str) -> str:
    return natural_name(_DIGEST.sub("", key), snake_case().normalize_identifier)
