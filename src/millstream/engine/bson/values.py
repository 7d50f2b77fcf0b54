"""The values at many positions -> one Arrow array, exactly as the careful way would have them.

Each function takes n positions in a block and marks what it can't take in `wrong` (n booleans),
with anything in its place: those documents are walked no further.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millstream.engine.bson import documents as bson
from millstream.engine.bson.documents import Documents
from millstream.engine.bson.plan import ColumnValues
from millstream.engine.casts import timestamps

_FIRST_MS = -62_135_596_800_000  # year 1
_LAST_MS = 253_402_300_799_999  # year 9999
_EXACT = 1 << 53
_LARGEST = np.iinfo(np.int32).max

# texts that another id, or its Extended JSON, may equal
_LIKE_JSON = r'[{\["]|(null|true|false)\n?$'
_LIKE_IDS = r"|[0-9a-f]{24}\n?$"
_LIKE_UUIDS = r"|[0-9a-f]{8}-"
_AMBIGUOUS = {
    "any": f"^({_LIKE_JSON}{_LIKE_IDS})",
    "any_uuid": f"^({_LIKE_JSON}{_LIKE_IDS}{_LIKE_UUIDS})",
    "text": f"^({_LIKE_JSON})",
}

_HEX = np.frombuffer(b"".join(b"%02x" % n for n in range(256)), np.uint16)
# where the pairs of digits of a UUID and its dashes are, in 36 characters
_PAIRS = np.array([0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34])
_DASHES = np.array([8, 13, 18, 23])

Maker = Callable[[Documents, np.ndarray, ColumnValues, np.ndarray], pa.Array]


def make(
    documents: Documents, kind: int, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray
) -> pa.Array:
    """n values of a BSON type for a column."""
    return _MAKERS[leaf.data_type, kind](documents, at, leaf, wrong)


def _doubles(
    documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray
) -> pa.Array:
    return pa.array(documents.doubles[at])


def _ints(documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray) -> pa.Array:
    return pa.array(documents.ints[at].astype(np.int64))


def _unsigned(
    documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray
) -> pa.Array:
    return pa.array(documents.ints[at].view(np.uint32).astype(np.int64))


def _longs(documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray) -> pa.Array:
    return pa.array(documents.longs[at])


def _ints_as_doubles(
    documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray
) -> pa.Array:
    return pa.array(documents.ints[at].astype(np.float64))


def _longs_as_doubles(
    documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray
) -> pa.Array:
    values = documents.longs[at]
    wrong |= (values > _EXACT) | (values < -_EXACT)
    return pa.array(values.astype(np.float64))


def _bools(documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray) -> pa.Array:
    return pa.array(documents.bytes[at] != 0)


def _dates(documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray) -> pa.Array:
    values = documents.longs[at]
    wrong |= (values < _FIRST_MS) | (values > _LAST_MS)
    return pa.array(np.where(wrong, 0, values) * 1000).view(leaf.type)


def _texts(documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray) -> pa.Array:
    sizes = documents.ints[at] - 1
    if int(sizes.sum(dtype=np.int64)) > _LARGEST:
        wrong[:] = True
        return pa.nulls(len(at), pa.string())
    texts = _slices(documents, at + 4, sizes, pa.string_view()).cast(pa.string())
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        wrong |= [not _is_utf8(each) for each in texts.cast(pa.binary()).to_pylist()]
    if leaf.key is not None:
        ambiguous = _AMBIGUOUS[leaf.key]
        wrong |= pc.match_substring_regex(texts.cast(pa.binary()), ambiguous).to_numpy(False)
    return texts


def _times(documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray) -> pa.Array:
    texts = _texts(documents, at, leaf, wrong)
    if not wrong.any():
        try:
            return timestamps(texts, leaf.type, leaf.texts)
        except (KeyError, ValueError):
            wrong[:] = True
    return pa.nulls(len(at), leaf.type)


def _slices(
    documents: Documents, starts: np.ndarray, sizes: np.ndarray, kind: pa.DataType
) -> pa.Array:
    """Slices of the block as Arrow views: a size, and 12 bytes, or 4 of them, a buffer, a place.

    https://arrow.apache.org/docs/format/Columnar.html#variable-size-binary-view-layout
    """
    views = np.empty((len(starts), 4), np.int32)
    views[:, 0] = sizes
    views[:, 1:] = documents.twelves[starts].view(np.int32).reshape(-1, 3)
    long = sizes > 12
    if long.any():
        some = slice(None) if long.all() else np.flatnonzero(long)
        views[some, 2] = 0
        views[some, 3] = starts[some]
    buffers = [None, pa.py_buffer(views), pa.py_buffer(documents.data)]
    return pa.Array.from_buffers(kind, len(starts), buffers)


def _hex(documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray) -> pa.Array:
    digits = _HEX[documents.twelves[at].view(np.uint8)]
    return _fixed(digits.view(np.uint8), len(at), 24)


def _uuids(documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray) -> pa.Array:
    wrong |= (documents.ints[at] != 16) | (documents.bytes[at + 4] != 4)
    pairs = _HEX[documents.sixteens[at + 5].view(np.uint8)].view(np.uint8).reshape(-1, 16, 2)
    text = np.empty((len(at), 36), np.uint8)
    text[:, _PAIRS], text[:, _PAIRS + 1] = pairs[:, :, 0], pairs[:, :, 1]
    text[:, _DASHES] = ord("-")
    return _fixed(text.reshape(-1), len(at), 36)


def _fixed(data: np.ndarray, count: int, width: int) -> pa.Array:
    offsets = np.arange(0, (count + 1) * width, width, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


def _binaries(
    documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray
) -> pa.Array:
    wrong |= documents.bytes[at + 4] != 0
    sizes = documents.ints[at]
    if int(sizes.sum(dtype=np.int64)) > _LARGEST:
        wrong[:] = True
        return pa.nulls(len(at), pa.binary())
    return _slices(documents, at + 5, sizes, pa.binary_view()).cast(pa.binary())


def _decimals(
    documents: Documents, at: np.ndarray, leaf: ColumnValues, wrong: np.ndarray
) -> pa.Array:
    wrong[:] = True
    return pa.nulls(len(at), leaf.type)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


_MAKERS: dict[tuple[str, int], Maker] = {
    ("double", bson.DOUBLE): _doubles,
    ("double", bson.INT): _ints_as_doubles,
    ("double", bson.LONG): _longs_as_doubles,
    ("bigint", bson.INT): _ints,
    ("bigint", bson.LONG): _longs,
    ("bigint", bson.UNSIGNED): _unsigned,
    ("bool", bson.BOOL): _bools,
    ("timestamp", bson.DATE): _dates,
    ("timestamp", bson.TEXT): _times,
    ("text", bson.TEXT): _texts,
    ("text", bson.SYMBOL): _texts,
    ("text", bson.OBJECT_ID): _hex,
    ("text", bson.BINARY): _uuids,
    ("binary", bson.BINARY): _binaries,
    ("decimal", bson.DECIMAL): _decimals,
}
