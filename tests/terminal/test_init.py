"""`millstream init` without its arguments: it asks, where a person can answer."""

from __future__ import annotations

from pathlib import Path

from services import processes
from services.terminal import Terminal, millstream


def test_what_the_command_line_does_not_say_is_asked(tmp_path: Path) -> None:
    terminal = Terminal(millstream("init"), tmp_path)
    for answer in ("nothing of these", "5", "duckdb"):  # by number, or by name
        terminal.wait_for("or a name: ")
        terminal.type(answer)
    terminal.wait_for("Which folder\\? \\[files\\] ")
    terminal.type("orders")
    assert terminal.wait() == 0, terminal.text
    assert "   5  files          Files" in terminal.lines
    assert (tmp_path / "orders/src/orders/defs/files/defs.yaml").is_file()


def test_a_program_is_not_asked(tmp_path: Path) -> None:
    done = processes.millstream(tmp_path, "init", "files")
    assert done.returncode == 2
    assert "required: SOURCE, DESTINATION" in done.stderr
    assert not any(tmp_path.iterdir())
