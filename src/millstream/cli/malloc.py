"""How much freed memory glibc keeps."""

from __future__ import annotations

from contextlib import suppress

_M_ARENA_MAX = -8  # malloc.h
_FEW = 2


def few() -> None:
    """Let the threads of this process share two heaps; for processes that are ours alone.

    glibc gives threads heaps of their own, up to eight for each core, and what one keeps free no
    other uses: blocks of megabytes that threads hand to one another left 150 MB in them. Called
    before threads start. Elsewhere than on glibc nothing happens; `MALLOC_ARENA_MAX` in a process's
    environment does the same.
    """
    import ctypes

    with suppress(AttributeError, OSError, TypeError):  # no mallopt; no such library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _FEW)
