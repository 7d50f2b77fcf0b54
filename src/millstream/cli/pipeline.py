"""What commands about one pipeline share: how they are told which, open it, and show its log."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from millstream.config import PipelineConfig
    from millstream.errors import MillstreamError
    from millstream.model import Stream

T = TypeVar("T")


def path_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        type=Path,
        default=Path(),
        help="a defs.yaml, a folder with one, or a pipeline's name (default: this folder)",
    )


def stream_option(parser: ArgumentParser, doing: str = "only") -> None:
    """`--stream`, as often as one likes; `doing` is what happens to those that are named."""
    repeatable(parser, "--stream", "NAME", "streams", f"{doing} this stream")


def repeatable(parser: ArgumentParser, option: str, metavar: str, dest: str, doing: str) -> None:
    """An option that may be given more than once; what it collects is None where it never is."""
    parser.add_argument(
        option,
        metavar=metavar,
        action="append",
        dest=dest,
        help=f"{doing}; may be given more than once",
    )


def pipeline_arguments(parser: ArgumentParser) -> None:
    """Which pipeline, which of its streams, and `--json`."""
    path_argument(parser)
    stream_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def open_pipeline(options: Namespace) -> tuple[PipelineConfig, list[str]]:
    """The pipeline, and its streams: those that `--stream` names, else all.

    Raises:
        ConfigError: no pipeline there, or a wrong one.
        UsageError: it has no such stream.
    """
    from millstream import sources
    from millstream.config import read_pipeline

    quieten_dlt()
    config = read_pipeline(_path(options))
    # stdout is for the answer alone: whatever a library prints goes where people read
    with redirect_stdout(sys.stderr):
        streams = sources.of_pipeline(config).streams()
    return config, _chosen(options.streams, streams, options.command)


def _path(options: Namespace) -> Path:
    """Where the pipeline is: of several below a folder the one that has what `--stream` names.

    Commands that runs, alerts and Dagster hand out name the stream alone.

    Raises:
        ConfigError: several have it.
    """
    from millstream import sources
    from millstream.config import pipelines_below, read_pipeline
    from millstream.errors import ConfigError, MillstreamError

    path: Path = options.path
    files = pipelines_below(path) if options.streams and path.is_dir() else []
    if len(files) < 2:
        return path
    having: dict[Path, str] = {}
    for file in files:
        try:
            config = read_pipeline(file)
            with redirect_stdout(sys.stderr):
                streams = sources.of_pipeline(config).streams()
        except MillstreamError:  # not the one that is meant, or told when it is named
            continue
        if {*options.streams} <= {stream.name for stream in streams}:
            having[file] = config.name
    if len(having) > 1:
        wanted = " ".join(f"--stream {quote(name)}" for name in options.streams)
        raise ConfigError(
            f"{path}: more than one pipeline has {', '.join(map(repr, options.streams))}: "
            f"{', '.join(having.values())}",
            hint=f"name one of them: `{options.command} {next(iter(having.values()))} {wanted}`",
        )
    return next(iter(having), path)


def of_each_stream(
    streams: Sequence[str], look: Callable[[str], T]
) -> tuple[dict[str, T], dict[str, MillstreamError]]:
    """What is found of each stream, and why others fail, which are not in the way of those.

    Raises:
        DestinationError, SourceUnavailableError: it is the same for all.
        MillstreamError: all fail alike.
    """
    from millstream.errors import DestinationError, MillstreamError, SourceUnavailableError

    found: dict[str, T] = {}
    failed: dict[str, MillstreamError] = {}
    with redirect_stdout(sys.stderr):
        for stream in streams:
            try:
                found[stream] = look(stream)
            except (DestinationError, SourceUnavailableError):
                raise
            except MillstreamError as error:
                failed[stream] = error
    if not found and len({*map(str, failed.values())}) == 1:
        raise next(iter(failed.values()))
    return found, failed


def complain_of_each(failed: Mapping[str, MillstreamError], *, debug: bool) -> None:
    """Print why streams failed."""
    from millstream.cli.error_output import complain

    for stream, error in failed.items():
        complain(error, debug=debug, what=stream)


def import_arrow_for(config: PipelineConfig) -> None:
    """Import Arrow before anything else does: only a source of dlt's has frames of pandas."""
    from millstream.common.arrow_import import import_arrow

    import_arrow(frames=config.source.type == "dlt")


def show_log() -> None:
    """Progress lines and warnings of a run on stderr; of dlt, what it says is wrong."""
    import logging

    from millstream.common.status_line import LinesAbove

    handler = logging.StreamHandler(LinesAbove(sys.stderr))
    handler.setFormatter(logging.Formatter("  %(message)s"))
    logger = logging.getLogger("millstream")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def quieten_dlt() -> None:
    """Of dlt's log only what is wrong, unless the user's configuration says otherwise."""
    import os

    # it warns of every column that is null throughout; the answer says which columns there are
    os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")


def _chosen(wanted: Sequence[str] | None, streams: Sequence[Stream], command: str) -> list[str]:
    from millstream.cli.parser import UsageError, did_you_mean

    known = [stream.name for stream in streams]
    for name in wanted or ():
        if name in known:
            continue
        group = next((stream for stream in streams if name in stream.members), None)
        if group is not None:
            others = ", ".join(member for member in group.members if member != name)
            raise UsageError(
                f"{command}: {name!r} is loaded together with {others}",
                hint=f"load the stream {group.name!r}",
            )
        raise UsageError(
            f"{command}: no such stream: {name!r}",
            hint=did_you_mean(name, known) or f"this pipeline has {', '.join(known)}",
        )
    return [name for name in known if not wanted or name in wanted]
