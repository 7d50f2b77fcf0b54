"""Words for people, made of values."""

from __future__ import annotations


def quantity(number: int, singular: str, plural: str | None = None) -> str:
    """So many of something.

    >>> quantity(1, "row"), quantity(1200, "row"), quantity(2, "batch", "batches")
    ('1 row', '1,200 rows', '2 batches')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
