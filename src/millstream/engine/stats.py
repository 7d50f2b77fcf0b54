"""Who normalized which rows, kept per extracted file so that worker processes can report it.

A worker writes one small file per extracted file, named after it: a task that dlt repeats
overwrites what its first attempt counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from millstream.common import atomic_write
from millstream.engine.dlt.key_collisions import Collision
from millstream.engine.profile import Profile
from millstream.engine.report import folder_of
from millstream.formats import engine_mode
from millstream.model import Decision
from millstream.quarantine.entry import Rejection


@dataclass(slots=True)
class FileStats:
    """What happened to the rows of one extracted file.

    Attributes:
        quarantined: rows by the table and the reason of their first problem, with its words; of a
            change that the policy keeps out these tell it from others, too.
        refusals: what the policy said of the changes that it kept out, each once.
        outcomes: of rows that came again from quarantine: `replayed`, `waiting`, `superseded`; of
            those whose file was read anew, `read again`.
        collisions: values that were lost to another key of their row.
    """

    file: str
    rows: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    profile: Profile = field(default_factory=Profile)
    quarantined: dict[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)
    refusals: dict[tuple[str, str, str | None, str | None], Decision] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    collisions: Counter[Collision] = field(default_factory=Counter)

    def count(self, engine: str, rows: int) -> None:
        self.rows[engine] += rows

    def missed(self, reason: str) -> None:
        if reason in self.reasons or len(self.reasons) < 20:
            self.reasons[reason] += 1

    def count_quarantined(self, problems: Sequence[Rejection]) -> int:
        """Count a row; its number in this file."""
        first = problems[0]
        key = first.table, first.reason, first.detail if first.reason == "policy" else ""
        detail, rows = self.quarantined.get(key, (first.detail, 0))
        self.quarantined[key] = (detail, rows + 1)
        return sum(rows for _, rows in self.quarantined.values())

    def refuse(self, decision: Decision) -> None:
        change = decision.change
        self.refusals[change.kind, change.table, change.column, change.new] = decision

    def save(self, load_folder: str, load_id: str) -> None:
        if not engine_mode.current().is_run:
            return
        folder = folder_of(Path(load_folder).parent, load_id)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / (Path(self.file).name + ".json")
        content = {
            "rows": self.rows,
            "reasons": self.reasons,
            "profile": self.profile.to_json(),
            "quarantined": [
                [table, reason, *value] for (table, reason, _), value in self.quarantined.items()
            ],
            "refusals": [_plain(decision) for decision in self.refusals.values()],
            "outcomes": self.outcomes,
            "twins": list(self.collisions.items()),
        }
        atomic_write.write(target, json.dumps(content))


def _plain(decision: Decision) -> dict[str, Any]:
    plain = asdict(decision)
    plain["change"].pop("after")
    return plain
