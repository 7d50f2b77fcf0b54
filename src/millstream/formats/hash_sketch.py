"""The smallest hashes of a column's distinct values, and how many values they tell of."""

from __future__ import annotations

from collections.abc import Sequence

SPACE = 1 << 64
"""Hashes are below it."""


def distinct(hashes: Sequence[int], size: int) -> tuple[int, bool]:
    """How many different values there are, and whether that is exact.

    Args:
        hashes: of distinct values the smallest, ascending; at most `size`.

    >>> distinct([2, 4, 6], 128)
    (3, True)
    """
    if len(hashes) < size:
        return len(hashes), True
    return (size - 1) * SPACE // max(hashes[-1], 1), False
