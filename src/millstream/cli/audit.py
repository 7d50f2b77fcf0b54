"""`millstream audit`: did all that was read arrive, and unchanged?"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from millstream.cli.command import Command
from millstream.cli.pipeline import open_pipeline, path_argument, stream_option
from millstream.cli.terminal import align, print_listing
from millstream.common.text import quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millstream.runs.audit import AuditedLoad


def _arguments(parser: ArgumentParser) -> None:
    path_argument(parser)
    stream_option(parser)
    parser.add_argument(
        "--load", metavar="ID", help="this load (default: the last one of each stream)"
    )
    parser.add_argument("--find", action="store_true", help="name the rows that differ, by key")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(options: Namespace) -> int:
    from millstream.runs.audit import audit_loads

    config, streams = open_pipeline(options)
    with redirect_stdout(sys.stderr):
        loads = audit_loads(config, streams, load_id=options.load, find=options.find)
    print_listing(
        [_document(load) for load in loads],
        (line for load in loads for line in _lines(load)),
        as_json=options.json,
        if_empty="no load has receipts: set `receipts: sample` in defs.yaml, then `millstream run`",
    )
    return 0 if all(load.is_delivered for load in loads) else 1


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


COMMAND = Command(
    name="audit",
    summary="compare the tables with what the source gave",
    description="Reads the tables of the last load of each stream again, and compares them with "
    "the receipts that the load left in _millstream_receipts: rows, values by column, and the "
    "parents of child rows. The exit code is 1 where anything differs. Needs `receipts: sample` "
    "or `all` in defs.yaml when the load is made. Figures alone are kept, no values.",
    examples=("millstream audit", "millstream audit --stream issues --find"),
    arguments=_arguments,
    run=_run,
)
