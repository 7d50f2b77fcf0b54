"""`millstream schema`: what changed and what is accepted; `schema_decisions` is to accept it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from millstream.cli import schema_decisions
from millstream.cli.changes import (
    change_line,
    decision_fields,
    decision_lines,
)
from millstream.cli.command import Command
from millstream.cli.pipeline import (
    complain_of_each,
    import_arrow_for,
    of_each_stream,
    open_pipeline,
    pipeline_arguments,
)
from millstream.cli.schema_decisions import pages_option, standing_of
from millstream.cli.terminal import print_json, print_listing
from millstream.common.text import quantity

if TYPE_CHECKING:
    from millstream.config import PipelineConfig
    from millstream.model import SchemaVersion

_SEVERITIES = ("safe", "risky", "breaking")
_EXIT = {"safe": 10, "risky": 11, "breaking": 12}


def _diff_arguments(parser: ArgumentParser) -> None:
    pipeline_arguments(parser)
    pages_option(parser)
    parser.add_argument(
        "--fail-on",
        choices=_SEVERITIES,
        default="risky",
        help="exit code 10 (safe), 11 (risky) or 12 (breaking) from here on (default: risky)",
    )


def _log_arguments(parser: ArgumentParser) -> None:
    from millstream.cli.parser import whole_number

    pipeline_arguments(parser)
    parser.add_argument("--table", metavar="NAME", help="only changes of this table")
    parser.add_argument(
        "--at-least", choices=_SEVERITIES, default="safe", help="omit milder changes"
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=whole_number(0),
        default=50,
        help="the newest N changes; 0 lists all (default: 50)",
    )


def _diff(options: Namespace) -> int:
    from millstream.schema_changes import comes_and_goes

    config, streams = open_pipeline(options)
    import_arrow_for(config)
    standings, failed = of_each_stream(streams, lambda stream: standing_of(config, stream, options))
    found = {stream: (*each.decisions, *each.accepted) for stream, each in standings.items()}
    if options.json:
        print_json({stream: [decision_fields(d) for d in made] for stream, made in found.items()})
    else:
        for stream, made in found.items():
            print("\n".join(decision_lines(f"{config.name}.{stream}", made)))
    complain_of_each(failed, debug=options.debug)
    if failed:
        return 1
    told = [
        d.change.severity
        for made in found.values()
        for d in made
        if d.decided_by != "people" and not comes_and_goes(d)
    ]
    worst = max(told, key=_SEVERITIES.index, default=None)
    if worst is None or _SEVERITIES.index(worst) < _SEVERITIES.index(options.fail_on):
        return 0
    return _EXIT[worst]


def _log(options: Namespace) -> int:
    from millstream import destinations
    from millstream.schema_changes import history

    config, streams = open_pipeline(options)
    with redirect_stdout(sys.stderr), destinations.reader(config) as destination:
        rows = history.changes(history.Place(destination, config.dataset), config.name)
    rows = [
        row
        for row in rows
        if row["stream"] in streams
        and options.table in (None, row["table_name"])
        and _SEVERITIES.index(row["severity"]) >= _SEVERITIES.index(options.at_least)
    ]
    earlier = max(len(rows) - options.limit, 0) if options.limit else 0
    rows = rows[earlier:]
    print_listing(
        rows, map(_log_line, rows), as_json=options.json, if_empty="no schema changes recorded"
    )
    if earlier:
        print(
            f"{quantity(earlier, 'earlier change')} omitted: --limit 0 lists all", file=sys.stderr
        )
    return 0


def _log_line(row: Mapping[str, Any]) -> str:
    when = row["recorded_at"].strftime("%Y-%m-%d %H:%M")
    return change_line({**row, "id": when, "table": row["table_name"]}, row["stream"])


def _show(options: Namespace) -> int:
    config, streams = open_pipeline(options)
    accepted = {name: version for name, version in _accepted(config).items() if name in streams}
    from dataclasses import asdict

    print_listing(
        {name: asdict(version)["tables"] for name, version in accepted.items()},
        (
            line
            for name, version in accepted.items()
            for line in (f"{config.name}.{name}", *_tree_lines(version))
        ),
        as_json=options.json,
        if_empty="nothing accepted yet: the first run accepts what it loads",
    )
    return 0


def _tree_lines(version: SchemaVersion) -> list[str]:
    from dataclasses import replace

    from millstream.cli.terminal import tree
    from millstream.schema_changes.messages import origin_words
    from millstream.schema_changes.yaml_column import write

    lines = []
    tables = version.table
    rows = tree({table.name: table.parent for table in version.tables})
    for branch, name in rows:
        lines.append(f"  {branch}{name}")
        indent = branch.replace("├─ ", "│  ").replace("└─ ", "   ")
        below = "│  " if any(table.parent == name for table in version.tables) else "   "
        width = max((len(column.name) for column in tables[name].columns), default=0)
        for column in tables[name].columns:
            line = write(replace(column, source_path="")) + origin_words(column)
            lines.append(f"  {indent}{below}{column.name.ljust(width)}  {line}")
    return lines


def _accepted(config: PipelineConfig) -> dict[str, SchemaVersion]:
    from millstream import destinations

    with redirect_stdout(sys.stderr):
        accepted_store = destinations.accepted_store(config)
        return accepted_store.load() if accepted_store else {}


COMMAND = Command(
    name="schema",
    summary="see, compare and accept the schema of a pipeline",
    description="The accepted schema is kept in schema.yaml, beside defs.yaml, or in the "
    "destination.",
    examples=("millstream schema show", "millstream schema accept --stream issues"),
    commands=(
        Command(
            name="diff",
            summary="say what the next run would find changed, without loading",
            description="What the next run would find changed: in what is held on this machine, "
            "else in the source's next pages. The destination is asked what earlier loads left.\n"
            "For CI: the exit code tells the worst severity of what nobody has accepted.",
            examples=("millstream schema diff", "millstream schema diff --fail-on breaking --json"),
            arguments=_diff_arguments,
            run=_diff,
        ),
        Command(
            name="log",
            summary="list the changes that runs have made, oldest first",
            description="Reads the history that runs keep in the destination. Times are in UTC.",
            examples=("millstream schema log --at-least risky", "millstream schema log --json"),
            arguments=_log_arguments,
            run=_log,
        ),
        *schema_decisions.COMMANDS,
        Command(
            name="show",
            summary="print the accepted tables and columns as a tree",
            description="Reads what was accepted, and asks nothing of the source.",
            examples=("millstream schema show --stream issues", "millstream schema show --json"),
            arguments=pipeline_arguments,
            run=_show,
        ),
    ),
)
