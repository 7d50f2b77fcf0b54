"""A real terminal: a program in a pseudo-terminal, and the screen that a person would see."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pexpect
import pyte

ENOUGH = 240
"""Seconds after which a program that has not printed what it should is broken."""


class Terminal:
    """A program that believes that a person is watching.

    Attributes:
        raw: all that it printed, control sequences included.
    """

    def __init__(
        self,
        program: Sequence[str],
        folder: Path,
        *,
        columns: int = 80,
        colour: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        env = {**os.environ, "TERM": "xterm-256color", **(environment or {})}
        env.pop("CI", None)
        for name in ("NO_COLOR", "COLUMNS", "LINES"):  # the terminal knows its size
            env.pop(name, None)
        if not colour:
            env["NO_COLOR"] = "1"
        self._screen = pyte.HistoryScreen(columns, 50, history=10_000, ratio=1.0)
        self._stream = pyte.Stream(self._screen)
        self.raw = ""
        self._child = pexpect.spawn(
            program[0],
            [*program[1:]],
            cwd=str(folder),
            env=env,
            dimensions=(50, columns),
            encoding="utf-8",
            codec_errors="replace",
            timeout=ENOUGH,
            # a job in the background ignores SIGINT, and its children would, too
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._child.delaybeforesend = None

    def wait_for(self, pattern: str) -> None:
        """Until it has printed what fits a regular expression."""
        try:
            self._child.expect(pattern)
        except (pexpect.EOF, pexpect.TIMEOUT):
            self._take(self._child.before or "")
            raise AssertionError(f"never printed {pattern!r}:\n{self.text}") from None
        self._take(self._child.before + self._child.after)

    def press_ctrl_c(self) -> None:
        self._child.sendintr()

    def type(self, line: str) -> None:
        self._child.sendline(line)

    def wait(self) -> int:
        """Until it ends; its exit code."""
        self._child.expect(pexpect.EOF)
        self._take(self._child.before)
        self._child.close()
        code = self._child.exitstatus
        return code if code is not None else -int(self._child.signalstatus or 0)

    @property
    def lines(self) -> list[str]:
        """What is on the screen, and what has scrolled out of it, as a person sees it."""
        width = self._screen.columns
        above = [
            "".join(row[column].data for column in range(width)) for row in self._screen.history.top
        ]
        return [line.rstrip() for line in (*above, *self._screen.display)]

    @property
    def text(self) -> str:
        return "\n".join(self.lines).rstrip()

    def _take(self, text: str) -> None:
        self.raw += text
        self._stream.feed(text)


def millstream(*arguments: str) -> list[str]:
    """The command of this environment."""
    return [sys.executable, "-m", "millstream", *arguments]
