"""Columns with the lists and objects of Arrow tables, in files that keep these as they are.

Rows of dicts that come later have to be of the column's type: it is not JSON, which takes any.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import pyarrow as pa
from dlt.common.libs.pyarrow import deserialize_type


def type_of(column: Mapping[str, Any], caps: Any) -> pa.DataType | None:
    """The type of a column that keeps lists or objects; None of any other."""
    written = column.get("x-nested-type")
    if not written or caps is None or not caps.supports_nested_types:
        return None
    return _deserialized(written)


@lru_cache(maxsize=1_000)
def _deserialized(written: str) -> pa.DataType:
    found: pa.DataType = deserialize_type(written)
    return found


def is_given_back(value: Any, kind: pa.DataType) -> bool:
    """Whether a column of this type gives a list or an object back as it is.

    An object that lacks a key is given back with null under it.
    """
    try:
        (found,) = pa.array([value], kind).to_pylist()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return _is_same(value, found)


def _is_same(value: Any, found: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(found, dict) and all(
            _is_same(value.get(key), found.get(key)) for key in {*value, *found}
        )
    if isinstance(value, list):
        return (
            isinstance(found, list)
            and len(value) == len(found)
            and all(map(_is_same, value, found))
        )
    if isinstance(value, bool) or isinstance(found, bool):
        return value is found
    return bool(value == found or (value != value and found != found))  # NaN
