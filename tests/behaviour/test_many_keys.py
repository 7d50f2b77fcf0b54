"""An object whose keys are data ends in seconds: in an error that says what to set, or in rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from services.places import Place
from sources.files_kit import FileProject


@pytest.fixture(
    params=["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]
)
def project(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> FileProject:
    place: Place = request.getfixturevalue(f"{request.param}_place")
    return FileProject(tmp_path / "project", place, capsys)


def row(keys: int, value: Any) -> str:
    return json.dumps({"id": 1, "users": {f"u{n:06x}": value for n in range(keys)}})


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_too_many_tables_name_the_object(project: FileProject, name: str) -> None:
    project.write(name, row(2500, {"name": "x", "tags": ["a", "b"]}) + "\n")
    project.configure(name)
    assert project.run() == 1
    assert "t: rows need more than 500 tables: the object `users` has " in project.err
    assert "keys or more (`u00" in project.err  # which of them come first, dlt decides
    assert "hint: `maps: {t: [users]}` in defs.yaml" in project.err
    # nothing waits that would fail again
    project.configure(name, maps=["users"])
    assert project.load() == [1]
    assert project.place.count("t__users") == 2500
    assert project.place.count("t__users__tags") == 5000
    assert project.place.column("t__users", "key", "key")[:2] == ["u000000", "u000001"]
    assert project.load() == [1]


@pytest.mark.parametrize("engine", ["millstream", "dlt"])
def test_too_many_columns_name_the_object(
    project: FileProject, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLSTREAM_ENGINE", engine)
    monkeypatch.setenv("MILLSTREAM_MAX_COLUMNS", "40")
    project.write("a.jsonl", '{"id": 0, "users": {"u1": {"n": 1}}}\n')
    project.configure("*.jsonl")
    assert project.load() == [0]
    project.write("b.jsonl", row(30, {"n": 1, "m": 2}) + "\n")
    assert project.run() == 1
    assert "rows need more than 40 columns in table `t`: the object `users` has " in project.err
    monkeypatch.setenv("MILLSTREAM_MAX_COLUMNS", "many")
    assert project.run() == 1
    assert "MILLSTREAM_MAX_COLUMNS: 'many' is not an integer >= 1" in project.err
    monkeypatch.setenv("MILLSTREAM_MAX_COLUMNS", "100")
    assert project.load() == [0, 1]
    assert project.load() == [0, 1]


def test_rows_of_a_map_keep_their_numbers(project: FileProject) -> None:
    project.write("a.jsonl", json.dumps({"id": 1, "sizes": {"a": 2**62 + 1, "b": 7}}) + "\n")
    project.configure("a.jsonl", maps=["sizes"])
    assert project.load() == [1]
    assert project.place.column("t__sizes", "value", "key") == [2**62 + 1, 7]
