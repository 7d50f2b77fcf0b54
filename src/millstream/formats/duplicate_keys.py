"""Keys that an object of JSON has twice: parsers keep the last one's value, and say nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?', re.DOTALL)
_SPACE = re.compile(r"[ \t\n\r]*")


def lost(text: bytes, found: Any) -> bool:
    r"""Whether a key of the JSON `text` is missing in what was read from it.

    Written again, it has as many colons as before: each belongs to a key, or to a text. That is
    looked at first, and costs a fifth of reading.

    >>> lost(b'{"a": 1, "b": {"a": ":"}}', {"a": 1, "b": {"a": ":"}})
    False
    >>> lost(b'{"a": 1, "\\u0061": "\\u003a"}', {"a": ":"})
    True
    """
    import orjson

    is_escaped = b"\\u003" in text and (b"\\u003a" in text or b"\\u003A" in text)
    if not is_escaped:
        try:
            return text.count(b":") > orjson.dumps(found).count(b":")
        except TypeError:  # nested deeply, integers beyond 64 bits, half a surrogate pair
            pass
    return sum(1 for each in _STRING.finditer(text) if each[1]) > _keys(found)


def lost_key(text: bytes, found: Any) -> str | None:
    """A key that an object in the JSON `text` has twice, and what was read from it once, if any."""
    return twice(text) if lost(text, found) else None


def twice(text: str | bytes) -> str | None:
    """The first key that an object in a JSON text has twice; None where there is none.

    >>> twice('{"a": 1, "b": [{"c": 1, "c": 1}]}')
    'c'
    """
    noted = _Noted()
    noted.decoder.decode(text if isinstance(text, str) else text.decode())
    return noted.key


def rows(text: str) -> Iterator[tuple[str, str | None]]:
    """The items of a JSON list, as they are written, each with a key that it has twice, if any.

    >>> list(rows('[{"a": 1, "a": 2}, 7]'))
    [('{"a": 1, "a": 2}', 'a'), ('7', None)]
    """
    at = _after_space(text, text.index("[") + 1)
    while text[at] != "]":
        noted = _Noted()
        _, end = noted.decoder.raw_decode(text, at)
        yield text[at:end], noted.key
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def describe(key: str | None) -> str:
    """What is wrong with an object that has a key twice."""
    return f"duplicate key `{(key or '')[:60]}`"


class _Noted:
    def __init__(self) -> None:
        self.key: str | None = None
        # numbers stay texts: Python refuses those of many digits
        self.decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_int=str, parse_float=str
        )

    def _object(self, pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen and self.key is None:
                self.key = key
            seen.add(key)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _keys(found: Any) -> int:
    """Of all objects in a value, however deep."""
    count, todo = 0, [found]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            count += len(value)
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
    return count
