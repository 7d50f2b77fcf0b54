"""`millstream doctor`: everything that must hold before a run can start."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from millstream.cli.command import Command
from millstream.cli.pipeline import path_argument, quieten_dlt
from millstream.cli.terminal import print_json

if TYPE_CHECKING:
    from millstream.config import PipelineConfig
    from millstream.model import Check
    from millstream.runs.pending_packages import PendingPackage


def _arguments(parser: ArgumentParser) -> None:
    path_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def _run(options: Namespace) -> int:
    quieten_dlt()
    with redirect_stdout(sys.stderr):
        checks = [*_versions(), *_pipeline(options.path)]
    ok = all(check.ok for check in checks)
    if options.json:
        from dataclasses import asdict

        print_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        print("\n".join(_lines(checks)))
    return 0 if ok else 1


def _versions() -> list[Check]:
    from importlib import metadata
    from platform import python_version

    import millstream
    from millstream.model import Check

    checks = [
        Check("millstream", True, millstream.__version__),
        Check("python", True, python_version()),
    ]
    for name, hint in (
        ("dlt", "pip install millstream"),
        ("dagster", 'pip install "millstream[dagster]"; `millstream run` works without'),
    ):
        try:
            checks.append(Check(name, True, metadata.version(name)))
        except metadata.PackageNotFoundError:
            # Dagster is optional: its absence is worth a line, not a failure
            checks.append(Check(name, name != "dlt", "not installed", hint))
    return [*checks, _kernels()]


def _kernels() -> Check:
    """Compiled here, so that no run has to; optional, too."""
    from importlib import metadata

    from millstream.engine import kernels
    from millstream.model import Check

    if kernels.setting() == "off":
        return Check("kernels", True, "off: MILLSTREAM_KERNELS")
    if not kernels.is_installed():
        hint = 'pip install "millstream[fast]"; needed for nothing, faster for millions of rows'
        return Check("kernels", True, "not installed", hint)
    version = f"numba {metadata.version('numba')}"
    try:
        seconds = kernels.load().seconds
    except kernels.KernelError as error:
        return Check("kernels", True, f"{version}: not used: {error}")
    when = f" now, in {seconds:.1f} s" if seconds else ""
    return Check("kernels", True, f"{version}: compiled{when}")


def _pipeline(path: Path) -> list[Check]:
    from millstream.config import read_pipeline
    from millstream.errors import MillstreamError
    from millstream.model import Check

    try:
        config = read_pipeline(path)
    except MillstreamError as error:
        return [Check("pipeline", False, error.message, error.hint)]
    detail = f"{config.name}: {config.source.type} to {config.destination.type}"
    return [
        Check("pipeline", True, detail),
        *_editor(config),
        *_checked("pipeline", _streams, config),
        *_checked("source", _source, config),
        *_checked("destination", _destination, config),
        *_checked("pending", _pending, config),
    ]


def _editor(config: PipelineConfig) -> Sequence[Check]:
    """What editors check the file by, where it is of another version; a run needs none of it."""
    from millstream.config.json_schema import FILE_NAME, file_schema
    from millstream.model import Check

    file = config.folder / FILE_NAME if config.folder else None
    if file is None or not file.is_file() or file.read_text("utf-8") == file_schema():
        return ()
    hint = f"for your editor: python -m millstream.config.json_schema > {file}"
    return [Check("editor", True, f"{FILE_NAME} is of another version of Millstream", hint)]


def _streams(config: PipelineConfig) -> Sequence[Check]:
    """That the source has all streams that the configuration names."""
    from millstream import sources
    from millstream.errors import MillstreamError
    from millstream.runs.stream_names import require_named

    try:
        streams = sources.of_pipeline(config).streams()
    except MillstreamError:  # the check of the source says why
        return ()
    require_named(config, streams)
    return ()


def _source(config: PipelineConfig) -> Sequence[Check]:
    from millstream import sources

    return sources.of_pipeline(config).check()


def _destination(config: PipelineConfig) -> Sequence[Check]:
    from millstream import destinations

    return destinations.preflight(config)


def _pending(config: PipelineConfig) -> Sequence[Check]:
    """What earlier runs left: the next run of a stream loads it first, or fails for it."""
    from millstream import sources
    from millstream.errors import MillstreamError
    from millstream.model import Check
    from millstream.runs import pending_decisions

    try:
        streams = [stream.name for stream in sources.of_pipeline(config).streams()]
    except MillstreamError:  # the check of the source says why
        return ()
    found = [p for stream in streams for p in pending_decisions.list_pending(config, stream)]
    return [*map(_package, found)] or [Check("pending", True, "no packages wait to be loaded")]


def _package(package: PendingPackage) -> Check:
    from millstream.cli.changes import package_name
    from millstream.model import Check
    from millstream.runs.pending_packages import drop_hint
    from millstream.schema_changes.messages import accept_command, reject_command

    stream, reason = package.stream, package.reason.splitlines()[0]
    what = f"{package_name(package)}: {package.status}: {reason}"
    if package.status == "held":
        hint = (
            f"`millstream schema pending` lists them; `{accept_command(stream)}` or "
            f"`{reject_command(stream)}`"
        )
    elif package.status == "accepted":
        return Check("pending", True, what)
    elif package.status == "damaged":
        hint = drop_hint(stream)
    else:
        hint = f"the next run tries to load it first; {drop_hint(stream)}"
    # what kept it from being loaded, such as an outage, may be over
    is_ready = package.status == "interrupted" or package.step == "load"
    return Check("pending", is_ready, what, hint)


def _checked(
    name: str, check: Callable[[PipelineConfig], Sequence[Check]], config: PipelineConfig
) -> list[Check]:
    """The checks of one side; an error on the way is a failed check, so the others still run."""
    from dataclasses import replace

    from millstream.common.redact import redact
    from millstream.errors import MillstreamError
    from millstream.model import Check

    try:
        found = list(check(config))
    except MillstreamError as error:
        found = [Check(name, False, error.message, error.hint)]
    except Exception as error:
        found = [Check(name, False, f"{type(error).__name__}: {error}")]
    return [
        replace(one, detail=redact(one.detail), hint=redact(one.hint) if one.hint else None)
        for one in found
    ]


def _lines(checks: Sequence[Check]) -> list[str]:
    from millstream.cli.terminal import paint

    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        word, colour = ("ok    ", "green") if check.ok else ("failed", "red")
        first, *more = check.detail.splitlines() or [""]
        lines.append(f"{paint(word, colour, stream=sys.stdout)}  {check.name:<{width}}  {first}")
        indent = " " * (width + 10)
        lines += [indent + line for line in more]
        if check.hint:
            lines.append(indent + f"hint: {check.hint}")
    failed = sum(not check.ok for check in checks)
    lines += ["", f"{failed} of {len(checks)} checks failed" if failed else "all checks passed"]
    return lines


COMMAND = Command(
    name="doctor",
    summary="check that a pipeline can run: credentials, source, destination",
    description=(
        "Reads the pipeline, asks the source and the destination, and loads nothing. Each "
        "line is ok or failed, with what to do about it; the exit code is 1 if any failed."
    ),
    examples=("millstream doctor", "millstream doctor github_issues --json"),
    arguments=_arguments,
    run=_run,
)
