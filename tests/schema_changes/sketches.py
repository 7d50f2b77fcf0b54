"""Sketches as the engine makes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from millstream.engine.column_batch import ColumnBatch
from millstream.engine.profile import Profile


def sketch(values: Iterable[Any]) -> tuple[int, ...]:
    """The sketch of a column that holds these values, which have one type."""
    array = pa.array(list(values), from_pandas=False)
    if pa.types.is_null(array.type):
        return ()
    profile = Profile()
    profile.add("t", ColumnBatch({"c": array}, len(array)))
    return profile.columns()["t"]["c"].sketch
