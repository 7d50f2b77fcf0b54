"""Reading ahead: the next item is made in a thread while one is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def one_ahead(items: Iterable[Item], pool: ThreadPoolExecutor) -> Iterator[Item]:
    """The items in order, none of which is None; one task at a time in the pool.

    >>> with ThreadPoolExecutor(1) as pool:
    ...     list(one_ahead(iter("abc"), pool))
    ['a', 'b', 'c']
    """
    left = iter(items)
    coming = pool.submit(next, left, None)
    while (item := coming.result()) is not None:
        coming = pool.submit(next, left, None)
        yield item
