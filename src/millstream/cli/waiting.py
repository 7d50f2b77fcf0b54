"""One line of a terminal that says what is going on, with the seconds so far; gone when done."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from millstream.cli.terminal import paint

_WIDTH = 78


class Waiting:
    """The line; where the stream is no terminal, `say` prints lines of its own instead."""

    def __init__(self, text: str, stream: TextIO) -> None:
        self.stream = stream
        self.text = text
        self._started = monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def say(self, text: str) -> None:
        """Show what is going on now."""
        self.text = text
        if not self.stream.isatty():
            print(f"  {text}", file=self.stream, flush=True)

    def start(self) -> None:
        if self.stream.isatty():
            self._thread.start()

    def stop(self) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _draw(self) -> None:
        while not self._done.wait(0.2):
            passed = f" {monotonic() - self._started:.0f} s"
            text = self.text
            if len(text) + len(passed) > _WIDTH:
                text = text[: _WIDTH - len(passed) - 1] + "…"
            self.stream.write("\r\x1b[K" + paint(text + passed, "dim", stream=self.stream))
            self.stream.flush()
        self.stream.write("\r\x1b[K")
        self.stream.flush()


@contextmanager
def waiting(text: str) -> Iterator[Waiting]:
    """Show `text` on stderr while the block runs."""
    line = Waiting(text, sys.stderr)
    line.start()
    try:
        yield line
    finally:
        line.stop()
