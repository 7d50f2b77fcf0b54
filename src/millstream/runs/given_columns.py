"""In how many rows a source gave each column of its Arrow tables.

dlt adds to an Arrow table the columns that it lacks, as null, so that its files do not tell.

    RUN/columns.json    by table and column; the empty name has all rows
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from millstream.common import atomic_write
from millstream.engine import EngineReport
from millstream.formats.object_names import is_profile_key


def remember(run: Path, given: Sequence[Mapping[str, Mapping[str, int]]]) -> None:
    """Keep what was given beside the extracted package.

    Args:
        given: of each resource, by table and column.
    """
    rows: dict[str, dict[str, int]] = {}
    for tables in given:
        for table, columns in tables.items():
            known = rows.setdefault(table, {})
            for name, count in columns.items():
                known[name] = known.get(name, 0) + count
    if rows:
        atomic_write.write(run / "columns.json", json.dumps(rows))


def without_added(seen: EngineReport, run: Path) -> EngineReport:
    """The report without the rows in which dlt has added a column.

    Of a table that got other rows, too, it stays as it is: nothing tells which of them had what.
    """
    try:
        given = json.loads((run / "columns.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return seen
    return replace(
        seen,
        profile={
            table: {
                name: replace(each, present=rows.get(name, 0))
                if each.rows == rows[""] and not is_profile_key(name)
                else each
                for name, each in columns.items()
            }
            if (rows := given.get(table))
            else columns
            for table, columns in seen.profile.items()
        },
    )
