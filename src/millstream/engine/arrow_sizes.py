"""Bits, digits and units: what values of Arrow tables may have in the column that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millstream.engine import arrow_times
from millstream.engine.coercion_rules import ColumnLimits, is_time, time_limits

_WIDER = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}
"""dlt makes columns of as many bits, which have a sign, and hold half of the values."""
_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}


@dataclass(frozen=True, slots=True)
class Size:
    """What a column holds.

    Attributes:
        kind: the type that values of this size have.
        is_wrong: which values do not fit; None where all do.
        detail: what is wrong with those.
    """

    kind: pa.DataType
    is_wrong: pa.ChunkedArray | None = None
    detail: str = ""


def size_of(array: pa.ChunkedArray, column: Mapping[str, Any] | None, caps: Any) -> Size:
    """The size that integers, times or bytes get.

    That of their column. Else dlt gives the column the size of the table that came last: of fewer
    bits or digits, which later values do not fit, or of more, which the destination would cut.

    Args:
        column: in the schema; None where it is new.
        caps: of the destination.
    """
    kind = array.type
    precision = column.get("precision") if column is not None else None
    if pa.types.is_integer(kind):
        if column is None and kind != pa.uint64():
            return Size(_WIDER.get(kind, kind))
        bits = _bits(precision)
        return Size(_SIGNED[bits], _outside(array, bits), f"more than {bits} bits")
    if pa.types.is_temporal(kind):
        digits = _digits_of_seconds(kind, precision, caps)
        return Size(
            arrow_times.with_digits(kind, digits),
            arrow_times.cut(array, digits),
            f"more than {digits} digits of a second",
        )
    return Size(pa.binary() if column is not None and pa.types.is_fixed_size_binary(kind) else kind)


def digits_of(column: Mapping[str, Any], caps: Any) -> tuple[int, int]:
    """Of a decimal column: all digits, and those behind the point."""
    if column.get("precision") is None:
        whole, scale = caps.decimal_precision
        return whole, scale
    return column["precision"], column.get("scale") or 0


def limits_of(column: Mapping[str, Any], caps: Any) -> ColumnLimits:
    """What a column holds, where values are looked at one by one."""
    data_type = column["data_type"]
    if data_type == "bigint":
        return ColumnLimits(bits=_bits(column.get("precision")))
    if data_type == "decimal":
        return ColumnLimits(digits=digits_of(column, caps))
    if data_type == "wei":
        whole, scale = caps.wei_precision
        return ColumnLimits(digits=(min(whole, 76), scale if whole <= 76 else 0))
    if is_time(data_type):
        return time_limits(
            column,
            keeps_offset=caps.supports_tz_aware_datetime,
            keeps_local=caps.supports_naive_datetime,
        )
    return ColumnLimits()


def _bits(precision: int | None) -> int:
    return next((bits for bits in (8, 16, 32) if (precision or 64) <= bits), 64)


def _digits_of_seconds(kind: pa.DataType, precision: int | None, caps: Any) -> int:
    if precision is None or precision <= 6:
        return 6 if precision is None else int(precision)
    is_zoned = not pa.types.is_timestamp(kind) or kind.tz is not None
    # DuckDB has nanoseconds without a zone alone
    return 6 if is_zoned else min(int(precision), caps.max_timestamp_precision)


def _outside(array: pa.ChunkedArray, bits: int) -> pa.ChunkedArray:
    high, low = (1 << (bits - 1)) - 1, -(1 << (bits - 1))
    kind = array.type
    above = None
    if kind.bit_width > bits or (kind.bit_width == bits and pa.types.is_unsigned_integer(kind)):
        above = pc.greater(array, pa.scalar(high, kind))
    if pa.types.is_signed_integer(kind) and kind.bit_width > bits:
        return pc.or_(above, pc.less(array, pa.scalar(low, kind)))
    return above if above is not None else pc.not_equal(array, array)
