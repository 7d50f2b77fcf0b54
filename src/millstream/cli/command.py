"""What a command is: a name, help, examples, and a function with options, or sub-commands."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass

Run = Callable[[Namespace], int]
AddArguments = Callable[[ArgumentParser], None]


@dataclass(frozen=True, slots=True)
class Command:
    """One command, or a group of them.

    Modules that define commands import the standard library alone at the top; whatever a command
    needs is imported inside `run`, so that `millstream --help` stays instant.

    Attributes:
        summary: one line for the list of commands, lower case, no full stop.
        examples: command lines to copy, at least one.
        run: does the work, prints, returns the exit code; None for a group.
        arguments: adds the command's own options to its parser.
        description: further paragraphs of its `--help`, wrapped there.
        commands: the sub-commands of a group.
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    run: Run | None = None
    arguments: AddArguments | None = None
    description: str = ""
    commands: tuple[Command, ...] = ()
