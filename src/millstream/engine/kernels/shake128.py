"""SHAKE-128 of many short messages at once, compiled by numba: 0.12 µs a message.

Keccak-f[1600] (FIPS 202) turns 25 words of 64 bits. Here the states of `LANES` messages lie side by
side, word by word, and each step is a loop over them, of which LLVM makes vector instructions. The
distance between words is a constant: with an array of two dimensions LLVM can't tell that what a
step writes is not what the next message reads, and makes no vectors.

Imported only through the package, which knows when that pays.
"""

# numba finds the types of what it compiles itself
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False
# mypy: disallow-untyped-decorators=False, check-untyped-defs=False

from __future__ import annotations

import numpy as np
from numba import njit, types

LANES = 64  # with 128, a state does not stay in the first cache
RATE = 168
DIGITS = 20
"""Bytes kept for a position and the mark behind it: an integer has up to 19 digits."""
LONGEST_PREFIX = RATE - DIGITS - 1
_WORDS = RATE // 8
_CONSTANTS = np.array(
    [
        *(0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000),
        *(0x000000000000808B, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009),
        *(0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A),
        *(0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003),
        *(0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A),
        *(0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008),
    ],
    np.uint64,
)


@njit
def _left(word, bits):
    return word << np.uint64(bits) | word >> np.uint64(64 - bits)


@njit
def _row(s, at):
    return s[at], s[at + LANES], s[at + 2 * LANES], s[at + 3 * LANES], s[at + 4 * LANES]


@njit
def _set_row(s, at, v0, v1, v2, v3, v4):
    """Step chi."""
    s[at] = v0 ^ (~v1 & v2)
    s[at + LANES] = v1 ^ (~v2 & v3)
    s[at + 2 * LANES] = v2 ^ (~v3 & v4)
    s[at + 3 * LANES] = v3 ^ (~v4 & v0)
    s[at + 4 * LANES] = v4 ^ (~v0 & v1)


@njit
def _round(s, constant, count):
    for i in range(count):
        a0, a1, a2, a3, a4 = _row(s, i)
        b0, b1, b2, b3, b4 = _row(s, i + 5 * LANES)
        c0, c1, c2, c3, c4 = _row(s, i + 10 * LANES)
        d0, d1, d2, d3, d4 = _row(s, i + 15 * LANES)
        e0, e1, e2, e3, e4 = _row(s, i + 20 * LANES)
        # theta
        p0 = a0 ^ b0 ^ c0 ^ d0 ^ e0
        p1 = a1 ^ b1 ^ c1 ^ d1 ^ e1
        p2 = a2 ^ b2 ^ c2 ^ d2 ^ e2
        p3 = a3 ^ b3 ^ c3 ^ d3 ^ e3
        p4 = a4 ^ b4 ^ c4 ^ d4 ^ e4
        q0 = p4 ^ _left(p1, 1)
        q1 = p0 ^ _left(p2, 1)
        q2 = p1 ^ _left(p3, 1)
        q3 = p2 ^ _left(p4, 1)
        q4 = p3 ^ _left(p0, 1)
        # rho and pi
        v0 = a0 ^ q0
        v1 = _left(b1 ^ q1, 44)
        v2 = _left(c2 ^ q2, 43)
        v3 = _left(d3 ^ q3, 21)
        v4 = _left(e4 ^ q4, 14)
        _set_row(s, i, v0, v1, v2, v3, v4)
        v0 = _left(a3 ^ q3, 28)
        v1 = _left(b4 ^ q4, 20)
        v2 = _left(c0 ^ q0, 3)
        v3 = _left(d1 ^ q1, 45)
        v4 = _left(e2 ^ q2, 61)
        _set_row(s, i + 5 * LANES, v0, v1, v2, v3, v4)
        v0 = _left(a1 ^ q1, 1)
        v1 = _left(b2 ^ q2, 6)
        v2 = _left(c3 ^ q3, 25)
        v3 = _left(d4 ^ q4, 8)
        v4 = _left(e0 ^ q0, 18)
        _set_row(s, i + 10 * LANES, v0, v1, v2, v3, v4)
        v0 = _left(a4 ^ q4, 27)
        v1 = _left(b0 ^ q0, 36)
        v2 = _left(c1 ^ q1, 10)
        v3 = _left(d2 ^ q2, 15)
        v4 = _left(e3 ^ q3, 56)
        _set_row(s, i + 15 * LANES, v0, v1, v2, v3, v4)
        v0 = _left(a2 ^ q2, 62)
        v1 = _left(b3 ^ q3, 55)
        v2 = _left(c4 ^ q4, 39)
        v3 = _left(d0 ^ q0, 41)
        v4 = _left(e1 ^ q1, 2)
        _set_row(s, i + 20 * LANES, v0, v1, v2, v3, v4)
        s[i] ^= constant  # iota


@njit
def _write_number(message, at, number):
    """The number's digits and SHAKE's mark of the end, and zeros behind."""
    end = at + 1
    rest = number // 10
    while rest:
        end += 1
        rest //= 10
    message[end + 1 : at + DIGITS] = 0
    message[end] = 0x1F
    while end > at:
        end -= 1
        message[end] = 48 + number % 10
        number //= 10


@njit(
    types.void(
        types.Array(types.uint8, 2, "C", readonly=True),
        types.Array(types.uint8, 1, "C", readonly=True),
        types.Array(types.int64, 1, "C", readonly=True),
        types.Array(types.uint8, 2, "C"),
    ),
    cache=True,
    nogil=True,
)
def hash_rows(starts, middle, numbers, digests):
    """SHAKE-128 of `start + middle + decimal number`, for n of them, into n digests.

    A start and the middle have at most `LONGEST_PREFIX` bytes together, a digest at most `RATE`;
    numbers are 0 or more.
    """
    rows, width = starts.shape
    prefix = width + len(middle)
    words = np.zeros(_WORDS, np.uint64)
    message = words.view(np.uint8)
    message[width:prefix] = middle
    message[RATE - 1] = 0x80
    state = np.zeros(25 * LANES, np.uint64)
    size = digests.shape[1]
    for first in range(0, rows, LANES):
        count = min(LANES, rows - first)
        for lane in range(count):
            message[:width] = starts[first + lane]
            _write_number(message, prefix, numbers[first + lane])
            for word in range(_WORDS):
                state[word * LANES + lane] = words[word]
        state[_WORDS * LANES :] = 0
        for constant in _CONSTANTS:
            _round(state, constant, count)
        for lane in range(count):
            row = digests[first + lane]
            for at in range(size):
                word = state[at // 8 * LANES + lane]
                row[at] = word >> np.uint64(at % 8 * 8) & np.uint64(0xFF)
