"""One row quarantined, as a row of the table `_millstream_quarantine`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any, Literal

from millstream.formats.json_path import json_path, rows_path
from millstream.model import QuarantineReason
from millstream.quarantine.redaction import redacted
from millstream.quarantine.rules import QuarantineRules

TABLE = "_millstream_quarantine"

Status = Literal["waiting", "replayed", "superseded"]

# words that SQL keeps to itself, such as `row` or `table`, would have to be quoted by every reader
COLUMNS: dict[str, str] = {
    "id": "text",
    "status": "text",
    "pipeline": "text",
    "stream": "text",
    "table_name": "text",
    "reason": "text",
    "detail": "text",
    "json_path": "text",
    "change_id": "text",
    "problems": "bigint",
    "partial": "bool",
    "disposition": "text",
    "load_id": "text",
    "quarantined_at": "timestamp",
    "origin": "text",
    "document": "text",
    "document_bytes": "bigint",
    "is_cut": "bool",
    "redacted_paths": "text",
    "attempts": "bigint",
}
CUT = "_millstream_cut"
"""The key of what stands for a document that is too large."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row was quarantined.

    Attributes:
        table: where the value, or the row, would have gone.
        index: the position in its list of a row of a child table; None where it is not known.
        change_id: the id of the schema change, for `policy`.
        whole: nothing of the source's row was loaded; else the rest of it was.
    """

    reason: QuarantineReason
    detail: str
    table: str
    path: str = ""
    change_id: str | None = None
    whole: bool = True


def path_of(
    tables: Mapping[str, Any], root: str, table: str, column: str | None, index: int | None = None
) -> str:
    """The JSON path of a column, or of a table's rows, within a row of the root table.

    Args:
        tables: of the dlt schema.
        index: the position in its list of a row of a child table.

    >>> path_of({}, "orders", "orders", "buyer__name")
    'buyer.name'
    >>> tables = {"orders__lines": {"parent": "orders"}}
    >>> path_of(tables, "orders", "orders__lines__parts", "price", 2)
    'lines[].parts[2].price'
    >>> path_of(tables, "orders", "orders__lines", None)
    'lines[]'
    """
    prefix = rows_path(tables, root, table)
    if index is not None:
        around, _, below = prefix.rpartition("[]")
        prefix = f"{around}[{index}]{below}"
    if column is None:
        return prefix.removesuffix(".")
    hints = tables.get(table, {}).get("columns", {}).get(column, {})
    return json_path(prefix, column, hints=hints)


def make(
    watch: QuarantineRules,
    problems: Sequence[Rejection],
    document: Any,
    *,
    load_id: str,
    position: str | None,
    disposition: str,
    origin: str = "",
    is_text: bool = False,
) -> dict[str, Any]:
    """The entry of a row that waits.

    Args:
        document: the row; or, with `is_text`, the text that could not be read as one.
        position: of the row in its load, which never has two at one position. None for a row of a
            table with a primary key: the same row, read again by a later load, is the same entry.
        disposition: how the stream's table is written: `append`, `merge` or `replace`.
    """
    own_id = (
        identity(f"{watch.pipeline}.{watch.stream}", typed_text(document))
        if position is None
        else identity(load_id, position)
    )
    return {
        "id": own_id,
        "status": "waiting",
        "pipeline": watch.pipeline,
        "stream": watch.stream,
        "disposition": disposition,
        "load_id": load_id,
        "quarantined_at": datetime.now(timezone.utc),
        "origin": origin or None,
        "attempts": 0,
        **_why(problems),
        **_document(watch, document, is_text=is_text),
    }


def again(
    watch: QuarantineRules, known: dict[str, Any], problems: Sequence[Rejection], document: Any
) -> dict[str, Any]:
    """The entry of a row that was replayed and still can't be loaded."""
    return {
        **known,
        "status": "waiting",
        "attempts": known["attempts"] + 1,
        **_why(problems),
        **_document(watch, document, is_text=False),
    }


def closed(known: dict[str, Any], status: Status) -> dict[str, Any]:
    """The entry of a row that no longer waits; the document is in the tables, or out of date."""
    return {**known, "status": status, "attempts": known["attempts"] + 1, "document": None}


def identity(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _why(problems: Sequence[Rejection]) -> dict[str, Any]:
    first = problems[0]
    return {
        "table_name": first.table,
        "reason": first.reason,
        "detail": first.detail,
        "json_path": first.path,
        "change_id": first.change_id,
        "problems": len(problems),
        "partial": not first.whole,
    }


def _document(watch: QuarantineRules, document: Any, *, is_text: bool) -> dict[str, Any]:
    settings = watch.settings
    found: Sequence[str] = ()
    if not is_text:
        document, found = redacted(document, settings.redact)
        # typed: decimals, moments and bytes of a Python source come back as what they were
        text = typed_text(document)
    elif settings.redact:
        # where the text can't be read, nobody knows where in it a secret is
        text, found = json.dumps("[redacted]"), ("",)
    else:
        text = json.dumps(document, ensure_ascii=False)
    data = text.encode("utf-8", "surrogatepass")
    is_cut = len(data) > settings.max_row_bytes
    if is_cut:
        text = json.dumps(
            {
                CUT: data[: settings.max_row_bytes].decode("utf-8", "ignore"),
                "bytes": len(data),
                "sha256": sha256(data).hexdigest(),
            },
            ensure_ascii=False,
        )
    return {
        "document": text,
        "document_bytes": len(data),
        "is_cut": is_cut,
        "redacted_paths": json.dumps(list(found)) if found else None,
    }


def typed_text(document: Any) -> str:
    """A row as JSON, in which decimals, moments and bytes are told from texts."""
    from dlt.common.json import json as typed

    try:
        return str(typed.typed_dumps(document))
    except TypeError:  # orjson writes no integers beyond 64 bits
        from millstream.formats.typed_json import dumps_marked

        return dumps_marked(document).decode()
