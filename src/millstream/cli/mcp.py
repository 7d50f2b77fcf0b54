"""`millstream mcp`: tools for agents, which change nothing."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from millstream.cli.command import Command


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=Path,
        default=Path(),
        help="the project; no pipeline outside of it is looked at (default: this folder)",
    )


def _run(options: Namespace) -> int:
    from millstream.agent_tools import server
    from millstream.cli.pipeline import quieten_dlt

    quieten_dlt()
    server(options.folder).run()
    return 0


COMMAND = Command(
    name="mcp",
    summary="serve read-only tools for agents, by the Model Context Protocol",
    description="Speaks MCP on standard input and output: an agent is given this command line, and "
    "starts it itself. The tools show pipelines, tables, changes, what waits, quarantine, profile "
    "and preview; none of them changes anything.",
    examples=("millstream mcp", "millstream mcp my_project"),
    arguments=_arguments,
    run=_run,
)
