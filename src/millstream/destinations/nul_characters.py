"""NUL characters, where a destination can't store them: replaced by a sign, and counted.

PostgreSQL's texts hold every character but U+0000. dlt leaves it out without a word, so that `a`
and `a` with a NUL become one value, and one key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from millstream.formats.copy_files import NUL_SIGN

if TYPE_CHECKING:
    import dlt

logger = logging.getLogger(__name__)


class KeepNul:
    """Writes literals as dlt does, with a sign for each NUL that dlt would leave out.

    Attributes:
        texts: how many held one so far.
    """

    def __init__(self, escape: Callable[[Any], Any]) -> None:
        self.texts = 0
        self._escape = escape

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            self.note(1)
            value = value.replace("\0", NUL_SIGN)
        return self._escape(value)

    def note(self, texts: int) -> None:
        """Count texts in which NULs were replaced."""
        if not self.texts:  # where processes normalize, the count stays in them
            logger.warning("texts hold NUL characters: each is loaded as %s (U+2400)", NUL_SIGN)
        self.texts += texts


def keeping(escape: Callable[[Any], Any] | None) -> KeepNul | None:
    """What to write literals with, where dlt's way leaves NULs out; else None."""
    if escape is None or escape("a\0") != escape("a"):
        return None
    return KeepNul(escape)


def replaced(pipeline: dlt.Pipeline) -> tuple[str, ...]:
    """A warning where texts of this run held NULs."""
    escape = pipeline.destination.capabilities().escape_literal
    if not isinstance(escape, KeepNul) or not escape.texts:
        return ()
    return (
        f"NUL characters in {escape.texts:,} texts: {pipeline.destination.destination_name} can't "
        f"store them, so each was loaded as {NUL_SIGN} (U+2400)",
    )
