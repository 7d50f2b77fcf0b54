"""Lines of JSON of one known shape to columns, compiled by numba.

A walk over the bytes, once: of each object the keys are expected in the order of the shape, which
costs one comparison a key. It takes what it knows exactly; anything else (a key that is unknown or
comes twice, another type, a byte below 32 in a text, half a surrogate pair) ends it, and Arrow's
own reader decides. Imported only through the package, which knows when that pays.

A plan numbers the nodes of a shape: node 0 is the row, the keys of an object follow one another, a
list has one node for its items. Node n has the cells from `base[n]` on, one for each row or item.
All of it is one module: what numba has compiled is as old as its file, whatever others define.
"""

# numba finds the types of what it compiles itself
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# mypy: disallow-untyped-decorators=False, check-untyped-defs=False

from __future__ import annotations

import numpy as np
from numba import njit, types

OBJECT, LIST, TEXT, INTEGER, DOUBLE, BOOLEAN, NULL = range(7)
PADDING = 16
"""Zeros behind a text: no token reaches beyond one."""
VALID, UNPARSED = 1, 2
"""A cell has a value; or a double's place in the text, which Python is to parse."""
DONE, OTHER = -1, -2
"""Results besides the number of a list whose items did not fit into its cells."""

_QUOTE, _BACKSLASH, _COMMA, _COLON, _MINUS, _POINT = 0x22, 0x5C, 0x2C, 0x3A, 0x2D, 0x2E
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = 0x7B, 0x7D, 0x5B, 0x5D
_ZERO, _NINE, _NEWLINE = 0x30, 0x39, 0x0A
_ONES, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_QUOTES, _BACKSLASHES = np.uint64(0x22) * _ONES, np.uint64(0x5C) * _ONES
_SPACES = np.uint64(0x20) * _ONES
_NULL_WORD, _TRUE_WORD, _FALSE_WORD = (
    np.uint64(int.from_bytes(word, "little")) for word in (b"null", b"true", b"false")
)
_FOUR, _FIVE = np.uint64((1 << 32) - 1), np.uint64((1 << 40) - 1)
_POWERS = np.array([10.0**n for n in range(23)])
_NONE = np.uint64(0)
_MOST, _MOST_EXACT = np.uint64((1 << 63) - 1), np.uint64(1 << 53)
_ESCAPES = np.zeros(256, np.uint8)
for _letter, _means in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t'):
    _ESCAPES[_letter] = _means


@njit
def _byte(text, at):
    return np.int64(text[at])


@njit
def _is_digit(byte):
    return byte >= _ZERO and byte <= _NINE


@njit
def _after_space(text, at):
    while text[at] == 0x20 or text[at] == 0x09 or text[at] == 0x0D:
        at += 1
    return at


@njit
def _special(words, at):
    """Where the next quote, backslash or byte below 32 is."""
    while True:
        word = words[at]
        quote, back = word ^ _QUOTES, word ^ _BACKSLASHES
        found = (quote - _ONES) & ~quote | (back - _ONES) & ~back | (word - _SPACES) & ~word
        found &= _HIGH
        if found != _NONE:
            while found & np.uint64(0x80) == _NONE:
                found >>= np.uint64(8)
                at += 1
            return at
        at += 8


@njit
def _move(text, words, at, end, to):
    """Move bytes ahead in their text; whole words first, of which none reaches what is unread."""
    while at + 8 <= end:
        words[to] = words[at]
        at += 8
        to += 8
    while at < end:
        text[to] = text[at]
        at += 1
        to += 1
    return to


@njit
def _hex(text, at):
    """The number that four hexadecimal digits say, or -1."""
    number = 0
    for n in range(at, at + 4):
        byte = _byte(text, n)
        letter = byte | 0x20
        if _is_digit(byte):
            number = number * 16 + byte - _ZERO
        elif letter >= 0x61 and letter <= 0x66:
            number = number * 16 + letter - 0x57
        else:
            return -1
    return number


@njit
def _put(text, to, code):
    """Write a character as UTF-8; where it ends."""
    if code < 0x80:
        text[to] = code
        return to + 1
    more = 1 if code < 0x800 else 2 if code < 0x10000 else 3
    text[to] = (0xFF00 >> (more + 1) & 0xFF) | code >> 6 * more
    for n in range(1, more + 1):
        text[to + n] = 0x80 | (code >> 6 * (more - n) & 0x3F)
    return to + 1 + more


@njit
def _text(text, words, at):
    """What is behind the quote that ends a text, and where its value ends, which is written in
    place of it; -1 where it is not one that is read here."""
    to = at
    while True:
        stop = _special(words, at)
        to = stop if to == at else _move(text, words, at, stop, to)
        if text[stop] == _QUOTE:
            return stop + 1, to
        if text[stop] != _BACKSLASH:
            return -1, to
        at = stop + 2
        if text[stop + 1] != 0x75:  # u
            code = np.int64(_ESCAPES[text[stop + 1]])
            if code == 0:
                return -1, to
        else:
            code = _hex(text, at)
            at += 4
            if code >= 0xD800 and code < 0xDC00 and text[at] == _BACKSLASH and text[at + 1] == 0x75:
                low = _hex(text, at + 2)
                if low < 0xDC00 or low > 0xDFFF:
                    return -1, to
                code = 0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00
                at += 6
            if code < 0 or (code >= 0xD800 and code < 0xE000):
                return -1, to
        to = _put(text, to, code)


