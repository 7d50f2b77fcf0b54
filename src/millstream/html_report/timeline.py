"""The changes of a schema, newest first, one entry a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from millstream.html_report.markup import Markup, element, join, sentence
from millstream.schema_changes import decided_by

SHOWN = 400
"""Changes on the page, the newest; `millstream schema log` has them all."""


def timeline(changes: Sequence[Mapping[str, Any]]) -> Markup:
    """Rows of `_millstream_schema_changes`, oldest first, as a list."""
    if not changes:
        return element("p", "No changes recorded.")
    newest = sorted(
        changes,
        key=lambda row: (row["recorded_at"], row["stream"], row["load_id"] or ""),
        reverse=True,
    )[:SHOWN]
    left_out = len(changes) - len(newest)
    runs = groupby(newest, key=lambda row: (row["recorded_at"], row["stream"]))
    return join(
        element("ol", *(_run(at, stream, [*rows]) for (at, stream), rows in runs), class_="runs"),
        element("p", f"and {left_out:,} earlier ones: ", element("code", "millstream schema log"))
        if left_out
        else None,
    )


def _run(at: Any, stream: str, rows: Sequence[Mapping[str, Any]]) -> Markup:
    # the safe ones of a first run may be many, and say little
    safe = [row for row in rows if row["severity"] == "safe" and row["action"] == "allow"]
    shown = [row for row in rows if row not in safe] if len(safe) > 5 else list(rows)
    folded = safe if len(safe) > 5 else []
    return element(
        "li",
        element("h3", element("time", moment(at)), " ", element("code", stream)),
        element("ul", *map(_change, sorted(shown, key=_position))) if shown else None,
        element(
            "details",
            element("summary", f"{len(folded):,} safe changes"),
            element("ul", *map(_change, sorted(folded, key=_position))),
        )
        if folded
        else None,
    )


def _position(row: Mapping[str, Any]) -> int:
    return row["position"] or 0


def _change(row: Mapping[str, Any]) -> Markup:
    severity = row["severity"] if row["severity"] in ("safe", "risky", "breaking") else "risky"
    return element(
        "li",
        element("span", severity, class_=f"tag {severity}"),
        element("code", row["table_name"]),
        " ",
        sentence(row["message"]),
        element("span", f" {_decided(row)}", class_="dim"),
    )


def _decided(row: Mapping[str, Any]) -> str:
    by_people = decided_by(row["reason"]) == "people"
    return "accepted" if by_people else f"{row['action']}: {row['reason']}"


def moment(at: Any) -> str:
    """A moment of the history, which is kept in UTC."""
    return f"{at:%Y-%m-%d %H:%M} UTC"
