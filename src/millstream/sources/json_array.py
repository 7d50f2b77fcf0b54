"""The items of a JSON list as they are written, also where some of them are not JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},"]', re.DOTALL)
_CLOSES = {b"]": b"[", b"}": b"{"}


def items(text: bytes) -> Iterator[bytes]:
    """The texts between the commas of a list; brackets and quotes decide where one ends.

    >>> list(items(b'[{"a": [1, 2]}, nul, "x,"]'))
    [b'{"a": [1, 2]}', b'nul', b'"x,"']

    Raises:
        ValueError: it is not a list from end to end: what it lacks may be anywhere in it.
    """
    text = text.strip()
    if not text.startswith(b"["):
        raise ValueError("not a list")
    open_brackets: list[bytes] = []
    start = 1
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token in (b"[", b"{"):
            open_brackets.append(token)
        elif token in _CLOSES:
            if not open_brackets or open_brackets.pop() != _CLOSES[token]:
                raise ValueError(f"`{token.decode()}` closes what is not open")
            if not open_brackets:
                if found.end() < len(text):
                    raise ValueError("there is more behind the list's end")
                last = text[start : found.start()].strip()
                if last or start > 1:
                    yield last
                return
        elif token == b",":
            if len(open_brackets) == 1:
                yield text[start : found.start()].strip()
                start = found.end()
        elif token == b'"':
            raise ValueError("a text has no end")
    raise ValueError("the list has no end")
