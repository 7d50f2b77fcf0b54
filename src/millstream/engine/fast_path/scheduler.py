"""The direct lane: blocks read ahead of time; tried often while it works, seldom while not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from millstream.common.cores import cores
from millstream.engine.fast_path.json_reader import Direct, Tables
from millstream.engine.fast_path.row_shape import Shape
from millstream.formats.raw_part import Block

_LONGEST_WAIT = 64
_MOST_THREADS = 8
"""Their blocks are held in memory, and one thread writes what all of them read."""
_Begun = tuple[Direct, bytes, "Future[Tables]"]


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
    _begun: _Begun | None = None

    def ahead(self, blocks: Iterable[Block], fits: Callable[[bytes], bool]) -> Generator[Block]:
        """The blocks; the next ones are read in threads while one is worked on.

        To be closed: it ends the threads.

        Args:
            fits: whether a text may be read this way at all.
        """
        threads = min(cores(), _MOST_THREADS)
        with ThreadPoolExecutor(threads + 1, "millstream-engine") as pool:
            begun: deque[tuple[Block, _Begun | None]] = deque()
            for block in _one_ahead(blocks, pool):
                direct, made = self.direct, None
                if direct is not None and not self._left and fits(block.text):
                    made = (direct, block.text, pool.submit(direct.read, block))
                begun.append((block, made))
                if len(begun) > threads:
                    block, self._begun = begun.popleft()
                    yield block
            while begun:
                block, self._begun = begun.popleft()
                yield block

    def read(self, direct: Direct, block: Block) -> Tables:
        """What `json_reader` makes of a block, which a thread may have made of it by now."""
        made, self._begun = self._begun, None
        if made is not None and made[0] is direct and made[1] is block.text:
            return made[2].result()
        return direct.read(block)

    def open(self) -> bool:
        """Whether to try the next block."""
        if self._left:
            self._left -= 1
            return False
        return True

    def missed(self) -> None:
        """A try was in vain: rows may be of many shapes. The first miss costs no waiting."""
        self._left = self.wait
        self.wait = min(2 * self.wait + 1, _LONGEST_WAIT)

    def hit(self) -> None:
        """A block went through."""
        self.wait = 0


def _one_ahead(blocks: Iterable[Block], pool: ThreadPoolExecutor) -> Iterator[Block]:
    """The next block is read from its file while one is worked on."""
    left = iter(blocks)
    coming = pool.submit(next, left, None)
    while (block := coming.result()) is not None:
        coming = pool.submit(next, left, None)
        yield block
