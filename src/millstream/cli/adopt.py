"""`millstream adopt`: go on from where a dlt pipeline is, without a reload."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from millstream.cli.command import Command
from millstream.cli.pipeline import path_argument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millstream.adoption import DltPipeline, Plan, StreamPlan
    from millstream.config import PipelineConfig


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "dlt_pipeline", metavar="DLT_PIPELINE", help="the `pipeline_name` of the dlt pipeline"
    )
    path_argument(parser)
    parser.add_argument(
        "--source",
        metavar="MODULE:FUNCTION",
        help="the function that makes its dlt source: writes a defs.yaml to PATH, where there is "
        "none",
    )
    parser.add_argument(
        "--dagster-dlt-keys",
        action="store_true",
        help="with --source: name the assets as dagster-dlt does, dlt_SOURCE_RESOURCE",
    )
    parser.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        help="the dlt pipeline's working folder (default: ~/.dlt/pipelines/DLT_PIPELINE, where it "
        "is there)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be taken over; change nothing"
    )
    parser.add_argument(
        "--undo", action="store_true", help="let dlt go on from where Millstream is by now"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(options: Namespace) -> int:
    from millstream.adoption import hand_back, left_by_dlt, plan, take_over
    from millstream.cli.pipeline import quieten_dlt
    from millstream.cli.terminal import print_json

    quieten_dlt()
    config, text = _pipeline(options)
    with (
        redirect_stdout(sys.stderr),
        left_by_dlt(config, options.dlt_pipeline, options.folder) as old,
    ):
        if options.undo:
            streams = hand_back(config, old)
            lines = [f"{options.dlt_pipeline} goes on from where these streams are by now:"]
            lines += [f"  {stream}" for stream in streams]
            lines += ["", "Run its script again; `millstream run` refuses its tables from now on."]
            found: object = {"handed_back": list(streams)}
        else:
            planned = plan(config, old)
            found = planned.to_dict()
            if not options.dry_run:
                take_over(_written(config, text) if text else config, old, planned)
            lines = list(_lines(config, old, planned, is_done=not options.dry_run))
    if options.json:
        print_json(found)
    else:
        print("\n".join(lines))
    return 0


def _pipeline(options: Namespace) -> tuple[PipelineConfig, str]:
    """The pipeline that takes over, and the text of its file where that is still to be written."""
    import os

    import yaml

    from millstream.adoption import attached
    from millstream.config import load_dotenv, parse_pipeline, project_of, read_pipeline
    from millstream.errors import ConfigError
    from millstream.scaffold import adopted_defs, adopted_folder

    if options.source is None:
        return read_pipeline(options.path), ""
    name = options.dlt_pipeline
    folder = adopted_folder(options.path, name)
    file = folder / "defs.yaml"
    if file.exists():
        raise ConfigError(
            f"{file}: already there", hint="adopt into it without --source, or name another folder"
        )
    project = project_of(file)  # its folder may not exist yet
    load_dotenv(project)
    os.environ.setdefault("DLT_PROJECT_DIR", str(project))
    with attached(name, options.folder) as left:
        text = adopted_defs(
            options.source, left, project, has_dagster_dlt_keys=options.dagster_dlt_keys
        )
    if options.dry_run:
        print(f"{file} would be:\n\n{text}", file=sys.stderr)
    attributes = yaml.safe_load(text)["attributes"]
    config = parse_pipeline(attributes, where="--source", project=project, folder=folder)
    return config, text


def _written(config: PipelineConfig, text: str) -> PipelineConfig:
    """The pipeline as its file has it, which is written now that nothing stands against it."""
    from millstream.config import read_pipeline
    from millstream.scaffold import write_adopted

    assert config.folder is not None
    written = write_adopted(text, config.folder)
    print(f"wrote {written}", file=sys.stderr)
    return read_pipeline(written)


def _lines(
    config: PipelineConfig, old: DltPipeline, planned: Plan, *, is_done: bool
) -> Iterator[str]:
    from millstream.cli.terminal import align

    taken = [each for each in planned.streams if each.schema is not None and not each.problem]
    if taken:
        verb = "goes on" if is_done else "would go on"
        yield f"{config.name} {verb} from where the dlt pipeline {old.name} is:"
        yield ""
        yield from align([_row(each) for each in taken])
    for each in planned.streams:
        if each.problem:
            yield f"{each.stream}: not taken over: {each.problem}"
        elif each.is_new:
            yield f"{each.stream}: dlt has loaded no table of it: it is read from its start"
    for table, resource in planned.left.items():
        yield f"table {table}: stays as it is: no stream is the resource `{resource}`"
    if not old.is_stored:
        yield ""
        yield "Its state is in its working folder alone: `--undo` can't move its cursors back."
    if taken:
        yield ""
        yield (
            "Switch the old script off: both would load the same rows. Next: millstream run"
            if is_done
            else "Nothing was changed: that was a dry run."
        )


def _row(found: StreamPlan) -> tuple[str, str, str]:
    from millstream.common.text import quantity

    root, *children = found.tables
    rows = found.rows.get(root)
    tables = root + (f" and {quantity(len(children), 'more table')}" if children else "")
    counted = "" if rows is None else quantity(rows, "row")
    cursors = ", ".join(f"{name} = {value}" for name, value in found.cursors.items())
    return (f"{found.stream}: {tables}", counted, cursors or "no cursor")


COMMAND = Command(
    name="adopt",
    summary="go on from where a dlt pipeline is, without a reload",
    description="Takes the tables, the schema and the cursors of a dlt pipeline over, for a "
    "pipeline of type dlt or rest_api that has the same resources and loads into the same dataset. "
    "No row is read or moved, and nothing that dlt needs is changed: `--undo` hands the cursors "
    "back.",
    examples=(
        "millstream adopt github_pipeline --dry-run",
        "millstream adopt github_pipeline --source github_pipeline:github_source",
        "millstream adopt github_pipeline --undo",
    ),
    arguments=_arguments,
    run=_run,
)
