"""When to try the direct lane: often while it works, seldom while it does not."""

from __future__ import annotations

from dataclasses import dataclass, field

from millstream.engine.direct import Direct
from millstream.engine.shape import Shape

_LONGEST_WAIT = 64


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
