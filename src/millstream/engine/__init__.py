"""Rows in, Arrow tables out: the tables that dlt would make, several times faster."""

from __future__ import annotations

import os


def enable(*, keep_stats: bool = False) -> bool:
    """Let dlt normalize through the engine, in this process and in workers that it starts.

    Args:
        keep_stats: whether workers leave counts and profiles for `collect`.

    Returns:
        Whether the engine is on; False with `MILLSTREAM_ENGINE=dlt`, or where it does not fit the
        installed dlt, which is said once in a warning.
    """
    from millstream.engine import seam

    if os.environ.get("MILLSTREAM_ENGINE", "").strip().lower() == "dlt":
        seam.deactivate()
        return False
    return seam.activate(keep_stats=keep_stats)


def disable() -> None:
    """Let dlt normalize by itself again."""
    from millstream.engine import seam

    seam.deactivate()
