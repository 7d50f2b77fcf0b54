"""`millstream init`: write a Dagster project."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path

from millstream.cli.command import Command
from millstream.cli.pipeline import repeatable


def _arguments(parser: ArgumentParser) -> None:
    from millstream.cli.parser import one_of
    from millstream.scaffold.catalog import DESTINATIONS, SOURCES

    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        type=one_of("source", tuple(SOURCES)),
        help=f"where data comes from: {', '.join(SOURCES)}",
    )
    parser.add_argument(
        "destination",
        metavar="DESTINATION",
        nargs="?",
        type=one_of("destination", tuple(DESTINATIONS)),
        help=f"where tables go: {', '.join(DESTINATIONS)}",
    )
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=Path,
        help="where to write (default: a folder named after SOURCE)",
    )
    repeatable(parser, "--repository", "OWNER/NAME", "repositories", "a GitHub repository to load")
    repeatable(parser, "--database", "NAME", "databases", "a MongoDB database to load")


def _run(options: Namespace) -> int:
    import shlex

    from millstream.cli.terminal import paint
    from millstream.scaffold import SOURCES, write_project

    lists = {}
    if options.repositories:
        lists["repositories"] = repositories(options.repositories, "millstream init")
    if options.databases:
        lists["databases"] = databases(options.databases, "millstream init")
    if options.source is None or options.destination is None:
        _ask(options)
    _refuse_what_is_not_taken(options.source, lists)
    project = write_project(options.source, options.destination, options.folder, lists=lists)

    print(f"wrote {len(project.files)} files to {project.folder}; the pipeline is")
    print(f"{project.defs.relative_to(project.folder)}\n")
    steps = [
        ("cp .env.example .env", "then fill it in"),
        *(
            [("millstream discover", "what is there?")]
            if SOURCES[options.source].known == "discovered"
            else []
        ),
        ("millstream doctor", "all well?"),
        ("dg dev", "Dagster on http://localhost:3000, or: millstream run"),
    ]
    if project.folder.resolve() != Path.cwd():
        steps.insert(0, (f"cd {shlex.quote(str(project.folder))}", ""))
    width = max(len(step) for step, comment in steps if comment)
    for step, comment in steps:
        note = paint(f"  # {comment}", "dim", stream=sys.stdout) if comment else ""
        padding = " " * (width - len(step)) if comment else ""
        print(f"  {paint(step, 'bold', stream=sys.stdout)}{padding}{note}")
    return 0


def _ask(options: Namespace) -> None:
    """Ask for what the command line does not say.

    Raises:
        UsageError: nobody is there to answer.
    """
    from millstream.cli.parser import UsageError
    from millstream.scaffold import DESTINATIONS, SOURCES

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "millstream init: the following arguments are required: SOURCE, DESTINATION",
            hint="`millstream init --help` has an example; in a terminal it asks",
        )
    if options.source is None:
        names = {name: kind.title for name, kind in SOURCES.items()}
        options.source = _choice("Where does the data come from?", names)
    if options.destination is None:
        names = {name: kind.title for name, kind in DESTINATIONS.items()}
        options.destination = _choice("Where do the tables go?", names)
    if options.folder is None:
        answer = _answer(f"Which folder? [{options.source}] ")
        options.folder = Path(answer) if answer else None


def _choice(question: str, titles: Mapping[str, str]) -> str:
    """One of these names, by its name or its number."""
    names = list(titles)
    print(question)
    width = max(map(len, names))
    for number, name in enumerate(names, 1):
        print(f"  {number:>2}  {name:<{width}}  {titles[name]}")
    while True:
        answer = _answer(f"1 to {len(names)}, or a name: ")
        if answer in titles:
            return answer
        if answer.isdecimal() and 1 <= int(answer) <= len(names):
            return names[int(answer) - 1]


def _answer(prompt: str) -> str:
    from millstream.cli.parser import UsageError

    try:
        return input(prompt).strip()
    except EOFError:
        raise UsageError(
            "millstream init: no answer; nothing was written",
            hint="`millstream init --help` has an example",
        ) from None


def _refuse_what_is_not_taken(source: str, lists: Iterable[str]) -> None:
    from millstream.cli.parser import UsageError
    from millstream.scaffold import SOURCES

    for name in lists:
        if name not in SOURCES[source].lists:
            takes = next(kind.name for kind in SOURCES.values() if name in kind.lists)
            raise UsageError(
                f"millstream init: {source} takes no {name}", hint=f"they are for {takes}"
            )


def repositories(names: list[str], command: str) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        UsageError: one is not of the form owner/name.
    """
    import re

    from millstream.cli.parser import UsageError

    for name in names:
        # GitHub's own rules for names; also keeps anything but a name out of the file
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", name):
            raise UsageError(
                f"{command}: not a repository: {name!r}",
                hint="write it as owner/name, such as dlt-hub/dlt",
            )
    return tuple(dict.fromkeys(names))


def databases(names: list[str], command: str) -> tuple[str, ...]:
    """The names, each once.

    Raises:
        UsageError: one can't be a database's.
    """
    import re

    import yaml

    from millstream.cli.parser import UsageError

    for name in names:
        # MongoDB allows more; these are names in YAML, too: no number, no truth, no quotes needed
        if not re.fullmatch(r"\w[\w-]{0,62}", name, re.ASCII) or yaml.safe_load(name) != name:
            raise UsageError(
                f"{command}: not a database: {name!r}",
                hint="letters, digits, - and _; others can be written into defs.yaml afterwards",
            )
    return tuple(dict.fromkeys(names))


COMMAND = Command(
    name="init",
    summary="write a Dagster project that loads SOURCE into DESTINATION",
    description=(
        "Writes a complete project: the pipeline in one defs.yaml, the tables it will make where "
        "they are known, tests, .env.example for credentials. Overwrites nothing. Asks for what "
        "the command line does not say."
    ),
    examples=(
        "millstream init",
        "millstream init github_issues duckdb",
        "millstream init github_issues bigquery my_issues --repository dlt-hub/dlt",
        "millstream init mongodb postgres my_shop --database shop",
        "millstream init files duckdb my_files",
    ),
    arguments=_arguments,
    run=_run,
)
