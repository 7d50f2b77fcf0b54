"""The receipts in the destination: `_millstream_receipts`, one row a load and table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from millstream.common import metadata_tables
from millstream.model import Receipt
from millstream.receipts.figures import Figures, Sketch, from_json, to_json
from millstream.receipts.verdict import Basis

TABLE = "_millstream_receipts"
_SCHEMA = "millstream_receipts"

COLUMNS: dict[str, str] = {
    "pipeline": "text",
    "stream": "text",
    "load_id": "text",
    "root_table": "text",
    "table_name": "text",
    "verified_at": "timestamp",
    "rows_read": "bigint",
    "rows_delivered": "bigint",
    "rows_quarantined": "bigint",
    "rows_outdated": "bigint",
    "rows_checked": "bigint",
    "unchecked": "text",
    "problems": "text",
    "differing": "text",
    "figures": "text",
    "basis": "text",
}


@dataclass(frozen=True, slots=True)
class Stored:
    """The receipts of one load of one root table, as they were written.

    Attributes:
        basis: what the load is compared by; None where no values were.
    """

    stream: str
    load_id: str
    root: str
    verified_at: datetime
    receipts: tuple[Receipt, ...]
    basis: Basis | None


def write(
    destination: Any,
    dataset: str,
    pipeline: str,
    stream: str,
    load_id: str,
    made: Sequence[tuple[Receipt, Basis | None, str]],
) -> None:
    """Write the receipts of a load.

    Args:
        made: each with its root table, and what that is compared by.
    """
    now = datetime.now(timezone.utc)
    rows = [
        {
            "pipeline": pipeline,
            "stream": stream,
            "load_id": load_id,
            "root_table": root,
            "table_name": receipt.table,
            "verified_at": now,
            "rows_read": receipt.read,
            "rows_delivered": receipt.delivered,
            "rows_quarantined": receipt.quarantined,
            "rows_outdated": receipt.outdated,
            "rows_checked": receipt.checked,
            "unchecked": receipt.unchecked or None,
            "problems": json.dumps(receipt.problems),
            "differing": json.dumps(receipt.differing),
            "figures": json.dumps(to_json(basis.figures, receipt.table)) if basis else None,
            "basis": _basis(basis) if basis and receipt.table == root else None,
        }
        for receipt, basis, root in made
    ]
    metadata_tables.append(destination, dataset, _SCHEMA, {TABLE: rows}, {TABLE: COLUMNS})


def read(
    destination: Any, dataset: str, pipeline: str, *, load_id: str | None = None
) -> list[Stored]:
    """The receipts of a pipeline's loads, oldest first.

    Args:
        load_id: of this load alone.
    """
    where = {"pipeline": pipeline} | ({"load_id": load_id} if load_id else {})
    rows = metadata_tables.read(destination, dataset, _SCHEMA, TABLE, COLUMNS, where)
    loads: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in rows:
        loads.setdefault((row["load_id"], row["stream"], row["root_table"]), []).append(row)
    return [
        Stored(
            stream,
            load,
            root,
            its[0]["verified_at"],
            tuple(_receipt(row) for row in sorted(its, key=lambda row: row["table_name"] != root)),
            _read_basis(its),
        )
        for (load, stream, root), its in sorted(loads.items())
    ]


def _receipt(row: dict[str, Any]) -> Receipt:
    return Receipt(
        row["table_name"],
        row["rows_read"],
        row["rows_delivered"],
        row["rows_quarantined"],
        row["rows_outdated"],
        row["rows_checked"],
        row["unchecked"] or "",
        tuple(json.loads(row["problems"])),
        json.loads(row["differing"]),
    )


def _basis(basis: Basis) -> str:
    return json.dumps(
        {
            "key": basis.key,
            "chosen": basis.chosen,
            "sample": [f"{number:016x}" for number in basis.sample],
            "skipped": sorted(basis.skipped),
            "sketch": {
                at: [cell[0], *(f"{number:016x}" for number in cell[1:])]
                for at, cell in sorted(basis.figures.sketch.cells.items())
                if any(cell)
            },
        }
    )


def _read_basis(rows: Sequence[dict[str, Any]]) -> Basis | None:
    text = next((row["basis"] for row in rows if row["basis"]), None)
    if text is None:
        return None
    plain = json.loads(text)
    cells = {
        int(at): [count, *(int(number, 16) for number in cell)]
        for at, (count, *cell) in plain["sketch"].items()
    }
    figures = Figures(sketch=Sketch(cells))
    for row in rows:
        from_json(figures, row["table_name"], json.loads(row["figures"]))
    return Basis(
        figures,
        tuple(plain["key"]),
        plain["chosen"],
        tuple(int(each, 16) for each in plain["sample"]),
        frozenset((table, column) for table, column in plain["skipped"]),
    )
