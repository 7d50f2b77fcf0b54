"""`millstream report`: the history of a pipeline as one HTML page."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import redirect_stdout
from pathlib import Path

from millstream.cli.command import Command
from millstream.cli.pipeline import path_argument, quieten_dlt


def _arguments(parser: ArgumentParser) -> None:
    path_argument(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        default=Path("report.html"),
        help="the file to write (default: report.html)",
    )


def _run(options: Namespace) -> int:
    from datetime import datetime, timezone

    from millstream import html_report
    from millstream.config import read_pipeline
    from millstream.errors import ConfigError

    quieten_dlt()
    config = read_pipeline(options.path)
    with redirect_stdout(sys.stderr):
        streams = html_report.gather(config)
    if not streams and not config.history:
        raise ConfigError(
            f"{config.name}: no run is recorded, since defs.yaml has `history: false`",
            hint="take that out; runs are recorded from then on",
        )
    if not streams:
        raise ConfigError(
            f"{config.name}: no run has been recorded yet", hint="`millstream run` first"
        )
    text = html_report.render(config, streams, datetime.now(timezone.utc))
    try:
        options.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{options.output}: can't be written: {error.strerror}",
            hint="--output names a file in a folder that is there",
        ) from None
    print(f"written to {options.output}")
    return 0


COMMAND = Command(
    name="report",
    summary="write tables, loads, changes and profile as an HTML page",
    description=(
        "Reads the history that runs keep in the destination. The page is one file without "
        "scripts; it asks nothing of anyone, so that it can be mailed or kept as it is."
    ),
    examples=("millstream report", "millstream report github_issues --output issues.html"),
    arguments=_arguments,
    run=_run,
)
