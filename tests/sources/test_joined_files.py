"""Small files of JSON lines, which are joined: their rows, their order, and where each was."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from millstream.cli import main
from millstream.sources import joined_files
from services.places import Place
from sources.files_kit import FileProject


@pytest.fixture
def project(duckdb_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> FileProject:
    return FileProject(tmp_path / "project", duckdb_place, capsys)


def test_rows_of_small_files(project: FileProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that wait name their file and line."""
    monkeypatch.setattr(joined_files, "_FILES", 3)
    project.configure("data/*.jsonl*", {"receipts": "all"})
    for number in range(8):
        project.write(f"data/{number}.jsonl", json.dumps({"id": number, "tags": [number]}) + "\n")
    project.write("data/a.jsonl", "")
    project.write("data/b.jsonl.gz", gzip.compress(b'\xef\xbb\xbf{"id": 8}\r\n\r\n{"id": 9}'))
    project.write("data/c.jsonl", '{"id": 10}\n{broken\n{"id": 11}\n')
    project.write("data/d.jsonl", '{"id": 12}\n{"id": 13, "id": 14}\n[{"id": 15}, {"id": 16}]\n')
    assert project.load() == [*range(13), 15, 16]
    assert "delivered: " in project.out
    assert [where for where, _ in project.quarantined()] == ["c.jsonl, line 2", "d.jsonl, line 2"]
    tags = project.place.from_clause("t__tags")
    assert project.place.query(f"SELECT COUNT(*), SUM(value) FROM {tags}") == [(8, 28)]
    # what had no rows has them now; what was wrong is right
    project.write("data/a.jsonl", '{"id": 17}\n')
    project.write("data/c.jsonl", '{"id": 10}\n{"id": 18}\n{"id": 11}\n')
    assert project.load() == [*range(13), 15, 16, 17, 18]


@pytest.mark.parametrize("last", "abcd")
def test_the_row_that_is_read_last_counts(
    project: FileProject, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """Whether its file is joined with others, a part of its own, or a document."""
    monkeypatch.setattr(joined_files, "SMALL", 100)
    project.configure("data/*", primary_key="id")
    for name in "abcd"[: "abcd".index(last) + 1]:
        rows = [{"id": 1, "name": name}, *({"id": n, "name": "-"} for n in range(2, 9))]
        if name in "ac":
            project.write(f"data/{name}.jsonl", json.dumps(rows[0]) + "\n")
        elif name == "b":
            project.write("data/b.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        else:
            project.write("data/d.json", json.dumps(rows[:1]))
    project.load()
    assert project.place.column("t", "name")[0] == last
    project.write("data/a.jsonl", '{"id": 1, "name": "again"}\n')
    project.load()
    assert project.place.column("t", "name")[0] == "again"


def test_a_preview_of_small_files(project: FileProject) -> None:
    project.configure("data/*.jsonl")
    for number in range(5):
        project.write(f"data/{number}.jsonl", json.dumps({"id": number, "name": "first"}) + "\n")
    assert main(["preview", "t", str(project.folder / "defs.yaml")]) == 0
    assert "first" in project.capsys.readouterr().out
