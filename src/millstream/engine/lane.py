"""The direct lane: lines parsed ahead of time; tried often while it works, seldom while not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from millstream.engine.direct import Direct
from millstream.engine.shape import Shape

_LONGEST_WAIT = 64
_THREADS = 2
_AHEAD = 3


@dataclass(slots=True)
class Lane:
    """The direct lane of one table.

    Attributes:
        shape: what rows have looked like, learned by the way through Python.
        direct: the reader for that shape; None when it must be made anew.
        wait: lines to let pass before the next try; doubles with each miss.
    """

    shape: Shape = field(default_factory=dict)
    direct: Direct | None = None
    wait: int = 0
    _left: int = 0
    reasons: list[str] = field(default_factory=list)
    _parsed: tuple[Direct, bytes, Future[Any]] | None = None

    def ahead(self, lines: Iterable[bytes], fits: Callable[[bytes], bool]) -> Iterator[bytes]:
        """The lines; the next ones are parsed in threads while one is worked on.

        Args:
            fits: whether a line may be parsed this way at all.
        """
        with ThreadPoolExecutor(_THREADS, "millstream-engine") as pool:
            begun: deque[tuple[bytes, tuple[Direct, bytes, Future[Any]] | None]] = deque()
            for line in lines:
                direct, parsed = self.direct, None
                if direct is not None and not self._left and fits(line):
                    parsed = (direct, line, pool.submit(direct.parse, line))
                begun.append((line, parsed))
                if len(begun) >= _AHEAD:
                    line, self._parsed = begun.popleft()
                    yield line
            while begun:
                line, self._parsed = begun.popleft()
                yield line

    def parse(self, direct: Direct, line: bytes) -> Any:
        """What `direct` makes of a line, which a thread may have made of it by now."""
        parsed, self._parsed = self._parsed, None
        if parsed is not None and parsed[0] is direct and parsed[1] is line:
            return parsed[2].result()
        return direct.parse(line)

    def open(self) -> bool:
        """Whether to try the next line."""
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
        """A line went through."""
        self.wait = 0
