"""What the workers of one load left behind, put together; needs neither dlt nor Arrow to import."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millstream.engine.dlt.key_collisions import Collision
from millstream.model import ColumnProfile, Decision, QuarantinedRows, SchemaChange
from millstream.quarantine import envelope


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What the engine did in one or more loads.

    Attributes:
        rows: extracted rows by who normalized them, `{"millstream": 119, "dlt": 1}`.
        reasons: why rows were left to dlt, and how many batches of them each time.
        profile: by table and column.
        deletions: rows by table that tell of a deletion, and are not in the profile.
        quarantined: rows that were quarantined, by table and reason; those that the policy keeps
            out by change, too.
        refusals: what the policy said of the changes that it kept out of the schema.
        outcomes: of rows that came again from quarantine: `replayed`, `waiting`, `superseded`; of
            those whose file was read anew, `read again`.
        collisions: values that were lost to another key of their row.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    profile: Mapping[str, Mapping[str, ColumnProfile]] = field(default_factory=dict)
    deletions: Mapping[str, int] = field(default_factory=dict)
    quarantined: tuple[QuarantinedRows, ...] = ()
    refusals: tuple[Decision, ...] = ()
    outcomes: Mapping[str, int] = field(default_factory=dict)
    collisions: Mapping[Collision, int] = field(default_factory=dict)

    @property
    def is_replay(self) -> bool:
        """Whether rows were chosen for having been quarantined: they are no sample of a source."""
        return bool(self.outcomes.keys() - {envelope.READ_AGAIN})


def folder_of(working_dir: Path, load_id: str) -> Path:
    """Where the workers of one load leave what they counted."""
    return working_dir / "engine" / load_id


def collect(working_dir: Path, load_ids: Iterable[str]) -> EngineReport:
    """Gather what workers counted for these loads."""
    rows: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    collisions: Counter[Collision] = Counter()
    put_aside: dict[tuple[str, Any, str], QuarantinedRows] = {}
    refusals: dict[tuple[Any, ...], Decision] = {}
    documents: list[Mapping[str, Any]] = []
    for load_id in load_ids:
        folder = folder_of(working_dir, load_id)
        for file in sorted(folder.glob("*.json")):
            document = json.loads(file.read_text(encoding="utf-8"))
            rows.update(document["rows"])
            reasons.update(document["reasons"])
            outcomes.update(document["outcomes"])
            for (table, what, name, keys), count in document["twins"]:
                collisions[Collision(table, what, name, tuple(keys))] += count
            for table, reason, detail, count in document["quarantined"]:
                kind = (table, reason, detail if reason == "policy" else "")
                known = put_aside.get(kind)
                count += known.rows if known else 0
                detail = known.detail if known else detail
                put_aside[kind] = QuarantinedRows(table, reason, detail, count)
            for plain in document["refusals"]:
                change = SchemaChange(**plain.pop("change"))
                key = (change.kind, change.table, change.column, change.new)
                refusals.setdefault(key, Decision(change, **plain))
            documents.append(document["profile"])
    if not documents:
        return EngineReport()
    from millstream.engine.profile import Profile

    profile = Profile()
    for document in documents:
        profile.take(document)
    return EngineReport(
        dict(rows),
        dict(reasons),
        profile.columns(),
        {table: rows for table, rows in profile.deletions.items() if rows},
        tuple(put_aside.values()),
        tuple(refusals.values()),
        dict(outcomes),
        dict(collisions),
    )
