"""How many values two columns share, by their sketches (`engine.sketch` makes them)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain

from millstream.formats import hash_sketch

SIZE = 128
"""Hashes that the history keeps of a column."""


def distinct(sketches: Iterable[tuple[int, ...]], size: int = SIZE) -> tuple[int, bool]:
    """How many different values all of these together have, and whether that is exact.

    >>> distinct([(2, 4), (4, 6), ()])
    (3, True)
    """
    return hash_sketch.distinct(sorted({*chain(*sketches)})[:size], size)


def matching(new: tuple[int, ...], old: tuple[int, ...], size: int = SIZE) -> tuple[float, int]:
    """The share of `new`'s distinct values that `old` had, 0 to 1, and how many were seen to match.

    Exact where both had fewer than `size` distinct values, else an estimate from those hashes
    that both sketches would have kept.

    >>> matching((2, 4, 6, 8), (4, 5, 6))
    (0.5, 2)
    """
    # above the largest hash of a full sketch, nothing is known of its values
    limit = min(
        sketched[-1] if len(sketched) >= size else math.inf
        for sketched in (new or (0,), old or (0,))
    )
    candidates = [value for value in new if value <= limit]
    if not candidates or not old:
        return 0.0, 0
    common = len(set(candidates).intersection(old))
    return common / len(candidates), common
