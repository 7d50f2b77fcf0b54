"""How much is too much: a load whose rows are mostly bad has another fault than its rows."""

from __future__ import annotations

from collections.abc import Sequence

from millstream.config import QuarantineConfig
from millstream.errors import QuarantineLimitError
from millstream.model import QuarantinedRows

MANY_ROWS = 100
MANY_BAD = 5
"""The share counts from so many rows, or bad rows, on: of one row it is none or all."""


def check(
    settings: QuarantineConfig,
    put_aside: Sequence[QuarantinedRows],
    rows: int,
    *,
    pipeline: str,
    stream: str,
) -> None:
    """Refuse a load that would put too many rows aside.

    Args:
        rows: rows of the source in the load, those quarantined included.

    Raises:
        QuarantineLimitError: says which limit, how many, and why they were quarantined.
    """
    total = sum(each.rows for each in put_aside)
    if total > settings.max_rows:
        limit = f"`max_rows` is {settings.max_rows:,}"
    elif _share_counts(settings, total, rows) and total / rows > settings.max_share:
        limit = f"`max_share` is {settings.max_share:g}"
    else:
        return
    lines = [f"  {each.rows:,}  {each.reason}: {each.table}: {each.example}" for each in put_aside]
    raise QuarantineLimitError(
        f"{pipeline}.{stream}: {total:,} of {rows:,} rows would go to quarantine, and {limit}; "
        "nothing was loaded\n" + "\n".join(lines[:5]),
        stream=stream,
        quarantined=put_aside,
        hint="raise the limit under `quarantine` in defs.yaml, and the next run loads what was "
        "extracted; or correct the rows or the contract, and drop the package with `millstream "
        f"pending drop --stream {stream}`: no cursor has moved, so the next run reads them again",
    )


def _share_counts(settings: QuarantineConfig, total: int, rows: int) -> bool:
    return rows >= MANY_ROWS or total >= MANY_BAD or (settings.max_share == 0 and total > 0)