@njit
def _digits(text, at, value):
    """Where digits end, and the number that they go on."""
    while _is_digit(_byte(text, at)):
        value = value * np.uint64(10) + np.uint64(_byte(text, at) - _ZERO)
        at += 1
    return at, value


@njit
def _integer(text, at):
    """Where an integer of 64 bits ends, and its value; -1 where it is none."""
    negative = text[at] == _MINUS
    begin = at + 1 if negative else at
    at, value = _digits(text, begin, np.uint64(0))
    count = at - begin
    is_odd = count == 0 or count > 19 or (text[begin] == _ZERO and (count > 1 or negative))
    if is_odd or value > _MOST or text[at] == _POINT or _byte(text, at) | 0x20 == 0x65:
        return -1, np.int64(0)
    return at, -np.int64(value) if negative else np.int64(value)


@njit
def _double(text, at):
    """Where a number ends, -1 where it is none; its value, and whether that is exact."""
    negative = text[at] == _MINUS
    begin = at + 1 if negative else at
    at, value = _digits(text, begin, np.uint64(0))
    digits, power = at - begin, 0
    if digits == 0 or (text[begin] == _ZERO and digits > 1):
        return -1, 0.0, False
    if text[at] == _POINT:
        point = at + 1
        at, value = _digits(text, point, value)
        power = point - at
        digits -= power
        if power == 0:
            return -1, 0.0, False
    if _byte(text, at) | 0x20 == 0x65:
        at += 1
        is_below = text[at] == _MINUS
        if is_below or text[at] == 0x2B:
            at += 1
        begin = at
        at, exponent = _digits(text, begin, np.uint64(0))
        if at == begin:
            return -1, 0.0, False
        if at - begin > 3:
            digits = 99
        power += -np.int64(exponent) if is_below else np.int64(exponent)
    # so few digits are exact in a double, as these powers of ten are: one rounding is left
    if digits > 19 or value > _MOST_EXACT or power < -22 or power > 22:
        return at, 0.0, False
    number = np.float64(value)
    number = number / _POWERS[-power] if power < 0 else number * _POWERS[power]
    return at, -number if negative else number, True


@njit
def _has_key(words, at, keys, begin, size):
    while size >= 8:
        if words[at] != keys[begin]:
            return False
        at, begin, size = at + 8, begin + 8, size - 8
    rest = (words[at] ^ keys[begin]) << np.uint64(64 - 8 * size) if size else _NONE
    return rest == _NONE


