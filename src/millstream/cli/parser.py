"""Command lines -> options, with argparse; unknown names get a "did you mean".

argparse's own sub-parsers are not used: their error for an unknown command can't be changed through
its public API. Instead the commands are looked up here, and argparse reads one command's options.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

import millstream
from millstream.cli.command import Command
from millstream.errors import MillstreamError

WIDTH = 80


class UsageError(MillstreamError):
    """The command line is wrong; exit code 2."""

    code = 2


def parse(root: Command, arguments: Sequence[str]) -> argparse.Namespace:
    """Find the command that is meant and read its options.

    Of the result, `run` is the command's function and `command` its full name.

    Raises:
        UsageError: unknown command or option, or a wrong value.
        SystemExit: `--help` or `--version` has been printed.
    """
    command, path, rest = root, root.name, list(arguments)
    debug = False
    while command.commands:
        at = next((i for i, word in enumerate(rest) if not word.startswith("-")), len(rest))
        options = Parser(command, path).read(rest[:at])
        debug = debug or options.debug
        if at == len(rest):
            sys.stdout.write(help_of(command, path))
            raise SystemExit(UsageError.code)
        name, rest = rest[at], rest[at + 1 :]
        if name == "help":
            rest = [*rest, "--help"]
            continue
        found = next((sub for sub in command.commands if sub.name == name), None)
        if found is None:
            known = [sub.name for sub in command.commands]
            raise UsageError(
                f"{path}: no such command: {name!r}",
                hint=did_you_mean(name, known) or f"`{path} --help` lists the commands",
            )
        command, path = found, f"{path} {found.name}"
    options = Parser(command, path).read(rest)
    options.debug = options.debug or debug
    options.run = command.run
    options.command = path
    return options


def help_of(command: Command, path: str) -> str:
    """The text of `--help`; `path` is the full name, such as `millstream run`."""
    return Parser(command, path).format_help()


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """`did you mean 'issues'?`, or None when nothing is close."""
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else None


def one_of(what: str, known: Sequence[str]) -> Callable[[str], str]:
    """An argparse `type`: one of these names, with a "did you mean" for the others."""

    def check(value: str) -> str:
        if value in known:
            return value
        raise UsageError(
            f"no such {what}: {value!r}",
            hint=did_you_mean(value, known) or f"choose from {', '.join(known)}",
        )

    return check


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argparse `type`: a whole number within these bounds."""

    def check(value: str) -> int:
        number = int(value) if value.lstrip("-").isdecimal() else None
        if number is None or number < least or (most is not None and number > most):
            bounds = f">= {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{value!r} is not an integer {bounds}")
        return number

    return check


class Parser(argparse.ArgumentParser):
    """The options of one command."""

    def __init__(self, command: Command, path: str) -> None:
        self.known_options: list[str] = []
        self.places: list[str] = ["COMMAND"] if command.commands else []
        self.command = command
        super().__init__(
            prog=path,
            description=_paragraphs(command),
            epilog=_epilog(command),
            formatter_class=_Formatter,
            allow_abbrev=False,
            add_help=False,
        )
        if command.arguments:
            command.arguments(self)
        self.usage = " ".join([path, *self.places, "[options]"])
        self.add_argument("--help", "-h", action="help", help="show this help and exit")
        if path == "millstream":
            self.add_argument(
                "--version",
                action="version",
                version=f"millstream {millstream.__version__}",
                help="show the version and exit",
            )
        self.add_argument(
            "--debug",
            action="store_true",
            help="show the traceback of an error, secrets blanked, and why rows loaded slowly",
        )

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        options, unknown = self.parse_known_args(arguments)
        if not unknown:
            return options
        name = unknown[0].partition("=")[0]
        if name.startswith("-"):
            hint = did_you_mean(name, self.known_options)
            message = f"{self.prog}: no such option: {name!r}"
        else:
            hint, message = None, f"{self.prog}: unexpected argument: {name!r}"
        raise UsageError(message, hint=hint or f"`{self.prog} --help` lists the options")

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        action = super().add_argument(*args, **kwargs)
        if action.help != argparse.SUPPRESS:
            self.known_options.extend(action.option_strings)
        if not action.option_strings:
            place = str(action.metavar or action.dest)
            self.places.append(f"[{place}]" if action.nargs == "?" else place)
        return action

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}", hint=f"`{self.prog} --help` has an example")

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse swallows a broken pipe here; main() wants to see it
        if message:
            (file or sys.stdout).write(message)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Always the same width, so that help in the docs is help in the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=WIDTH)


def _paragraphs(command: Command) -> str:
    lines = [command.summary[0].upper() + command.summary[1:].rstrip(".") + "."]
    for paragraph in filter(None, command.description.split("\n\n")):
        lines += ["", *textwrap.wrap(paragraph, WIDTH - 2)]
    if command.commands:
        lines += ["", "commands:"]
        lines += [f"  {sub.name:<11} {sub.summary}" for sub in command.commands]
    return "\n".join(lines)


def _epilog(command: Command) -> str:
    heading = "example:" if len(command.examples) == 1 else "examples:"
    return "\n".join([heading, *(f"  {example}" for example in command.examples)])
