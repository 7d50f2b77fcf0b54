"""Rows of one known shape from JSON text to an Arrow array of structs, by a compiled kernel."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

_ROOM = 4
"""Items of a list that there are cells for, a row, until more are met."""
_MOST_CELLS, _FEW_CELLS = 2, 1 << 16
"""For a byte of text; and however short that is."""


@dataclass(slots=True)
class _Node:
    type: pa.DataType
    kind: int
    key: bytes = b""
    owner: int = 0
    """The node that says how many cells it has: the row, or a list's items."""
    first: int = 0
    last: int = 0


class CompiledRows:
    """Reads lines of one struct type; from any thread.

    Args:
        kernel: `kernels.json_rows`.
        row: a type of structs, lists, texts, 64-bit numbers, booleans and nulls.
    """

    def __init__(self, kernel: ModuleType, row: pa.StructType) -> None:
        self._kernel = kernel
        self._nodes = nodes = [_Node(row, kernel.OBJECT)]
        for node in nodes:  # which grow meanwhile
            node.first = len(nodes)
            if node.kind == kernel.OBJECT:
                for each in node.type:
                    nodes.append(self._node(each.type, each.name, node.owner))
            elif node.kind == kernel.LIST:
                nodes.append(self._node(node.type.value_type, "", len(nodes)))
            node.last = len(nodes)
        sizes = [len(node.key) for node in nodes]
        keys = b"".join(node.key for node in nodes) + bytes(8)
        self._plan = (
            *(_integers(getattr(n, name) for n in nodes) for name in ("kind", "first", "last")),
            np.cumsum([0, *sizes[:-1]], dtype=np.int64),
            _integers(sizes),
            _words(np.frombuffer(keys, np.uint8)),
        )
        self._owners = _integers(node.owner for node in nodes)
        self._room: dict[int, int] = {}

    def _node(self, kind: pa.DataType, name: str, owner: int) -> _Node:
        import orjson

        kernel = self._kernel
        if pa.types.is_struct(kind):
            code = kernel.OBJECT
        elif pa.types.is_list(kind):
            code = kernel.LIST
        else:
            code = {
                pa.string(): kernel.TEXT,
                pa.int64(): kernel.INTEGER,
                pa.float64(): kernel.DOUBLE,
                pa.bool_(): kernel.BOOLEAN,
                pa.null(): kernel.NULL,
            }[kind]
        return _Node(kind, code, orjson.dumps(name)[1:], owner)

    def read(self, text: bytes, rows: int) -> pa.StructArray | None:
        """The rows of a text with an object on each line; None where it has anything else.

        Raises:
            pa.ArrowInvalid: a number is beyond a double.
        """
        kernel = self._kernel
        room = dict(self._room)
        while True:
            buffer = np.empty(len(text) + kernel.PADDING, np.uint8)
            buffer[: len(text)] = np.frombuffer(text, np.uint8)
            buffer[len(text) :] = 0
            sizes = [
                rows * (room.get(node.owner, _ROOM) if node.owner else 1) for node in self._nodes
            ]
            base = np.cumsum([0, *sizes], dtype=np.int64)
            if base[-1] > max(_MOST_CELLS * len(text), _FEW_CELLS):
                return None  # of many keys each row has few
            filled = np.zeros(len(sizes), np.int64)
            cells, valid = np.zeros(base[-1], np.int64), np.zeros(base[-1], np.uint8)
            found = kernel.read_rows(
                buffer, _words(buffer), *self._plan, base, rows, filled, cells, valid
            )
            if found == kernel.OTHER:
                return None
            if found == kernel.DONE:
                self._room = room
                filled[0] = rows
                return self._arrays(buffer, base, filled, cells, valid)
            room[found] = 2 * room.get(found, _ROOM)

    def _arrays(
        self,
        buffer: np.ndarray,
        base: np.ndarray,
        filled: np.ndarray,
        cells: np.ndarray,
        valid: np.ndarray,
    ) -> pa.StructArray:
        kernel, nodes, kinds = self._kernel, self._nodes, self._plan[0]
        places = np.flatnonzero(valid == kernel.UNPARSED)
        if places.size:
            cells[places] = _doubles(buffer, cells[places] >> 32, cells[places] & 0xFFFFFFFF)
        counts = filled[self._owners]
        valid_sizes = _aligned((counts + 7) // 8)
        values = np.zeros_like(counts)
        for kind, size in (
            (kernel.BOOLEAN, valid_sizes),
            (kernel.INTEGER, 8 * counts),
            (kernel.DOUBLE, 8 * counts),
            (kernel.TEXT, 4 * counts + 4),
            (kernel.LIST, 4 * counts + 4),
        ):
            values += np.where(kinds == kind, _aligned(size), 0)
        valid_at = np.cumsum([0, *valid_sizes[:-1]])
        values_at = valid_sizes.sum() + np.cumsum([0, *values])
        memory = np.empty(-(values_at[-1] + len(buffer)) // 64 * -64, np.uint8)
        found = np.empty((len(nodes), 3), np.int64)
        kernel.fill_buffers(
            _words(buffer), kinds, counts, base, cells, valid, valid_at, values_at,
            memory, _words(memory), found,
        )  # fmt: skip
        sizes, (nulls, begins, lengths) = counts.tolist(), found.T.tolist()
        places_of_bits, places_of_values = valid_at.tolist(), values_at.tolist()
        whole = pa.py_buffer(memory)
        # a function that calls itself would keep the memory until cycles are looked for
        arrays: dict[int, pa.Array] = {}
        for number in reversed(range(len(nodes))):
            node, count, place = nodes[number], sizes[number], places_of_values[number]
            if node.kind == kernel.NULL:
                arrays[number] = pa.nulls(count)
                continue
            bits = (count + 7) // 8
            buffers = [whole.slice(places_of_bits[number], bits) if nulls[number] else None]
            if node.kind in (kernel.TEXT, kernel.LIST):
                buffers.append(whole.slice(place, 4 * (count + 1)))
                if node.kind == kernel.TEXT:
                    buffers.append(whole.slice(begins[number], lengths[number]))
            elif node.kind == kernel.BOOLEAN:
                buffers.append(whole.slice(place, bits))
            elif node.kind != kernel.OBJECT:
                buffers.append(whole.slice(place, 8 * count))
            inner = [arrays.pop(child) for child in range(node.first, node.last)]
            arrays[number] = pa.Array.from_buffers(
                node.type, count, buffers, nulls[number], children=inner
            )
        return arrays[0]


def _aligned(sizes: np.ndarray) -> np.ndarray:
    return (sizes + 63) // 64 * 64


def _doubles(text: np.ndarray, begins: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The bits of the numbers at n places of a text, parsed by Arrow."""
    views = np.empty((len(begins), 4), np.int32)
    twelves = np.ndarray((len(text) - 11,), "V12", text, strides=(1,))
    views[:, 0], views[:, 1:] = sizes, twelves[begins].view(np.int32).reshape(-1, 3)
    long = sizes > 12
    views[long, 2], views[long, 3] = 0, begins[long]
    buffers = [None, pa.py_buffer(views), pa.py_buffer(text)]
    texts = pa.Array.from_buffers(pa.string_view(), len(begins), buffers)
    numbers: np.ndarray = texts.cast(pa.string()).cast(pa.float64()).to_numpy()
    return numbers.view(np.int64)


def _words(text: np.ndarray) -> np.ndarray:
    """The eight bytes at each position."""
    words: np.ndarray = np.ndarray((len(text) - 7,), "<u8", text, strides=(1,))
    return words


def _integers(values: Any) -> np.ndarray:
    return np.array([*values], np.int64)