@njit(
    types.int64(
        types.Array(types.uint8, 1, "C"),
        types.Array(types.uint64, 1, "A", aligned=False),
        *[types.Array(types.int64, 1, "C", readonly=True)] * 5,
        types.Array(types.uint64, 1, "A", readonly=True, aligned=False),
        types.Array(types.int64, 1, "C", readonly=True),
        types.int64,
        types.Array(types.int64, 1, "C"),
        types.Array(types.int64, 1, "C"),
        types.Array(types.uint8, 1, "C"),
    ),
    cache=True,
    nogil=True,
)
def read_rows(
    text, words, kinds, first, last, key_at, key_size, keys, base, rows, filled, cells, valid
):
    """Lines of objects to cells.

    Args:
        text, words: a text of lines with `PADDING`, whose texts are decoded in place; and the
            eight bytes at each of its positions.
        kinds: of the nodes.
        first, last: the nodes of an object's keys or a list's items.
        key_at, key_size, keys: of a node, the key and a quote.
        base: of a node, its first cell; one more says where all end.
        filled: of a list's node for items, how many there are.
        cells: integers; doubles by their bits; of a text, begin and size; of a list, its size.
        valid: what a cell holds.

    Returns:
        `DONE`, `OTHER`, or the node of items for which there are too few cells.
    """
    doubles = cells.view(np.float64)
    # of each object or list that is open: its node, its cell, how many keys or items it had, and
    # which key is expected
    nodes, slots = np.zeros(len(kinds) + 1, np.int64), np.zeros(len(kinds) + 1, np.int64)
    counts, expected = np.zeros(len(kinds) + 1, np.int64), np.zeros(len(kinds) + 1, np.int64)
    seen = np.full(len(kinds), -1, np.int64)
    at = 0
    for row in range(rows):
        if text[at] != _OPEN:
            return OTHER
        at += 1
        valid[row] = VALID
        depth = 0
        slots[0], counts[0], expected[0] = row, 0, first[0]
        while depth >= 0:
            node = nodes[depth]
            is_object = kinds[node] == OBJECT
            at = _after_space(text, at)
            if text[at] == (_CLOSE if is_object else _CLOSE_LIST):
                if not is_object:
                    cells[base[node] + slots[depth]] = counts[depth]
                at += 1
                depth -= 1
                continue
            if counts[depth]:
                if text[at] != _COMMA:
                    return OTHER
                at = _after_space(text, at + 1)
            counts[depth] += 1
            if is_object:
                if text[at] != _QUOTE:
                    return OTHER
                child = expected[depth]
                left = last[node] - first[node]
                while left:
                    if child == last[node]:
                        child = first[node]
                    if _has_key(words, at + 1, keys, key_at[child], key_size[child]):
                        break
                    child += 1
                    left -= 1
                slot = slots[depth]
                if left == 0 or seen[child] == slot:
                    return OTHER
                seen[child] = slot
                expected[depth] = child + 1
                at = _after_space(text, at + 1 + key_size[child])
                if text[at] != _COLON:
                    return OTHER
                at = _after_space(text, at + 1)
            else:
                child = first[node]
                slot = filled[child]
                if base[child] + slot == base[child + 1]:
                    return child
                filled[child] += 1
            cell = base[child] + slot
            kind = kinds[child]
            if words[at] & _FOUR == _NULL_WORD:
                at += 4
                continue
            valid[cell] = VALID
            if kind == TEXT:
                if text[at] != _QUOTE:
                    return OTHER
                begin = at + 1
                at, end = _text(text, words, begin)
                cells[cell] = begin << 32 | end - begin
            elif kind == INTEGER:
                at, cells[cell] = _integer(text, at)
            elif kind == DOUBLE:
                begin = at
                at, doubles[cell], is_exact = _double(text, at)
                if not is_exact:
                    valid[cell] = UNPARSED
                    cells[cell] = begin << 32 | at - begin
            elif kind == BOOLEAN:
                is_true = words[at] & _FOUR == _TRUE_WORD
                if not is_true and words[at] & _FIVE != _FALSE_WORD:
                    return OTHER
                cells[cell] = is_true
                at += 4 if is_true else 5
            elif kind != NULL and text[at] == (_OPEN if kind == OBJECT else _OPEN_LIST):
                depth += 1
                nodes[depth], slots[depth], counts[depth] = child, slot, 0
                expected[depth] = first[child]
                at += 1
            else:
                return OTHER
            if at < 0:
                return OTHER
        at = _after_space(text, at)
        if text[at] != _NEWLINE:
            return OTHER
        at += 1
    return DONE if at == len(text) - PADDING else OTHER


@njit
def _pack(cells, bits):
    """Whether each of n cells is not zero, as bits, eight to a byte; how many are zero."""
    zeros = 0
    for byte in range(len(bits)):
        packed = 0
        for n in range(8 * byte, min(8 * byte + 8, len(cells))):
            if cells[n] == 0:
                zeros += 1
            else:
                packed |= 1 << (n & 7)
        bits[byte] = packed
    return zeros


@njit(
    types.void(
        types.Array(types.uint64, 1, "A", readonly=True, aligned=False),
        *[types.Array(types.int64, 1, "C", readonly=True)] * 4,
        types.Array(types.uint8, 1, "C", readonly=True),
        *[types.Array(types.int64, 1, "C", readonly=True)] * 2,
        types.Array(types.uint8, 1, "C"),
        types.Array(types.uint64, 1, "A", aligned=False),
        types.Array(types.int64, 2, "C"),
    ),
    cache=True,
    nogil=True,
)
def fill_buffers(
    words, kinds, counts, base, cells, valid, valid_at, values_at, filled, filled_words, found
):
    """What Arrow reads of the cells, as the buffers of each node.

    Args:
        valid_at: where the bits of a node begin that say which of its cells are valid.
        values_at: where its values do: numbers, bits, or where texts and lists end; one more says
            where the texts themselves begin, one behind the other.
        filled, filled_words: the memory for all of it, whose size can be divided by eight; and the
            eight bytes at each of its positions. What is too much of a text's last word is written
            again by the next, or is `PADDING`.
        found: of each node, how many cells are not valid, where its texts begin, and their size.
    """
    integers, offsets = filled.view(np.int64), filled.view(np.int32)
    to = values_at[len(kinds)]
    for node in range(len(kinds)):
        first, count, kind = base[node], counts[node], kinds[node]
        bits = (count + 7) >> 3
        at = valid_at[node]
        found[node, 0] = _pack(valid[first : first + count], filled[at : at + bits])
        found[node, 1] = to
        at = values_at[node]
        if kind == BOOLEAN:
            _pack(cells[first : first + count], filled[at : at + bits])
        elif kind in (INTEGER, DOUBLE):
            integers[at >> 3 : (at >> 3) + count] = cells[first : first + count]
        elif kind in (TEXT, LIST):
            end = at >> 2
            size = 0
            offsets[end] = 0
            for n in range(count):
                cell = cells[first + n]
                if kind == LIST:
                    size += cell
                else:
                    length = cell & 0xFFFFFFFF
                    for more in range(0, length, 8):
                        filled_words[to + more] = words[(cell >> 32) + more]
                    to += length
                    size += length
                offsets[end + n + 1] = size
        found[node, 2] = to - found[node, 1]
