"""`millstream quarantine`: rows that could not be loaded, and to load them after all."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
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
from millstream.cli.terminal import print_json, print_listing
from millstream.common.text import quantity

if TYPE_CHECKING:
    from datetime import datetime

    from millstream.config import PipelineConfig
    from millstream.model import RunReport
    from millstream.quarantine.store import Entry

_REASONS = ("contract", "policy", "refused", "unreadable")


def _list_arguments(parser: ArgumentParser) -> None:
    path_argument(parser)
    stream_option(parser)
    parser.add_argument(
        "--since", metavar="TIME", help="quarantined at or after this ISO 8601 time"
    )
    parser.add_argument("--reason", choices=_REASONS, help="only rows quarantined for this reason")
    parser.add_argument("--all", action="store_true", help="include entries that no longer wait")
    parser.add_argument("--json", action="store_true", help="print JSON, with the rows themselves")


def _replay_arguments(parser: ArgumentParser) -> None:
    path_argument(parser)
    stream_option(parser)
    parser.add_argument(
        "--id",
        metavar="ID",
        action="append",
        dest="ids",
        help="only this entry; may be given more than once (default: all that wait)",
    )
    parser.add_argument(
        "--row", metavar="JSON", help="load this in place of the row of the one --id, corrected"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _list(options: Namespace) -> int:
    config, streams = open_pipeline(options)
    since = _time(options.since) if options.since else None
    with redirect_stdout(sys.stderr):
        found = _entries(config, documents=options.json, is_current=True)
    shown = [
        entry
        for entry in found
        if entry.stream in streams
        and (options.all or entry.status == "waiting")
        and options.reason in (None, entry.fields["reason"])
        and (since is None or entry.at >= since)
    ]
    print_listing(
        [dict(entry.fields) for entry in shown],
        (line for entry in shown for line in _lines(entry)),
        as_json=options.json,
        if_empty="" if shown else _nothing(found),
    )
    return 0


def _nothing(found: Sequence[Entry]) -> str:
    """What is said where none of these is to be listed or replayed: what waits otherwise."""
    waiting = [each.stream for each in found if each.status == "waiting"]
    if not waiting:
        return "the quarantine is empty"
    wait = quantity(len(waiting), "other row waits", "other rows wait")
    return f"nothing here; {wait} in quarantine, of {', '.join(sorted({*waiting}))}"


def _lines(entry: Entry) -> list[str]:
    fields = entry.fields
    table = fields["table_name"]
    where = [entry.stream, *([table] if table != entry.stream else [])]
    where += [found for found in (fields["json_path"], fields["origin"]) if found]
    status = "" if entry.status == "waiting" else f"  {entry.status}"
    part = "  (the rest of the row is loaded)" if fields["partial"] else ""
    return [
        f"{entry.id}  {entry.at:%Y-%m-%d %H:%M}  {fields['reason']:<10}  "
        f"{': '.join(where)}{status}",
        f"    {fields['detail']}{part}",
    ]


def _replay(options: Namespace) -> int:
    from millstream.cli.parser import UsageError
    from millstream.cli.report import report_lines
    from millstream.runs import runner

    if options.row is not None and len(options.ids or ()) != 1:
        raise UsageError(
            "millstream quarantine replay: --row needs one --id",
            hint="`millstream quarantine list` names what waits",
        )
    if options.row is not None:
        _check_json(options.row)
    malloc.few()
    show_log()
    config, streams = open_pipeline(options)
    import_arrow_for(config)
    with redirect_stdout(sys.stderr):
        found = [each for each in _entries(config) if each.status == "waiting"]
    ids = set(options.ids or ())
    _check_ids(ids, {each.id for each in found if each.stream in streams})
    document: list[dict[str, Any]] = []
    for stream in streams:
        mine = {each.id for each in found if each.stream == stream}
        chosen = mine & ids if ids else mine
        if not chosen:
            continue
        with redirect_stdout(sys.stderr):
            report, plan = runner.replay(config, stream, ids=chosen, corrected=options.row)
        if report.rows:
            _tell_dagster(config, report)
        left = [{"id": entry.id, "why": why} for entry, why in plan.left]
        document.append({"report": report.to_dict(), "left": left})
        if not options.json:
            lines = report_lines(report, sys.stdout)
            lines += [f"  left in quarantine: {each['id']}: {each['why']}" for each in left]
            print("\n".join(["", *lines] if document[1:] else lines))
    if options.json:
        print_json(document)
    elif not document:
        print(_nothing(found))
    return 0


def _tell_dagster(config: PipelineConfig, report: RunReport) -> None:
    dagster_instance.tell(lambda external_loads: external_loads.report_replay(config, report))


def _check_ids(wanted: set[str], there: set[str]) -> None:
    from millstream.errors import ConfigError

    if missing := wanted - there:
        raise ConfigError(
            f"no entry waits under {', '.join(sorted(missing))}",
            hint="`millstream quarantine list` names what waits",
        )


def _check_json(text: str) -> None:
    import orjson

    from millstream.cli.parser import UsageError

    try:
        orjson.loads(text)
    except ValueError as error:
        raise UsageError(
            f"millstream quarantine replay: --row is not JSON: {error}",
            hint="put the whole row between single quotes: --row '{\"id\": 1}'",
        ) from None


def _time(text: str) -> datetime:
    from datetime import datetime, timezone

    from millstream.cli.parser import UsageError

    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise UsageError(
            f"millstream quarantine list: --since: {text!r} is not a time",
            hint="write it as 2026-01-31, or 2026-01-31T00:00:00Z",
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _entries(
    config: PipelineConfig, *, documents: bool = False, is_current: bool = False
) -> list[Entry]:
    """The entries of a pipeline.

    Args:
        is_current: those that a later read of the whole source made out of date come as such.
    """
    from millstream import destinations, schema_changes
    from millstream.quarantine import store
    from millstream.runs.context import RunContext
    from millstream.runs.quarantine_replay import loaded_partitions

    with destinations.reader(config) as destination:
        found = store.entries(destination, config.dataset, config.name, documents=documents)
        if not is_current:
            return found
        schemas = {each.stream: RunContext(config, each.stream).schema for each in found}
        place = schema_changes.history.Place(destination, config.dataset)
        parts = {stream: loaded_partitions(config, stream, place) for stream in schemas}
        return store.settle_replaced(destination, config.dataset, found, schemas, parts)


COMMAND = Command(
    name="quarantine",
    summary="see rows that could not be loaded, and load them after all",
    description="They are kept in the table _millstream_quarantine in the destination.",
    examples=("millstream quarantine list", "millstream quarantine replay --stream issues"),
    commands=(
        Command(
            name="list",
            summary="list what waits, with the reason, oldest first",
            description="Reads the destination; --json shows the rows too. Times are in UTC.",
            examples=(
                "millstream quarantine list --reason contract",
                "millstream quarantine list --since 2026-01-31 --json",
            ),
            arguments=_list_arguments,
            run=_list,
        ),
        Command(
            name="replay",
            summary="load what waits, after the fix or the accepted change",
            description="Rows enter the tables as the stream's own do, each once; no cursor moves. "
            "What still can't be loaded goes on waiting, with a new reason. "
            "Where DAGSTER_HOME names a Dagster instance, it is told of the tables that got rows.",
            examples=(
                "millstream quarantine replay --stream issues",
                "millstream quarantine replay --id 1f2e3d4c5b6a7988 --row '{\"id\": 1}'",
            ),
            arguments=_replay_arguments,
            run=_replay,
        ),
    ),
)
