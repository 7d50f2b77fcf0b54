"""What waits is told, whatever became of the configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from millstream.cli import main
from millstream.config import data_dir
from services.places import Place
from sources.files_kit import FileProject


def test_packages_of_a_stream_that_was_renamed_are_told(
    duckdb_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = FileProject(tmp_path / "project", duckdb_place, capsys)
    project.configure("*.jsonl", {"schema_policy": "strict"})
    project.write("a.jsonl", '{"id": 1}\n')
    defs = str(project.folder / "defs.yaml")
    assert project.run() == 0
    project.write("b.jsonl", '{"id": 2, "more": 1}\n')
    assert project.run() == 1
    assert main(["pending", "list", defs]) == 0
    said = capsys.readouterr()
    assert "held" in said.out
    assert said.err == ""
    runs = data_dir() / "runs" / "shop"  # a partition of it has some, too
    shutil.copytree(runs / "t", runs / "t@2024_01_01")
    text = Path(defs).read_text().replace('"streams": {"t"', '"streams": {"u"')
    Path(defs).write_text(text)
    assert main(["pending", "list", defs, "--json"]) == 0
    said = capsys.readouterr()
    assert said.out == "[]\n"
    assert "packages wait of what is no stream any more: t; name it again" in said.err
    assert main(["pending", "list", defs]) == 0
    assert capsys.readouterr().out == "no packages are pending of the streams in defs.yaml\n"
