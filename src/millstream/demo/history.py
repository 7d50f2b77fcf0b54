"""A past for generated rows, so that two moments of them differ as GitHub's do."""

from __future__ import annotations

from typing import Any

Rows = dict[str, list[dict[str, Any]]]

_LATER = 6
"""Years from a row's past to its present; more than lie between its creation and the date."""
_NEW_FIELDS = frozenset({"reactions", "author_association", "state_reason"})
_STREAMS = ("issues", "issue_comments")


def age(streams: Rows, as_of: str) -> Rows:
    """Of each three issues or comments, one stays, one changes and one comes after `as_of`.

    What changes or comes has fields that GitHub did not have before. Nothing is lost: every row is
    there at the end, the changed ones in two versions.

    Args:
        as_of: ISO 8601, UTC; rows of a later date keep it.
    """
    aged = dict(streams)
    for stream in _STREAMS:
        rows: list[dict[str, Any]] = []
        for number, row in enumerate(streams.get(stream, [])):
            past = {name: value for name, value in row.items() if name not in _NEW_FIELDS}
            if row["updated_at"] > as_of or number % 3 == 0:
                rows.append({**past, "_recorded_at": past["updated_at"]})
                continue
            changed = {**row, "updated_at": _later(row["updated_at"])}
            if number % 3 == 1:
                rows.append({**past, "_recorded_at": past["updated_at"]})
            else:
                changed["created_at"] = _later(row["created_at"])
            rows.append({**changed, "_recorded_at": changed["updated_at"]})
        aged[stream] = rows
    return aged


def _later(moment: str) -> str:
    year = int(moment[:4]) + _LATER
    # a year later may have no 29 February
    return f"{year}{moment[4:]}".replace("-02-29T", "-02-28T")
