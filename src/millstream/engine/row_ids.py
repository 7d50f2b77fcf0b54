"""Row ids as dlt makes them: random for root rows, a hash of parent, table and position below.

An id is the base64 text of a few bytes without its padding. Many are encoded at once by padding
each to a multiple of three bytes and cutting the text to length again.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from millstream.engine import kernels

Ids = np.ndarray
"""n ids of equal length as bytes, dtype `S<length>`."""


def random_ids(count: int, size: int) -> Ids:
    """`count` ids of `size` random bytes each, from one call to the operating system."""
    padded = np.zeros((count, _padded(size)), np.uint8)
    padded[:, :size] = np.frombuffer(os.urandom(count * size), np.uint8).reshape(count, size)
    return _encode(padded.tobytes(), count, size)


def nested_ids(table: str, parents: Ids, positions: np.ndarray, size: int) -> Ids:
    """The ids of n rows of `table`, from their parents' ids and their positions in the lists.

    The same digest as `dlt.common.normalizers.json.helpers.get_nested_row_hash`.
    """
    middle = b"_" + table.encode() + b"_"
    ready = kernels.ready(kernels.PER_ID * len(parents))
    if ready and parents.dtype.itemsize + len(middle) <= ready.shake128.LONGEST_PREFIX:
        digests = np.empty((len(parents), _padded(size)), np.uint8)
        starts = np.ascontiguousarray(parents).view(np.uint8).reshape(len(parents), -1)
        numbers = np.ascontiguousarray(positions, np.int64)
        ready.shake128.hash_rows(starts, np.frombuffer(middle, np.uint8), numbers, digests)
        digests[:, size:] = 0
        return _encode(digests.tobytes(), len(parents), size)
    endings = np.array([middle + b"%d" % n for n in range(int(positions.max()) + 1)])
    shake = hashlib.shake_128
    pad = bytes(_padded(size) - size)
    # what is hashed is put together in one call: half of a hash is the work around it
    texts = np.char.add(parents, endings[positions]).tolist()
    data = pad.join([shake(text, usedforsecurity=False).digest(size) for text in texts])
    return _encode(data + pad, len(texts), size)


def from_texts(texts: Iterable[str]) -> Ids:
    """Ids that were made one by one."""
    return np.array([text.encode() for text in texts], dtype="S")


def to_arrow(ids: Ids) -> pa.Array:
    """The ids as a text column, sharing their memory."""
    width = ids.dtype.itemsize
    offsets = np.arange(0, (len(ids) + 1) * width, width, dtype=np.int32)
    data = np.ascontiguousarray(ids)
    return pa.Array.from_buffers(
        pa.string(), len(ids), [None, pa.py_buffer(offsets), pa.py_buffer(data.view(np.uint8))]
    )


def _padded(size: int) -> int:
    return -(-size // 3) * 3


def _encode(data: bytes, count: int, size: int) -> Ids:
    length = -(-size * 8 // 6)
    text = np.frombuffer(base64.b64encode(data), np.uint8).reshape(count, _padded(size) // 3 * 4)
    return np.ascontiguousarray(text[:, :length]).view(f"S{length}").ravel()
