"""`millstream audit`: did all that was read arrive, and unchanged?"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from millstream.cli.command import Command
from millstream.cli.pipeline import (
    complain_of_each,
    import_arrow_for,
    of_each_stream,
    open_pipeline,
    path_argument,
    stream_option,
)
from millstream.cli.terminal import align, print_listing
from millstream.common.text import quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millstream.config import PipelineConfig
    from millstream.receipts.source_now import Difference, SourceComparison
    from millstream.runs.audit import AuditedLoad
    from millstream.runs.source_audit import SourceAudit


def _arguments(parser: ArgumentParser) -> None:
    path_argument(parser)
    stream_option(parser)
    parser.add_argument(
        "--load", metavar="ID", help="this load (default: the last one of each stream)"
    )
    parser.add_argument("--find", action="store_true", help="name the rows that differ, by key")
    parser.add_argument(
        "--source",
        action="store_true",
        help="compare the tables with the source as it is now, read again from its beginning",
    )
    parser.add_argument(
        "--partition",
        metavar="KEY",
        help="with --source: of each partitioned stream, this partition (default: the newest)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(options: Namespace) -> int:
    from millstream.runs.audit import audit_loads

    if options.source:
        _refuse("--load", options.load, "--source compares the tables, whichever load filled them")
        return _with_source(options)
    _refuse("--partition", options.partition, "it needs --source")
    config, streams = open_pipeline(options)
    with redirect_stdout(sys.stderr):
        loads = audit_loads(config, streams, load_id=options.load, find=options.find)
    print_listing(
        [_document(load) for load in loads],
        (line for load in loads for line in _lines(load)),
        as_json=options.json,
        if_empty=f"no load has receipts: {_how_to_get_one(config)}. Without them, --source "
        "compares the tables with the source as it is now",
    )
    return 0 if all(load.is_delivered for load in loads) else 1


def _how_to_get_one(config: PipelineConfig) -> str:
    if config.receipts == "none":
        return "set `receipts: sample` in defs.yaml, then `millstream run`"
    return (
        "the next run that loads rows makes one, but for Arrow tables, data frames and files that "
        "a dlt source hands on"
    )


def _refuse(option: str, value: str | None, why: str) -> None:
    from millstream.cli.parser import UsageError

    if value is not None:
        raise UsageError(f"millstream audit: {option}: {why}")


def _document(load: AuditedLoad) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(load), "is_delivered": load.is_delivered}


def _lines(load: AuditedLoad) -> Iterator[str]:
    when = "" if load.is_read_again else "; a later load may have replaced rows: as it was loaded"
    yield f"{load.stream}: load {load.load_id}, verified {load.verified_at:%Y-%m-%d %H:%M}{when}"
    rows = [("table", "read", "delivered", "quarantined", "checked")]
    for each in load.receipts:
        read = "" if each.read is None else f"{each.read:,}"
        rows.append(
            (each.table, read, f"{each.delivered:,}", f"{each.quarantined:,}", f"{each.checked:,}")
        )
    yield from align(rows)
    for reason in dict.fromkeys(each.unchecked for each in load.receipts if each.unchecked):
        yield f"  values were not compared: {reason}"
    for each in load.receipts:
        yield from (f"  {each.table}: {problem}" for problem in each.problems)
    yield from (f"    {line}" for line in load.found)
    if load.is_delivered and any(each.checked for each in load.receipts):
        checked = load.receipts[0].checked
        yield f"  delivered: no difference in {quantity(checked, 'checked row')}"


def _with_source(options: Namespace) -> int:
    from millstream.runs.preview import newest_partition
    from millstream.runs.source_audit import audit_source

    config, streams = open_pipeline(options)
    import_arrow_for(config)

    def audited(stream: str) -> SourceAudit:
        is_partitioned = newest_partition(config, stream)
        return audit_source(config, stream, partition=options.partition if is_partitioned else None)

    found, failed = of_each_stream(streams, audited)
    print_listing(
        [_source_document(each) for each in found.values()],
        (line for each in found.values() for line in _source_lines(each, find=options.find)),
        as_json=options.json,
        if_empty="no stream was compared",
    )
    complain_of_each(failed, debug=options.debug)
    return 0 if not failed and all(each.is_settled for each in found.values()) else 1


def _source_document(audit: SourceAudit) -> dict[str, Any]:
    from dataclasses import asdict

    document = asdict(audit)
    for table in document["tables"]:
        table["columns"] = {".".join(place): rows for place, rows in table["columns"].items()}
    return {**document, "is_settled": audit.is_settled}


def _source_lines(audit: SourceAudit, *, find: bool) -> Iterator[str]:
    partition = f" [{audit.partition}]" if audit.partition else ""
    yield f"{audit.stream}{partition}: compared with the source as it is now"
    for table in audit.tables:
        read = quantity(table.read, "row")
        yield f"  {table.table}: {read} in the source, {table.held:,} in the table"
        if table.unchecked:
            yield f"    rows were not compared: {table.unchecked}"
            continue
        kinds = (
            (table.missing, "missing"),
            (table.extra, "not in the source"),
            (table.changed, "different"),
            (table.doubled, "in the table more than once"),
        )
        for kind, words in kinds:
            if not kind.rows:
                continue
            columns = _columns(table) if kind is table.changed else ""
            yield f"    {quantity(kind.rows, 'row')} {words}{columns}{_due(kind)}"
            yield from (f"      {name}" for name in kind.names if find)
            if find and len(kind.names) < kind.rows and kind.names:
                yield f"      and {kind.rows - len(kind.names):,} more"
        if not any(kind.rows for kind, _ in kinds):
            yield "    no difference"
    if audit.waiting:
        yield f"  {quantity(audit.waiting, 'row waits', 'rows wait')} in quarantine"
    if audit.is_overtaken:
        yield "  a run loaded the stream meanwhile: its rows may be among those that differ"


def _due(kind: Difference) -> str:
    if not kind.due:
        return ""
    which = "which" if kind.due == kind.rows else f"{kind.due:,} of which"
    return f", {which} the next run brings" if kind.due else ""


def _columns(table: SourceComparison) -> str:
    names = [
        f"`{of.removeprefix(table.table + '__') + '.' if of != table.table else ''}{column}`"
        for (of, column) in table.columns
    ]
    return f" in {', '.join(names)}" if names else ""


COMMAND = Command(
    name="audit",
    summary="compare the tables with what the source gave",
    description="Reads the tables of the last load of each stream again, and compares them with "
    "the receipts that the load left in _millstream_receipts: rows, values by column, and the "
    "parents of child rows. The exit code is 1 where anything differs. Needs `receipts: sample` "
    "or `all` in defs.yaml when the load is made. Figures alone are kept, no values. With "
    "--source, which needs no receipts, the tables are compared with the source as it is now; the "
    "exit code is 1 where rows differ that the next run will not bring, or counts of rows that "
    "can't be compared.",
    examples=(
        "millstream audit",
        "millstream audit --stream issues --find",
        "millstream audit --source --stream orders",
    ),
    arguments=_arguments,
    run=_run,
)
