"""`millstream schema`: what changed, what is accepted, and to accept it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from millstream.cli.command import Command
from millstream.cli.pipeline import open_pipeline, path_argument, quieten_dlt, stream_option
from millstream.cli.terminal import print_json

if TYPE_CHECKING:
    from millstream.config import PipelineConfig
    from millstream.model import Decision, SchemaVersion

_SEVERITIES = ("safe", "risky", "breaking")
_EXIT = {"safe": 10, "risky": 11, "breaking": 12}


def _shared_arguments(parser: ArgumentParser) -> None:
    path_argument(parser)
    stream_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _pages_option(parser: ArgumentParser) -> None:
    from millstream.cli.parser import whole_number

    parser.add_argument(
        "--pages",
        metavar="N",
        type=whole_number(0),
        default=10,
        help="pages to read; 0 reads all (default: 10)",
    )


def _diff_arguments(parser: ArgumentParser) -> None:
    _shared_arguments(parser)
    _pages_option(parser)
    parser.add_argument(
        "--fail-on",
        choices=_SEVERITIES,
        default="risky",
        help="exit code 10 (safe), 11 (risky) or 12 (breaking) from here on (default: risky)",
    )


def _log_arguments(parser: ArgumentParser) -> None:
    from millstream.cli.parser import whole_number

    _shared_arguments(parser)
    parser.add_argument("--table", metavar="NAME", help="only changes of this table")
    parser.add_argument("--at-least", choices=_SEVERITIES, default="safe", help="leave out milder")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=whole_number(0),
        default=50,
        help="the newest N changes; 0 lists all (default: 50)",
    )


def _accept_arguments(parser: ArgumentParser) -> None:
    _shared_arguments(parser)
    parser.add_argument(
        "--change",
        metavar="ID",
        action="append",
        dest="changes",
        help="only this change; may be given more than once (default: all that wait)",
    )
    parser.add_argument(
        "--from-source",
        action="store_true",
        help="read the source as `schema diff` does, and accept all that it shows",
    )
    _pages_option(parser)


def _diff(options: Namespace) -> int:
    from millstream import ledger
    from millstream.model import SchemaVersion
    from millstream.preview import preview

    quieten_dlt()
    config, streams = open_pipeline(options)
    accepted = _accepted(config)
    found: dict[str, Sequence[Decision]] = {}
    for stream in streams:
        with redirect_stdout(sys.stderr):
            new = preview(config, stream, accepted.get(stream), pages=options.pages or None)
        found[stream] = ledger.govern(
            SchemaVersion(), accepted.get(stream), new, config.schema_policy, stream=stream
        )
    if options.json:
        print_json({stream: [_decision(d) for d in made] for stream, made in found.items()})
    else:
        for stream, made in found.items():
            if stream not in accepted:
                print(f"{config.name}.{stream}: nothing accepted yet, so all of it is new")
            print("\n".join(_decision_lines(f"{config.name}.{stream}", made)))
    told = [d.change.severity for made in found.values() for d in made]
    worst = max(told, key=_SEVERITIES.index, default=None)
    if worst is None or _SEVERITIES.index(worst) < _SEVERITIES.index(options.fail_on):
        return 0
    return _EXIT[worst]


def _log(options: Namespace) -> int:
    from millstream import destinations
    from millstream.ledger import store

    config, streams = open_pipeline(options)
    with redirect_stdout(sys.stderr), destinations.reader(config) as destination:
        rows = store.changes(store.Place(destination, config.dataset), config.name)
    rows = [
        row
        for row in rows
        if row["stream"] in streams
        and options.table in (None, row["table_name"])
        and _SEVERITIES.index(row["severity"]) >= _SEVERITIES.index(options.at_least)
    ]
    if options.limit > 0:
        rows = rows[-options.limit :]
    if options.json:
        print_json(rows)
        return 0
    if not rows:
        print("no schema changes recorded")
    for row in rows:
        when = row["recorded_at"].strftime("%Y-%m-%d %H:%M")
        told = _told(row["stream"], row["table_name"], row["kind"], row["message"])
        print(f"{when}  {row['severity']:<8}  {row['action']:<10}  {told}")
    return 0


def _told(stream: str, table: str, kind: str, message: str) -> str:
    """A change behind its stream and table, neither named twice."""
    names_itself = kind == "table_added" or table == stream
    return f"{stream}: {message}" if names_itself else f"{stream}: {table}: {message}"


def _accept(options: Namespace) -> int:
    from millstream import destinations

    quieten_dlt()
    config, streams = open_pipeline(options)
    accepted: dict[str, list[dict[str, Any]]] = {}
    for stream in streams:
        done = _accept_held(config, stream, options.changes or ())
        if not done and options.from_source:
            done = _accept_source(config, stream, options.pages)
        if done:
            accepted[stream] = done
    missing = {*(options.changes or ())} - {c["id"] for made in accepted.values() for c in made}
    if missing:
        from millstream.errors import MillstreamError

        raise MillstreamError(
            f"no such change waits: {', '.join(sorted(missing))}",
            hint="`millstream schema diff` and the error of the held run name them",
        )
    if options.json:
        print_json(accepted)
        return 0
    for stream, made in accepted.items():
        for change in made:
            told = _told(stream, change["table"], change["kind"], change["message"])
            print(f"accepted  {change['id']}  {told}")
    if not accepted:
        print("nothing waits to be accepted")
    elif keeper := destinations.keeper(config):
        print(f"written to {keeper.where}; the next run goes on")
    return 0


def _accept_held(config: PipelineConfig, stream: str, only: Sequence[str]) -> list[dict[str, Any]]:
    from millstream import runner

    with redirect_stdout(sys.stderr):
        return [dict(change) for change in runner.accept(config, stream, changes=only)]


def _accept_source(config: PipelineConfig, stream: str, pages: int) -> list[dict[str, Any]]:
    from millstream import destinations, ledger
    from millstream.errors import ConfigError
    from millstream.model import SchemaVersion
    from millstream.preview import preview

    keeper = destinations.keeper(config)
    if keeper is None:
        raise ConfigError("this pipeline has no folder to keep an accepted schema in")
    with redirect_stdout(sys.stderr):
        accepted = keeper.load().get(stream)
        new = preview(config, stream, accepted, pages=pages or None)
        made = ledger.govern(SchemaVersion(), accepted, new, config.schema_policy, stream=stream)
        if made:
            keeper.add(stream, new)
    return [_decision(decision) for decision in made]


def _show(options: Namespace) -> int:
    config, streams = open_pipeline(options)
    accepted = {name: version for name, version in _accepted(config).items() if name in streams}
    if options.json:
        from dataclasses import asdict

        print_json({name: asdict(version)["tables"] for name, version in accepted.items()})
        return 0
    if not accepted:
        print("nothing accepted yet: the first run accepts what it loads")
    for name, version in accepted.items():
        print(f"{config.name}.{name}")
        print("\n".join(_tree_lines(version)))
    return 0


def _tree_lines(version: SchemaVersion) -> list[str]:
    from millstream.cli.terminal import tree
    from millstream.ledger.column_line import write

    lines = []
    tables = version.table
    rows = tree({table.name: table.parent for table in version.tables})
    for branch, name in rows:
        lines.append(f"  {branch}{name}")
        indent = branch.replace("├─ ", "│  ").replace("└─ ", "   ")
        below = "│  " if any(table.parent == name for table in version.tables) else "   "
        width = max((len(column.name) for column in tables[name].columns), default=0)
        lines += [
            f"  {indent}{below}{column.name.ljust(width)}  {write(column)}"
            for column in tables[name].columns
        ]
    return lines


def _accepted(config: PipelineConfig) -> dict[str, SchemaVersion]:
    from millstream import destinations

    with redirect_stdout(sys.stderr):
        keeper = destinations.keeper(config)
        return keeper.load() if keeper else {}


def _decision(decision: Decision) -> dict[str, Any]:
    from millstream.ledger import held

    return held.to_dict(decision)


def _decision_lines(name: str, made: Sequence[Decision]) -> list[str]:
    from millstream.ledger import fingerprint

    if not made:
        return [f"{name}: as accepted"]
    return [
        f"{name}: {len(made)} change{'s' if len(made) != 1 else ''}",
        *(
            f"  {fingerprint(d.change)}  {d.change.severity:<8}  {d.action:<10}  "
            f"{d.change.table}: {d.change.message}"
            for d in made
        ),
    ]


COMMAND = Command(
    name="schema",
    summary="see, compare and accept the schema of a pipeline",
    description="The accepted schema is kept in schema.yaml, beside defs.yaml, or in the "
    "destination.",
    examples=("millstream schema show", "millstream schema accept --stream issues"),
    commands=(
        Command(
            name="diff",
            summary="compare the source with the accepted schema, without loading",
            description="Reads some pages of the source and says what a run would find changed.\n"
            "For CI: the exit code tells the worst severity.",
            examples=("millstream schema diff", "millstream schema diff --fail-on breaking --json"),
            arguments=_diff_arguments,
            run=_diff,
        ),
        Command(
            name="log",
            summary="list the changes that runs have made, oldest first",
            description="Reads the history that runs keep in the destination.",
            examples=("millstream schema log --at-least risky", "millstream schema log --json"),
            arguments=_log_arguments,
            run=_log,
        ),
        Command(
            name="accept",
            summary="accept what a held run waits for",
            description="Writes schema.yaml, or a row in the destination; the next run loads what "
            "waits, then goes on.",
            examples=(
                "millstream schema accept --stream issues",
                "millstream schema accept --change 1f2e3d4c",
            ),
            arguments=_accept_arguments,
            run=_accept,
        ),
        Command(
            name="show",
            summary="print the accepted tables and columns as a tree",
            description="Reads what was accepted, and asks nothing of the source.",
            examples=("millstream schema show --stream issues", "millstream schema show --json"),
            arguments=_shared_arguments,
            run=_show,
        ),
    ),
)
