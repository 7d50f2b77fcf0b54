"""Who normalized which rows, kept per extracted file so that worker processes can report it.

A worker writes one small file per extracted file, named after it: a task that dlt repeats
overwrites what its first attempt counted.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from millstream.engine.profile import Profile
from millstream.engine.report import folder_of


@dataclass(slots=True)
class FileStats:
    """What happened to the rows of one extracted file."""

    file: str
    rows: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    profile: Profile = field(default_factory=Profile)

    keep: ClassVar[bool] = False

    def count(self, engine: str, rows: int) -> None:
        self.rows[engine] += rows

    def missed(self, reason: str) -> None:
        if reason in self.reasons or len(self.reasons) < 20:
            self.reasons[reason] += 1

    def save(self, load_folder: str, load_id: str) -> None:
        if not self.keep:
            return
        folder = folder_of(Path(load_folder).parent, load_id)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / (Path(self.file).name + ".json")
        content = {
            "rows": self.rows,
            "reasons": self.reasons,
            "profile": self.profile.to_json(),
        }
        part = target.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(content), encoding="utf-8")
        part.replace(target)
