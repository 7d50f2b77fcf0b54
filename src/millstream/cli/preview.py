"""`millstream preview`: the first rows of a stream as the tables that they would become."""

from __future__ import annotations

import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any

from millstream.cli.changes import decision_fields, decision_lines
from millstream.cli.command import Command
from millstream.cli.pipeline import import_arrow_for, open_pipeline, path_argument
from millstream.cli.terminal import paint, print_json
from millstream.common.text import quantity

if TYPE_CHECKING:
    from millstream.config import PipelineConfig
    from millstream.runs.package_rows import TableRows
    from millstream.runs.preview import Preview

_CELL = 26
"""Characters of a value that are shown."""


def _arguments(parser: ArgumentParser) -> None:
    from millstream.cli.parser import whole_number

    parser.add_argument("stream", metavar="STREAM", help="a stream of the pipeline")
    path_argument(parser)
    parser.add_argument(
        "--rows", metavar="N", type=whole_number(1), default=3, help="rows to show (default: 3)"
    )
    parser.add_argument(
        "--offline",
        action="store_true",
        help="read from the source's beginning, and ask the destination for nothing",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with every column")


def _run(options: Namespace) -> int:
    from millstream.runs.preview import preview

    options.streams = [options.stream]
    config, (stream,) = open_pipeline(options)
    import_arrow_for(config)
    with redirect_stdout(sys.stderr):
        found = preview(config, stream, pages=1, offline=options.offline, rows=options.rows)
    if options.json:
        print_json(_document(stream, found))
    else:
        print("\n".join(_lines(config, stream, found)))
    return 0


def _document(stream: str, found: Preview) -> dict[str, Any]:
    types = _types(found)
    return {
        "stream": stream,
        "tables": [
            {
                "name": table.name,
                "parent": table.parent,
                "read": found.read.get(table.name, 0),
                "columns": [{"name": name, "type": kind} for name, kind in types[table.name]],
                "rows": [
                    {name: _in_json(value) for name, value in row.items()} for row in table.rows
                ],
            }
            for table in found.tables
        ],
        "quarantined": [asdict(each) for each in found.quarantined],
        "changes": [decision_fields(each) for each in (*found.decisions, *found.accepted)],
    }


def _in_json(value: Any) -> Any:
    """A value, or as text what JSON has no form for: bytes in hexadecimal digits, NaN."""
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _types(found: Preview) -> Mapping[str, list[tuple[str, str]]]:
    """The columns of each table, with their types in words."""
    from millstream.schema_changes.messages import type_words

    return {
        table.name: [(column.name, type_words(column)) for column in table.columns]
        for table in found.schema.tables
    }


def _lines(config: PipelineConfig, stream: str, found: Preview) -> Iterator[str]:
    from millstream.destinations import dataset_name

    head = paint(f"{config.name}.{stream}", "bold", stream=sys.stdout)
    where = f"{config.destination.type}, dataset {dataset_name(config)}"
    yield f"{head} → {where}: nothing was loaded"
    if not found.tables:
        yield "  nothing new to read; --offline reads from the source's beginning"
    types = _types(found)
    for table in found.tables:
        yield ""
        yield from _table_lines(table, types[table.name], found.read.get(table.name, 0))
    for each in found.quarantined:
        rows = quantity(each.rows, "row")
        yield f"  {rows} would be quarantined: {each.table}: {each.reason}: {each.example}"
    yield ""
    yield from decision_lines(f"{config.name}.{stream}", (*found.decisions, *found.accepted))


def _table_lines(table: TableRows, types: Sequence[tuple[str, str]], read: int) -> Iterator[str]:
    """A table on its side, since rows are wide: a line for each column, then its values."""
    below = f", below {table.parent}" if table.parent else ""
    of = f"the first {len(table.rows):,} of " if len(table.rows) < read else ""
    title = paint(table.name, "bold", stream=sys.stdout)
    yield f"  {title}{below}: {of}{quantity(read, 'row')} read"
    heads = [f"row {at + 1}" for at in range(len(table.rows))]
    if table.parent:
        heads = [f"of row {at + 1}" for at in table.parents]
    lines = [["column", "type", *heads]]
    lines += [
        [name, kind, *(_cell(row.get(name)) for row in table.rows)]
        for name, kind in types
        if not name.lower().startswith("_dlt")
    ]
    room = shutil.get_terminal_size().columns - 2
    shown, widths = 2, [max(map(len, cells)) for cells in zip(*lines)]
    while shown < len(widths) and (shown == 2 or sum(widths[: shown + 1]) + 2 * shown <= room):
        shown += 1
    for at, cells in enumerate(lines):
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells[:shown], widths))
        line = line.rstrip()
        yield "    " + (line if at else paint(line, "dim", stream=sys.stdout))
    if left := len(widths) - shown:
        yield f"    and {quantity(left, 'more row')}: --json prints all"


def _cell(value: Any) -> str:
    """A value in a line of its own, cut where it is long."""
    text = "null" if value is None else str(_in_json(value))
    text = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


COMMAND = Command(
    name="preview",
    summary="show the first rows of a stream as tables, without loading",
    description="Reads a page of the source from the stream's cursor on, and shows the tables that "
    "its rows would become, with types, and what the schema policy would say. Nothing is loaded, "
    "and the cursor stays where it is.",
    examples=("millstream preview issues", "millstream preview issues --rows 10 --json"),
    arguments=_arguments,
    run=_run,
)
