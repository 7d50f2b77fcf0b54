"""What a source reports beside its rows: collected by the run, and kept for the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from millstream.model import RowUpdate, Skipped
from millstream.sources.findings import Findings, collecting, skip, stored, update_rows, warn

UPDATE = RowUpdate("repository_id", 7, {"repository": "new/name"}, {"repository": "old/name"})


def report() -> Findings:
    warn("rows are missing")
    skip("octo/hello", "blocked", "by GitHub")
    update_rows(UPDATE)
    return Findings(["rows are missing"], [Skipped("octo/hello", "blocked", "by GitHub")], [UPDATE])


def test_a_run_collects_and_keeps_them(tmp_path: Path) -> None:
    with collecting(tmp_path) as found:
        expected = report()
    assert found == expected
    assert stored(tmp_path) == expected


def test_each_is_on_disk_as_soon_as_it_is_reported(tmp_path: Path) -> None:
    with collecting(tmp_path) as found:
        warn("one")
        assert stored(tmp_path).warnings == ["one"]
        warn("two")
        assert stored(tmp_path) == found


def test_without_a_run_they_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report()
    assert "rows are missing" in caplog.text
    assert "octo/hello: skipped: by GitHub" in caplog.text
    assert stored(tmp_path) == Findings()


def test_a_run_within_a_run_has_its_own(tmp_path: Path) -> None:
    with collecting(tmp_path / "outer") as outer:
        (tmp_path / "outer").mkdir()
        warn("outer")
        with pytest.raises(ValueError, match="inner"), collecting(tmp_path) as inner:  # noqa: PT012
            warn("inner")
            raise ValueError("inner")
        warn("outer again")
    assert (outer.warnings, inner.warnings) == (["outer", "outer again"], ["inner"])
