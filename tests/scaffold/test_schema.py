"""The accepted schema that `init` writes is what a real load makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from millstream.demo import recordings
from millstream.schema_changes import accepted_file
from scaffold import build_schema
from services import CACHE, missing


def test_the_template_is_what_the_recorded_rows_load_as(tmp_path: Path) -> None:
    found = recordings.load(CACHE / "github3.py")
    if not found.origin.startswith("real"):
        missing(found.origin)
    if not build_schema.PAGE.is_file():
        pytest.skip("no ../shared/data beside the repository")

    made = build_schema.load(found.dataset, build_schema.PAGE, tmp_path)

    expected = accepted_file.load(build_schema.TEMPLATE.parent)
    assert accepted_file.load(made.parent) == expected, "run: python tests/scaffold/build_schema.py"
    tables = {table.name: table.parent for table in expected["issues"].tables}
    assert tables["issues__labels"] == "issues"
    assert tables["issues__assignees"] == "issues"
