"""What a column holds of a value with `coercion: dlt`: what dlt itself converts it to."""

from __future__ import annotations

from typing import Any

from millstream.receipts.canonical import UnknownValueError

_KNOWN = frozenset({"text", "bigint", "double", "bool", "timestamp", "date"})


def as_dlt_stores(value: Any, data_type: str) -> Any:
    """A value as a column of this type has it, or as a variant of the column, converted no more.

    Raises:
        UnknownValueError: the conversion is not exact, such as that of a fraction to a time.
    """
    from dlt.common.data_types import coerce_value, py_type_to_sc_type

    try:
        kind = py_type_to_sc_type(type(value))
    except TypeError:
        raise UnknownValueError(type(value).__name__) from None
    if kind == data_type:
        return value
    if data_type not in _KNOWN or kind not in _KNOWN or (data_type, kind) in _INEXACT:
        raise UnknownValueError(f"{kind} in a column of {data_type}")
    try:
        return coerce_value(data_type, kind, value)  # type: ignore[arg-type]
    except (ValueError, ArithmeticError):
        return value  # its variant has it


_INEXACT = frozenset({("timestamp", "double"), ("date", "double")})
