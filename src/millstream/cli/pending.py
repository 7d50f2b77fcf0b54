"""`millstream pending`: packages that earlier runs left, why, and to drop one by itself."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from millstream.cli.changes import change_line, dropped_lines, package_lines, print_packages
from millstream.cli.command import Command
from millstream.cli.pipeline import open_pipeline, pipeline_arguments, repeatable

if TYPE_CHECKING:
    from millstream.config import PipelineConfig
    from millstream.runs.pending_packages import PendingPackage


_NONE = "no packages are pending"


def _id_arguments(parser: ArgumentParser) -> None:
    pipeline_arguments(parser)
    repeatable(parser, "--id", "ID", "ids", "only this package")


def _list(options: Namespace) -> int:
    from millstream.runs import pending_decisions

    config, streams = open_pipeline(options)
    packages = _packages(config, streams, fully=False)
    gone = [] if options.streams else pending_decisions.forgotten_streams(config, streams)
    if_empty = "no packages are pending of the streams in defs.yaml" if gone else _NONE
    print_packages(packages, package_lines, as_json=options.json, if_empty=if_empty)
    if gone:
        print(
            f"packages wait of what is no stream any more: {', '.join(gone)}; name it again in "
            "defs.yaml to load or drop them",
            file=sys.stderr,
        )
    return 0


def _show(options: Namespace) -> int:
    found = _packages(*open_pipeline(options), fully=True)
    _check_ids(options, found)
    shown = [package for package in found if not options.ids or package.id in options.ids]
    print_packages(shown, _all_lines, as_json=options.json, if_empty=_NONE)
    return 0


def _all_lines(package: PendingPackage) -> list[str]:
    return [
        *package_lines(package),
        *(f"    damaged: {each}" for each in package.damage),
        *(f"    {change_line(change)}" for change in package.changes),
        *(f"    {rows:,} rows  {table}" for table, rows in package.rows.items()),
        *(f"    {size:,} bytes  {name}" for name, size in package.files.items()),
        f"    in {package.folder}",
    ]


def _drop(options: Namespace) -> int:
    from millstream.cli.parser import UsageError
    from millstream.runs import pending_decisions

    if not options.ids and not options.streams:
        raise UsageError(
            "millstream pending drop: --stream or --id is required",
            hint="`millstream pending list` names the packages",
        )
    config, streams = open_pipeline(options)
    with redirect_stdout(sys.stderr):
        _check_ids(options, _packages(config, streams, fully=False))
        dropped = [
            package
            for stream in streams
            for package in pending_decisions.drop_pending(config, stream, ids=options.ids or ())
        ]
    print_packages(dropped, dropped_lines, as_json=options.json, if_empty=_NONE)
    return 0


def _packages(
    config: PipelineConfig, streams: Sequence[str], *, fully: bool
) -> list[PendingPackage]:
    from millstream.runs import pending_decisions

    with redirect_stdout(sys.stderr):
        return [
            package
            for stream in streams
            for package in pending_decisions.list_pending(config, stream, fully=fully)
        ]


def _check_ids(options: Namespace, found: list[PendingPackage]) -> None:
    from millstream.errors import ConfigError

    if missing := {*(options.ids or ())} - {package.id for package in found}:
        raise ConfigError(
            f"no package {', '.join(sorted(missing))} is pending",
            hint="`millstream pending list` names the packages",
        )


COMMAND = Command(
    name="pending",
    summary="see packages that were extracted and not loaded, and drop one",
    description="A package that a run could not load waits on this machine, and the next run of "
    "its stream loads it first.",
    examples=("millstream pending list", "millstream pending drop --stream issues"),
    commands=(
        Command(
            name="list",
            summary="list what waits, with the reason, oldest first",
            description="held: a schema change must be accepted (see `millstream schema pending`); "
            "accepted: the next run loads it; damaged: a file is missing or was "
            "altered; failed: with the error of the last run; interrupted: its process ended.",
            examples=("millstream pending list", "millstream pending list --json"),
            arguments=pipeline_arguments,
            run=_list,
        ),
        Command(
            name="show",
            summary="show files, rows, held changes and damage of what waits",
            description="Reads each file to find damage.",
            examples=("millstream pending show --id 1795885480.7554605",),
            arguments=_id_arguments,
            run=_show,
        ),
        Command(
            name="drop",
            summary="drop a package; the next run reads its rows again",
            description="No cursor moves, and no table is emptied. Rows that an interrupted load "
            "has appended of it are taken out of the destination.",
            examples=(
                "millstream pending drop --stream issues",
                "millstream pending drop --id 1795885480.7554605",
            ),
            arguments=_id_arguments,
            run=_drop,
        ),
    ),
)
