"""Arrow, imported whole: with its first array it imports pandas, where that is installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


def import_arrow(*, frames: bool = True) -> None:
    """Import Arrow.

    Args:
        frames: false in a process of our own that no data frame can reach. Arrow then goes without
            pandas, which takes 0.6 s of CPU to import, until something converts to a frame.
    """
    import pyarrow

    if frames or "pandas" in sys.modules:
        pyarrow.array([])
        return
    finder = _WithoutPandas()
    sys.meta_path.insert(0, finder)
    try:
        pyarrow.array([])
    finally:
        sys.meta_path.remove(finder)


class _WithoutPandas:
    """An import finder that finds no pandas."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
