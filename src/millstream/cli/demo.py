"""`millstream demo`: real GitHub issues become linked tables, before one's eyes."""

from __future__ import annotations

import shlex
import signal
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from millstream.cli.command import Command
from millstream.cli.terminal import align, paint, print_json, seconds, tree
from millstream.common.status_line import status_line

if TYPE_CHECKING:
    from millstream.demo.processes import DemoRun
    from millstream.demo.workspace import Workspace

FOLDER = Path(".demo")
CACHE = Path(".cache/github3.py")


def _arguments(parser: ArgumentParser) -> None:
    from millstream.cli.parser import whole_number

    parser.add_argument(
        "--live",
        metavar="OWNER/REPO",
        help="load this repository from GitHub itself, with GITHUB_TOKEN if it is set",
    )
    parser.add_argument(
        "--ui", action="store_true", help="open Dagster's UI on what the demo loaded"
    )
    parser.add_argument(
        "--port",
        metavar="N",
        type=whole_number(1, 65535),
        default=3000,
        help="the UI's port (default: 3000)",
    )
    parser.add_argument("--json", action="store_true", help="print the runs as JSON")
    parser.add_argument("--base-url", help=SUPPRESS)  # --live against another GitHub


def _run(options: Namespace) -> int:
    from millstream.demo import processes
    from millstream.demo.workspace import Workspace

    processes.require("dagster", "Dagster", "millstream[dagster]")
    # `kill` ends the demo as Ctrl-C does: with the processes that it started
    signal.signal(signal.SIGTERM, _interrupt)
    workspace = Workspace(FOLDER / "live" if options.live else FOLDER)
    if options.ui:
        return _show(options, workspace)
    done = _live(options, workspace) if options.live else _recorded(options, workspace)
    if options.json:
        _print_json(done)
    return 0


def _recorded(options: Namespace, workspace: Workspace) -> Sequence[DemoRun]:
    from time import perf_counter

    from millstream.demo import processes
    from millstream.demo.recordings import AS_OF, REPOSITORIES

    started = perf_counter()
    say = _Say(options.json)
    say.title("GitHub issues, through Dagster, into DuckDB")
    with ExitStack() as stack:
        stack.enter_context(workspace.locked())
        with status_line("getting the recordings"):
            workspace.prepare(repositories=REPOSITORIES)
            server = stack.enter_context(processes.local_github(CACHE, workspace.log))
            workspace.point_at(server.url)
        real = server.origin.startswith("real")
        say.paragraph(f"{', '.join(REPOSITORIES)}: {server.origin}" if real else server.origin)
        say(f"  served at {server.url} the way GitHub's API does")
        runs = processes.runs(workspace, moments=(AS_OF, "now"), server=server.url)
        first = _told(
            runs, say, f"Run 1: GitHub as it was on {_date(AS_OF)}", "starting Dagster, loading"
        )
        second = _told(
            runs, say, "Run 2: GitHub as it is now; only what changed is read", "loading"
        )
        for _ in runs:  # until its process has ended well
            raise AssertionError("two runs were asked for")
    say()
    say.title(f"Done in {seconds(perf_counter() - started)}")
    for line in _merged(first, second):
        say(f"  {line}")
    _farewell(say, workspace, "")
    return first, second


def _live(options: Namespace, workspace: Workspace) -> Sequence[DemoRun]:
    import os

    from millstream.cli.init import repositories
    from millstream.demo import processes

    wanted = repositories([options.live], "millstream demo")
    say = _Say(options.json)
    say.title(f"{options.live}, from GitHub, through Dagster, into DuckDB")
    streams: tuple[str, ...] = ()
    if not os.environ.get("GITHUB_TOKEN"):
        streams = ("issues",)
        say("  GITHUB_TOKEN is not set: GitHub answers 60 requests an hour, so only issues")
        say("  are loaded. Any token, without a scope, makes that 5,000 an hour:")
        say("  https://github.com/settings/tokens")
    with workspace.locked():
        workspace.prepare(repositories=wanted, streams=streams, base_url=options.base_url)
        runs = processes.runs(workspace, said=say.progress)
        done = _told(runs, say, "Run 1", "starting Dagster, loading")
    say()
    say.title(f"Done in {seconds(done.seconds)}")
    _farewell(say, workspace, f" --live {options.live}")
    return (done,)


