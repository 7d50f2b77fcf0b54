"""The keys of the rows that a table of the destination has, for sources that are to tell of others.

Some sources can't say what was deleted. Their keys, all of them, are compared with these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

KeysOf = Callable[[str, Sequence[str]], Sequence[tuple[Any, ...]]]
"""Of a table, the values of these columns in each row."""

_keys_of: ContextVar[KeysOf | None] = ContextVar("keys_of", default=None)


@contextmanager
def from_destination(keys_of: KeysOf) -> Iterator[None]:
    """Let sources that are read ask for keys; asked only where one has to tell of deletions."""
    token = _keys_of.set(keys_of)
    try:
        yield
    finally:
        _keys_of.reset(token)


def of_table(table: str, columns: Sequence[str]) -> Sequence[tuple[Any, ...]]:
    """The keys of a table's rows; none where there is no table yet."""
    asked = _keys_of.get()
    return asked(table, columns) if asked else ()
