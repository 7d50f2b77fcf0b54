"""Each folder below `golden/`: the schema before and after, and the changes that must be told.

`profile.yaml` (what the two loads saw: counts, and `values` to sketch) is there where the data
tells more than the schema; three loads before saw the same. `REWRITE_GOLDEN=1` writes
`expected.yaml` anew, to be reviewed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from millstream.model import ChangeKind, ColumnProfile, SchemaVersion
from millstream.schema_changes import accepted_file, apply, canonical, diff, drift, profile_of

from .sketches import sketch
from .strategies import with_profile

CASES = sorted(path for path in (Path(__file__).parent / "golden").iterdir() if path.is_dir())


def read(path: Path, profile: dict[str, Any]) -> SchemaVersion:
    (version,) = accepted_file._Reader(path).read(path.read_text()).values()
    return with_profile(
        version,
        {
            table: {
                column: ColumnProfile(
                    **{name: value for name, value in counts.items() if name != "values"},
                    sketch=sketch(counts.get("values", ())),
                )
                for column, counts in columns.items()
            }
            for table, columns in profile.items()
        },
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_golden(case: Path) -> None:
    profile_file = case / "profile.yaml"
    profile = yaml.safe_load(profile_file.read_text()) if profile_file.exists() else {}
    old = read(case / "old.yaml", profile.get("old", {}))
    new = read(case / "new.yaml", profile.get("new", {}))
    changes = diff(old, new)
    changes += drift.changes(new, [profile_of(old)] * 3, changes)
    found = [
        {
            name: getattr(change, name)
            for name in ("kind", "table", "column", "old", "new", "severity", "message")
        }
        for change in changes
    ]
    expected_file = case / "expected.yaml"
    if os.environ.get("REWRITE_GOLDEN"):
        expected_file.write_text(yaml.safe_dump(found, sort_keys=False, width=100))
    assert found == yaml.safe_load(expected_file.read_text())
    assert apply(old, changes) == canonical(new)


def test_every_kind_of_change_has_a_folder() -> None:
    told = [
        change for case in CASES for change in yaml.safe_load((case / "expected.yaml").read_text())
    ]
    assert {change["kind"] for change in told} == set(get_args(ChangeKind))
