"""Bottom-k sketches: hashes of a column's distinct values, of which the smallest are kept.

The k smallest hashes of all distinct values (KMV; K. Beyer et al., On Synopses for Distinct-Value
Estimation Under Multiset Operations, SIGMOD 2007) depend on the set of values alone: neither on
their order, nor on how often each occurs, nor on how rows are split into batches. So the columns of
two loads can be compared by them (`schema_changes.sketch`).

A whole number has one hash whatever type carries it, so that a column that changes its type is
known again: 1, 1.0, decimal 1.00 and the text 1 are one value. Hashes are the same on every machine
and in every run. They are one-way, but guessable where a column has few possible values.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millstream.formats.hash_sketch import SPACE
from millstream.model import COUNTED

SIZE = COUNTED
"""Hashes that are kept of a column; the share of common values is estimated to about 1/16."""

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[Any]

_ENDS = 5
"""Words of 8 bytes that are read from the end of a text of more than 16 bytes, besides its first.

The middle of a text of more than 48 bytes is not looked at: texts of one length that differ there
alone count as one.
"""
_MIX = np.uint64(0x9E3779B97F4A7C15)
_FINAL = np.uint64(0xBF58476D1CE4E5B9)
_DOUBLE, _BOOLEAN = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xA0761D6478BD642F)
_PROBE = 256
"""Values that tell whether a batch repeats itself so much that equal values are better merged."""
_WHOLE = "^(0|-?[1-9][0-9]{0,17})$"


def hash_values(array: pa.Array) -> Hashes:
    """The hashes of an array's values; nulls and NaN have none, and equal values may have one."""
    kind = array.type
    if array.null_count:
        array = array.drop_null()
    if pa.types.is_boolean(kind):
        flags: Hashes = _hash_numbers(array.cast(pa.int64()).to_numpy()) ^ _BOOLEAN
        return flags
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        if pa.types.is_temporal(kind):
            array = array.view(pa.int32() if kind.bit_width == 32 else pa.int64())
        return _hash_numbers(array.to_numpy())
    if pa.types.is_floating(kind):
        return _hash_doubles(array.cast(pa.float64()).to_numpy())
    if pa.types.is_nested(kind) or pa.types.is_null(kind):
        return np.empty(0, np.uint64)
    if len(array) > _PROBE and 2 * pc.count_distinct(array.slice(0, _PROBE)).as_py() < _PROBE:
        array = pc.unique(array)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _hash_texts(array.cast(pa.large_binary()))
    texts = array.cast(pa.large_string())
    if pa.types.is_decimal(kind) and kind.scale > 0:
        texts = pc.utf8_rtrim(pc.utf8_rtrim(texts, "0"), ".")
    return _hash_texts(texts)


def smallest(known: tuple[int, ...], hashes: Hashes) -> tuple[int, ...]:
    """The `SIZE` smallest distinct of the known hashes, which are ascending, and new ones.

    >>> smallest((3, 9), np.array([9, 1, 1], np.uint64))
    (1, 3, 9)
    """
    if len(known) >= SIZE:
        hashes = hashes[hashes < np.uint64(known[-1])]
    if not len(hashes):
        return known
    if len(hashes) > 8 * SIZE:  # sorting the smallest alone takes a tenth of the time
        few = np.partition(hashes, 2 * SIZE)[: 2 * SIZE]
        if len(_distinct(few)) >= SIZE:
            hashes = few
    return tuple(sorted({*known, *_distinct(hashes)[:SIZE].tolist()})[:SIZE])


def _distinct(hashes: Hashes) -> Hashes:
    """`np.unique` of numpy 2.3 and later takes 3 to 16 times as long for integers."""
    ordered: Hashes = np.sort(hashes)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def _hash_numbers(values: Numbers) -> Hashes:
    return _finish(values.astype(np.int64, copy=False).view(np.uint64) * _MIX)


