"""One line of a terminal that shows what is going on, with the seconds so far; erased at the end.

The cursor rests at the start of the line, so that whatever else is printed, such as the terminal's
`^C` or the notice of a signal handler, takes the place of the line instead of following it.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOBase
from time import monotonic
from typing import TextIO
from unicodedata import east_asian_width

_ERASE = "\x1b[K"


def is_live(stream: TextIO) -> bool:
    """Whether a line can be redrawn there: a terminal that is not a dumb one."""
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


class StatusLine:
    """The line. Where the stream is no live terminal, nothing is drawn."""

    def __init__(self, text: str, stream: TextIO) -> None:
        self.text = text
        self.stream = stream
        self._started = monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True, name="status-line")

    def start(self) -> None:
        if is_live(self.stream):
            self._thread.start()

    def stop(self) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _draw(self) -> None:
        while not self._done.wait(0.2):
            seconds = f"  {monotonic() - self._started:.0f} s"
            # a line that fills the last column would wrap in some terminals
            room = shutil.get_terminal_size().columns - len(seconds) - 1
            self._write(f"\r{_ERASE}{fit(self.text, room)}{seconds}\r")
        self._write(f"\r{_ERASE}")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


class LinesAbove(TextIOBase):
    """A stream whose lines replace the status line, which is drawn again below them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = ""
        """A line without its end: the status line would erase it."""

    def write(self, text: str) -> int:
        if not is_live(self._stream):
            return self._stream.write(text)
        *lines, self._begun = (self._begun + text).split("\n")
        self._stream.write("".join(f"{line}{_ERASE}\n" for line in lines))
        return len(text)

    def flush(self) -> None:
        begun, self._begun = self._begun, ""
        self._stream.write(begun)
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True


@contextmanager
def status_line(text: str) -> Iterator[StatusLine]:
    """Show `text` on stderr while the block runs."""
    line = StatusLine(text, sys.stderr)
    line.start()
    try:
        yield line
    finally:
        line.stop()


def fit(text: str, columns: int) -> str:
    """The text, cut to that many columns of a terminal; wide characters take two.

    >>> fit("issues: extract", 80), fit("issues: extract", 9), fit("名前: extract", 6)
    ('issues: extract', 'issues: …', '名前:…')
    """
    if _columns(text) <= columns:
        return text
    while text and _columns(text) >= columns:
        text = text[:-1]
    return text + "…"


def _columns(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
