"""`millstream run`: load the streams of a pipeline, without Dagster."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from millstream.cli import dagster_instance, malloc
from millstream.cli.command import Command
from millstream.cli.pipeline import (
    import_arrow_for,
    open_pipeline,
    path_argument,
    show_log,
    stream_option,
)
from millstream.cli.terminal import paint, print_json

if TYPE_CHECKING:
    from millstream.config import PipelineConfig
    from millstream.errors import RunInterrupted, SchemaHeldError
    from millstream.model import RunReport
    from millstream.runs.context import Progress


def _arguments(parser: ArgumentParser) -> None:
    path_argument(parser)
    stream_option(parser, "load only")
    parser.add_argument(
        "--partition",
        metavar="KEY",
        action="append",
        dest="partitions",
        help="load this partition of each partitioned stream, or all from FIRST...LAST; may be "
        "given more than once",
    )
    parser.add_argument(
        "--full-refresh",
        action="store_true",
        help="replace what the tables hold and forget the cursors; tables that were dropped are "
        "made anew, with the types that the rows have now",
    )
    parser.add_argument("--json", action="store_true", help="print the reports as JSON")


def _run(options: Namespace) -> int:
    malloc.few()
    try:
        # they take a while: who stops the command meanwhile is told, too
        from millstream import open_lineage
        from millstream.cli.report import report_lines, slow_lines
        from millstream.common.status_line import LinesAbove
        from millstream.errors import MillstreamError, RunInterrupted, SchemaHeldError
        from millstream.runs import runner
        from millstream.runs.parallel import run_parallel

        show_log()
        config, streams = open_pipeline(options)
        import_arrow_for(config)
        lineage = open_lineage.client()
        loads = _loads(config, streams, options.partitions or [])
    except KeyboardInterrupt:
        _print_interruption([], [], ())
        raise

    # bars of several streams would overwrite each other
    alone = len(loads) == 1 or config.streams_abreast == 1
    progress: Progress = "bar" if sys.stderr.isatty() and alone else "log"

    def load_one(stream: str, partition: str | None) -> RunReport | Exception:
        try:
            with open_lineage.events(lineage, config, stream, partition) as tell:
                report = runner.run(
                    config,
                    stream,
                    partition=partition,
                    full_refresh=options.full_refresh,
                    progress=progress,
                )
                tell(report)
            return report
        except RunInterrupted as stop:
            stops.append(stop)
            raise
        except Exception as error:  # the other streams still load
            return error

    def load(stream: str) -> list[RunReport | Exception]:
        return [load_one(stream, partition) for partition in loads[stream]]

    reports: list[RunReport] = []
    failures: list[dict[str, Any]] = []
    held: dict[str, SchemaHeldError] = {}
    stops: list[RunInterrupted] = []
    interrupted = False
    out = sys.stdout

    def show(report: RunReport) -> None:
        reports.append(report)
        if not options.json:
            lines = report_lines(report, out) + (slow_lines(report) if options.debug else [])
            print("\n".join(lines) + "\n", file=out, flush=True)

    with redirect_stdout(LinesAbove(sys.stderr)):
        try:
            for stream, outcomes in run_parallel(config, list(loads), load):
                for partition, outcome in zip(loads[stream], outcomes):
                    if isinstance(outcome, SchemaHeldError):
                        held[stream] = outcome
                    if isinstance(outcome, MillstreamError) and outcome.loaded is not None:
                        show(outcome.loaded)  # before it failed
                    if isinstance(outcome, Exception):
                        failures.append(_failure(stream, partition, outcome, debug=options.debug))
                    else:
                        show(outcome)
        except KeyboardInterrupt:
            interrupted = True
            for stop in stops:
                for report in filter(None, (stop.loaded, stop.report)):
                    show(report)

    if options.json:
        _print_json(config.name, reports, failures)
    if reports or held:
        dagster_instance.tell(lambda loads: loads.report_loads(config, reports, held))
    if failures:
        names = ", ".join(
            " ".join(filter(None, (failure["stream"], failure["partition"])))
            for failure in failures
        )
        noun = "partitions" if options.partitions else "streams"
        total = sum(map(len, loads.values()))
        print(f"{len(failures)} of {total} {noun} failed: {names}", file=sys.stderr)
    if interrupted:
        broken = {stop.stream for stop in stops if stop.report is None}
        broken |= {failure["stream"] for failure in failures}
        _print_interruption(stops, list(loads), {each.stream for each in reports} - broken)
        raise KeyboardInterrupt
    return 1 if failures else 0


def _print_interruption(
    stops: Sequence[RunInterrupted], streams: Sequence[str], loaded: Collection[str]
) -> None:
    """What an interrupted command has saved, stream by stream."""
    lines = [stop.message for stop in stops] or ["before any stream was read; nothing was loaded"]
    if len(streams) > 1:
        done = ", ".join(stream for stream in streams if stream in loaded)
        lines.append(f"loaded by this command: {done or 'none'} (of {len(streams)} streams)")
    prefix = paint("interrupted:", "yellow", "bold", stream=sys.stderr)
    for line in lines:
        print(prefix, line, file=sys.stderr)


def _loads(
    config: PipelineConfig, streams: list[str], wanted: list[str]
) -> dict[str, list[str | None]]:
    """What to load of each stream: all of it, or the partitions that are named."""
    from millstream.cli.parser import UsageError
    from millstream.config import between
    from millstream.errors import ConfigError

    if not wanted:
        return {stream: [None] for stream in streams}
    partitions = config.partitions
    chosen = [stream for stream in streams if partitions and partitions.covers(stream)]
    if partitions is None or not chosen:
        raise UsageError(
            "millstream run: --partition: no stream here is partitioned",
            hint="`partitions` in defs.yaml says which streams are, and how",
        )
    try:
        keys = list(dict.fromkeys(key for text in wanted for key in between(partitions, text)))
    except ConfigError as error:
        raise UsageError(f"millstream run: --partition: {error.message}", hint=error.hint) from None
    return {stream: list[str | None](keys) for stream in chosen}


def _failure(
    stream: str, partition: str | None, error: Exception, *, debug: bool
) -> dict[str, Any]:
    from millstream.cli.error_output import complain
    from millstream.common.redact import redact
    from millstream.errors import MillstreamError, SchemaHeldError
    from millstream.schema_changes import held_packages

    complain(error, debug=debug, what=f"{stream} {partition}" if partition else stream)
    message = error.message if isinstance(error, MillstreamError) else str(error)
    hint = error.hint if isinstance(error, MillstreamError) else None
    failure: dict[str, Any] = {
        "stream": stream,
        "partition": partition,
        "error": redact(message),
        "kind": type(error).__name__,
        "hint": redact(hint) if hint else None,
    }
    if isinstance(error, SchemaHeldError):
        failure["decisions"] = [held_packages.to_dict(decision) for decision in error.decisions]
        failure["rows_waiting"] = error.rows
    return failure


def _print_json(pipeline: str, reports: list[RunReport], failures: list[dict[str, Any]]) -> None:
    from millstream.schema_changes import held_packages

    document = {
        "pipeline": pipeline,
        "reports": [
            {**report.to_dict(), "decisions": [held_packages.to_dict(d) for d in report.decisions]}
            for report in reports
        ],
        "failed": failures,
    }
    print_json(document)


COMMAND = Command(
    name="run",
    summary="load the streams of a pipeline, without Dagster",
    description=(
        "Reads the defs.yaml that Dagster reads, loads each stream on its own, and prints "
        "the tables, the seconds, every schema change and what the policy says of it. A stream "
        "that fails does not stop the others; the exit code is then 1. Where DAGSTER_HOME names a "
        "Dagster instance, the loads are reported to it as materializations of its assets."
    ),
    examples=(
        "millstream run",
        "millstream run github_issues --stream issues",
        "millstream run --partition 2024-01-01...2024-01-31",
        "millstream run github_issues --full-refresh --json",
    ),
    arguments=_arguments,
    run=_run,
)