def _show(options: Namespace, workspace: Workspace) -> int:
    from millstream.demo import processes

    with ExitStack() as stack:
        with status_line("starting Dagster"):
            if not options.live and workspace.exists():
                server = stack.enter_context(processes.local_github(CACHE, workspace.log))
                workspace.point_at(server.url)  # so that "Materialize" works in the UI
            interface = stack.enter_context(processes.user_interface(workspace, options.port))
        url = interface.url
        print(f"Dagster is at {paint(url, 'bold', stream=sys.stdout)}\n")
        print(f"  the issues    {url}/assets/github/issues")
        print(f"  their tables  {url}/asset-groups")
        print(f"  both runs     {url}/runs\n")
        print("Ctrl-C stops it.", flush=True)
        interface.wait()


class _Say:
    """Prints, unless stdout is for JSON."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def __call__(self, text: str = "") -> None:
        if not self.quiet:
            print(text, flush=True)

    def title(self, text: str) -> None:
        self(paint(text, "bold", stream=sys.stdout))

    def paragraph(self, text: str) -> None:
        import textwrap

        for line in textwrap.wrap(text, 78, break_on_hyphens=False):
            self(f"  {line}")

    def progress(self, text: str) -> None:
        if not self.quiet:
            print(paint(f"  {text}", "dim", stream=sys.stderr), file=sys.stderr, flush=True)


def _told(runs: Iterator[DemoRun], say: _Say, title: str, doing: str) -> DemoRun:
    """Wait for the next run, and tell what it did."""
    from millstream.cli.report import change_lines

    say()
    say.title(title)
    with status_line(doing):
        run = next(runs)
    say()
    for line in _tables(run):
        say(line)
    say()
    for line in change_lines(run.changes, sys.stdout, compact=True):
        say(line)
    say(paint(f"  {seconds(run.seconds)}", "dim", stream=sys.stdout))
    return run


def _tables(run: DemoRun) -> list[str]:
    tables = {table.name: table for table in run.tables}
    rows = [("table", "rows loaded", "rows now")]
    for branch, name in tree({table.name: table.parent for table in run.tables}):
        table = tables[name]
        now = "unknown" if table.rows_total is None else f"{table.rows_total:,}"
        rows.append((branch + name, f"{table.rows:,}", now))
    return align(rows)


def _merged(first: DemoRun, second: DemoRun) -> list[str]:
    """What the second run did to the tables that keep one row a thing."""
    before = {table.name: table.rows_total or 0 for table in first.tables}
    lines = []
    for table in second.tables:
        if table.parent is None and table.rows_total is not None and table.name in before:
            new = table.rows_total - before[table.name]
            lines.append(
                f"{table.name}: {before[table.name]:,} + {new:,} new = {table.rows_total:,}; "
                f"{table.rows - new:,} merged into their old rows"
            )
    return lines


def _farewell(say: _Say, workspace: Workspace, live: str) -> None:
    say()
    say("See both runs in Dagster's UI:" if not live else "See the run in Dagster's UI:")
    say(f"  {paint(f'{_program()} demo{live} --ui', 'bold', stream=sys.stdout)}")
    say()
    say("The project that ran, as `millstream init github_issues duckdb` writes it:")
    say(f"  {workspace.project}")


def _program() -> str:
    """This command as it can be typed here: `.venv/bin/millstream`."""
    import shutil

    program = Path(sys.argv[0]).absolute()
    if (found := shutil.which("millstream")) and Path(found).absolute() == program:
        return "millstream"
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    if program.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m millstream"
    return shlex.quote(str(program))


def _date(moment: str) -> str:
    from datetime import datetime

    day = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return f"{day.day} {day:%B %Y}"


def _print_json(runs: Sequence[DemoRun]) -> None:
    from dataclasses import asdict

    print_json({"runs": [asdict(run) for run in runs]})


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


COMMAND = Command(
    name="demo",
    summary="load real GitHub issues through Dagster into DuckDB",
    description=(
        "Runs the project that `millstream init github_issues duckdb` writes, in the folder "
        ".demo, against recorded real issues: once as of an earlier date, once as of now, so "
        "that rows merge and schema changes are caught. Everything stays in .demo and .cache."
    ),
    examples=(
        "millstream demo",
        "millstream demo --ui",
        "millstream demo --live dlt-hub/verified-sources",
    ),
    arguments=_arguments,
    run=_run,
)
