"""Whether a share moved, or only seems to."""

from __future__ import annotations

from collections.abc import Sequence

JUMP = 0.10
"""A share that moves by less than this, of 1, is never worth a word."""
JUMP_Z = 4.0
"""Nor one that moves by fewer standard errors than this: small loads vary."""


def jumped(
    old_hits: int, old_rows: int, new_hits: int, new_rows: int, *, least: float = JUMP
) -> bool:
    """The two-proportion z-test, with a floor, `least`, on the difference itself.

    >>> jumped(990, 1000, 500, 1000), jumped(9, 10, 5, 10)
    (True, False)
    """
    if not old_rows or not new_rows:
        return False
    difference = abs(new_hits / new_rows - old_hits / old_rows)
    # one row more on either side (Agresti and Caffo 2000) keeps tiny loads and 0% or 100% honest
    then, now = (old_hits + 1) / (old_rows + 2), (new_hits + 1) / (new_rows + 2)
    error = then * (1 - then) / (old_rows + 2) + now * (1 - now) / (new_rows + 2)
    return bool(difference >= least and abs(now - then) > JUMP_Z * error**0.5)


def is_outside(share: float, before: Sequence[float], *, least: float = JUMP) -> bool:
    """Whether a share lies more than `least` outside the range that it had in earlier loads.

    >>> is_outside(0.9, [0.2, 0.4]), is_outside(0.9, [0.2, 1.0])
    (True, False)
    """
    return not min(before) - least < share < max(before) + least if before else False
