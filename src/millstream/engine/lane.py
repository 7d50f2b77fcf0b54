"""The direct lane: blocks parsed ahead of time; tried often while it works, seldom while not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from millstream.ahead import one_ahead
from millstream.engine.direct import Direct
from millstream.engine.shape import Shape
from millstream.handover import Block

_LONGEST_WAIT = 64
_THREADS = 2
_AHEAD = 3
_Parsed = tuple[Direct, bytes, "Future[Any]"]


@dataclass(slots=True)
class Lane:
    """The direct lane of one table.

    Attributes:
        shape: what rows have looked like, learned by the way through Python.
        direct: the reader for that shape; None when it must be made anew.
        wait: blocks to let pass before the next try; doubles with each miss.
    """

    shape: Shape = field(default_factory=dict)
    direct: Direct | None = None
    wait: int = 0
    _left: int = 0
    reasons: list[str] = field(default_factory=list)
    _parsed: _Parsed | None = None

    def ahead(self, blocks: Iterable[Block], fits: Callable[[bytes], bool]) -> Iterator[Block]:
        """The blocks; the next ones are read and parsed in threads while one is worked on.

        Args:
            fits: whether a text may be parsed this way at all.
        """
        with ThreadPoolExecutor(_THREADS + 1, "millstream-engine") as pool:
            begun: deque[tuple[Block, _Parsed | None]] = deque()
            for block in one_ahead(blocks, pool):
                direct, parsed = self.direct, None
                if direct is not None and not self._left and fits(block.text):
                    parsed = (direct, block.text, pool.submit(direct.parse, block))
                begun.append((block, parsed))
                if len(begun) >= _AHEAD:
                    block, self._parsed = begun.popleft()
                    yield block
            while begun:
                block, self._parsed = begun.popleft()
                yield block

    def parse(self, direct: Direct, block: Block) -> Any:
        """What `direct` makes of a block, which a thread may have made of it by now."""
        parsed, self._parsed = self._parsed, None
        if parsed is not None and parsed[0] is direct and parsed[1] is block.text:
            return parsed[2].result()
        return direct.parse(block)

    def open(self) -> bool:
        """Whether to try the next block."""
        if self._left:
            self._left -= 1
            return False
        return True

    def missed(self, reason: str) -> None:
        """A try was in vain: rows may be of many shapes. The first miss costs no waiting."""
        self._left = self.wait
        self.wait = min(2 * self.wait + 1, _LONGEST_WAIT)
        if len(self.reasons) < 10:
            self.reasons.append(reason)

    def hit(self) -> None:
        """A block went through."""
        self.wait = 0