def _hash_doubles(values: Numbers) -> Hashes:
    values = values[~np.isnan(values)]
    whole = (values == np.floor(values)) & (np.abs(values) < 2.0**63)
    if not whole.any():
        return _finish(values.view(np.uint64) * _DOUBLE)
    return np.concatenate(
        [_hash_numbers(values[whole]), _finish(values[~whole].view(np.uint64) * _DOUBLE)]
    )


def _hash_texts(texts: pa.Array) -> Hashes:
    if not len(texts):
        return np.empty(0, np.uint64)
    offsets = np.frombuffer(
        texts.buffers()[1], np.int64, count=len(texts) + 1, offset=8 * texts.offset
    )
    begin, end = int(offsets[0]), int(offsets[-1])
    starts, lengths = offsets[:-1] - begin, np.diff(offsets)
    # of a slice, its own part alone
    words = _words(texts.buffers()[2].slice(begin, end - begin) if end > begin else None)
    first = _read(words, starts)
    hashes = lengths.astype(np.uint64) * _FINAL
    short, long = lengths < 8, lengths > 16
    if short.any():
        unused = np.uint64(8) * (np.uint64(8) - np.minimum(lengths, 8).astype(np.uint64))
        # a shift by 64 bits is not defined: by 63 and 1 where there is no byte at all
        first &= np.where(lengths > 0, np.uint64(SPACE - 1) >> np.minimum(unused, np.uint64(63)), 0)
    hashes = _mix(hashes, first)
    middle = ~short
    if middle.any():
        ends = starts[middle] + lengths[middle] - 8
        hashes[middle] = _mix(hashes[middle], _read(words, ends))
    if long.any():
        ends, begins, mixed = (starts + lengths)[long], starts[long], hashes[long]
        for step in range(2, _ENDS + 1):
            mixed = _mix(mixed, _read(words, np.maximum(ends - 8 * step, begins)))
        hashes[long] = mixed
    hashes = _finish(hashes)
    hashes[lengths == 0] = _FINAL  # not 0, which is the hash of the number
    _replace_whole_numbers(hashes, texts, first, lengths)
    return hashes


def _replace_whole_numbers(
    hashes: Hashes, texts: pa.Array, first: Hashes, lengths: Numbers
) -> None:
    """Give a text that is written as a whole number the hash of the number."""
    if not pa.types.is_large_string(texts.type):
        return
    begin = first & np.uint64(0xFF)
    digit = (begin - np.uint64(ord("0")) < 10) | (begin == ord("-"))
    maybe = np.flatnonzero(digit & (lengths > 0) & (lengths <= 19))
    if not len(maybe):
        return
    candidates = texts.take(pa.array(maybe))
    matches = pc.match_substring_regex(candidates, _WHOLE)
    if pc.any(matches).as_py():
        numbers = candidates.filter(matches).cast(pa.int64()).to_numpy()
        hashes[maybe[matches.to_numpy(zero_copy_only=False)]] = _hash_numbers(numbers)


def _mix(hashes: Hashes, words: Hashes) -> Hashes:
    mixed: Hashes = (hashes ^ words) * _MIX
    mixed ^= mixed >> np.uint64(29)
    return mixed


def _finish(hashes: Hashes) -> Hashes:
    hashes ^= hashes >> np.uint64(32)
    hashes *= _FINAL
    hashes ^= hashes >> np.uint64(29)
    return hashes


def _read(words: Hashes, at: Numbers) -> Hashes:
    """The 8 bytes from each position on, which need not be a multiple of 8."""
    index = at >> 3
    shift = ((at & 7) << 3).astype(np.uint64)
    low: Hashes = words.take(index) >> shift
    low |= words.take(index + 1) << (np.uint64(63) - shift) << np.uint64(1)
    return low


def _words(buffer: pa.Buffer | None) -> Hashes:
    """The bytes of all texts as words, with room behind the last one."""
    size = buffer.size if buffer is not None else 0
    padded = np.zeros(size // 8 + 3, np.uint64)
    if buffer is not None:
        padded.view(np.uint8)[:size] = np.frombuffer(buffer, np.uint8)
    return padded if sys.byteorder == "little" else padded.byteswap()
