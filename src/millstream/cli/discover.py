"""`millstream discover`: ask a source once what streams it has, and keep the answer."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from millstream.cli.command import Command
from millstream.cli.pipeline import path_argument, stream_option
from millstream.cli.terminal import print_json

if TYPE_CHECKING:
    from millstream.model import Stream


def _arguments(parser: ArgumentParser) -> None:
    path_argument(parser)
    stream_option(parser, "look only at")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def _run(options: Namespace) -> int:
    from millstream import sources
    from millstream.common.status_line import status_line
    from millstream.config import read_pipeline
    from millstream.errors import ConfigError

    config = read_pipeline(options.path)
    source = sources.of_pipeline(config)
    if not isinstance(source, sources.Discovering):
        raise ConfigError(
            f"pipeline {config.name!r}: {config.source.type} has nothing to discover",
            hint="its streams are those that defs.yaml names",
        )
    with redirect_stdout(sys.stderr):
        before: dict[str, Stream] = {}
        with suppress(ConfigError):  # what was found before does not fit the configuration now
            before = {each.name: each for each in source.streams()} if source.is_known() else {}
        with status_line(f"asking {config.source.type} what there is"):
            file = source.discover(options.streams or ())
        after = {each.name: each for each in source.streams()}
    if options.json:
        _print_json(config.name, file, before, after)
    else:
        print("\n".join(_lines(file, before, after)))
    return 0


def _lines(file: Path, before: Mapping[str, Stream], after: Mapping[str, Stream]) -> Iterator[str]:
    from millstream.cli.terminal import paint

    new, gone = after.keys() - before.keys(), before.keys() - after.keys()
    width = max((len(name) for name in after), default=0)
    for name, stream in after.items():
        tables = len(stream.lists) + 1
        note = paint("  new", "green", stream=sys.stdout) if before and name in new else ""
        what = "1 table" if tables == 1 else f"{tables} tables"
        yield f"  {name:<{width}}  {stream.description}, {what}{note}"
    for name in sorted(gone):
        yield f"  {name:<{width}}  " + paint("gone", "red", stream=sys.stdout)
    streams = "1 stream" if len(after) == 1 else f"{len(after)} streams"
    yield f"{streams}, in {file}; Dagster shows them when its definitions are reloaded"


def _print_json(
    pipeline: str, file: Path, before: Mapping[str, Stream], after: Mapping[str, Stream]
) -> None:
    from dataclasses import asdict

    document = {
        "pipeline": pipeline,
        "file": str(file),
        "streams": [asdict(stream) for stream in after.values()],
        "new": [name for name in after if name not in before],
        "gone": [name for name in before if name not in after],
    }
    print_json(document)


COMMAND = Command(
    name="discover",
    summary="ask a source what streams it has, and keep the answer",
    description=(
        "For MongoDB: lists the collections, looks at a sample of each, and writes "
        "collections.yaml beside defs.yaml. For SQL databases: lists tables and views, with their "
        "keys and columns, in tables.yaml. Definitions load from that file alone, with the "
        "server down; commit it, and run this again when something comes or goes. "
        "`dg utils refresh-defs-state` does the same."
    ),
    examples=("millstream discover", "millstream discover my_shop --stream orders --json"),
    arguments=_arguments,
    run=_run,
)
