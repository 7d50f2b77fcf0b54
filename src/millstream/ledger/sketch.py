"""Bottom-k sketches: which share of one column's values another one had, without keeping any value.

The k smallest hashes of the distinct values (KMV; Beyer et al., "On Synopses for Distinct-Value
Estimation Under Multiset Operations", SIGMOD 2007). Hashes are keyed by nothing and stable across
runs and machines; they are one-way, but of few possible values (states, booleans) guessable, so
leave columns that hold secrets out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, datetime, timezone
from decimal import Decimal
from hashlib import blake2b
from heapq import nsmallest
from typing import Any

SIZE = 128


def sketch(values: Iterable[Any], size: int = SIZE) -> tuple[int, ...]:
    """The smallest hashes of the distinct values, ascending; None and NaN are no values.

    >>> sketch(["a", "b", "a", None]) == sketch(["b", "a"])
    True
    """
    distinct = {text for value in values if (text := _text(value)) is not None}
    return tuple(nsmallest(size, {_hash(text) for text in distinct}))


def matching(new: tuple[int, ...], old: tuple[int, ...], size: int = SIZE) -> tuple[float, int]:
    """The share of `new`'s distinct values that `old` had, 0 to 1, and how many were seen to match.

    Exact where both had fewer than `size` distinct values, else an estimate from those hashes
    that both sketches would have kept.

    >>> matching(sketch(range(10)), sketch(range(5, 100)))
    (0.5, 5)
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


def distinct(sketched: tuple[int, ...], size: int = SIZE) -> int:
    """About how many distinct values there were; exact below `size`.

    >>> distinct(sketch(range(50)))
    50
    """
    if len(sketched) < size:
        return len(sketched)
    return round((size - 1) / (sketched[-1] / 2**64))


def _hash(text: str) -> int:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _text(value: Any) -> str | None:
    """One text per value, whatever Python type carries it: 1, 1.0 and Decimal("1.00") are one."""
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, Decimal):
        if value.is_nan():
            return None
        return f"{value.normalize():f}"
    if isinstance(value, datetime):
        return (value.astimezone(timezone.utc) if value.tzinfo else value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
