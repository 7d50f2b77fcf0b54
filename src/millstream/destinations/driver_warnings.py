"""What drivers warn of that is none of a user's doing, and no harm."""

from __future__ import annotations

import warnings

_HARMLESS = (
    # rows are read by BigQuery's other API then
    "Cannot create BigQuery Storage client",
    # pyiceberg: a table without rows is replaced
    "Delete operation did not match any records",
)


def hide() -> None:
    """Print none of these; all others are printed as before."""
    for text in _HARMLESS:
        warnings.filterwarnings("ignore", text, UserWarning)
