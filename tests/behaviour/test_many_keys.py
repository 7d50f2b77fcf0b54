"""An object whose keys are data ends in seconds: in an error that says what to set, or in rows."""

from __future__ import annotations

import json
import re
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
@pytest.mark.nightly_on("postgres")
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
@pytest.mark.nightly_on("postgres")
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


@pytest.mark.xdist_group("postgres")
@pytest.mark.parametrize(
    ("keys", "values"),
    [
        pytest.param(980, (1,), marks=pytest.mark.nightly),
        (830, (1, True, "text", -0.5, "a text of more than 24 bytes")),
        pytest.param(440, ("a text of more than 24 bytes",), marks=pytest.mark.nightly),
    ],
    ids=["numbers", "mixed", "texts"],
)
def test_rows_larger_than_a_page_are_quarantined(
    postgres_place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    keys: int,
    values: tuple[Any, ...],
) -> None:
    """Around the limit: each row is loaded or quarantined, and none fails the load."""
    project = FileProject(tmp_path / "project", postgres_place, capsys)
    widths = [0] * 40 + list(range(keys - 30, keys + 30, 3))
    lines = [
        json.dumps({"id": at, **{f"k{n}": values[n % len(values)] for n in range(width)}})
        for at, width in enumerate(widths)
    ]
    project.write("a.jsonl", "\n".join(lines) + "\n")
    project.configure("a.jsonl", {"schema_policy": "anything"})
    loaded = project.load()
    assert 40 < len(loaded) < len(widths)
    aside = [why for _, why in project.quarantined()]
    assert len(aside) == len(widths) - len(loaded)
    said = r"its [\d,]+ values take [78],\d+ bytes; a row of PostgreSQL has 7,936"
    assert re.fullmatch(said, aside[0])


@pytest.mark.xdist_group("postgres")
def test_more_columns_than_a_table_holds(
    postgres_place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused before anything is sent, whatever the environment allows: nothing waits to fail."""
    project = FileProject(tmp_path / "project", postgres_place, capsys)
    project.write("a.jsonl", '{"id": 1, "k0": 1}\n')
    project.configure("*.jsonl", {"schema_policy": "anything"})
    assert project.load() == [1]
    project.write("b.jsonl", json.dumps({f"k{n}": None if n else 1 for n in range(1700)}) + "\n")
    project.write("c.jsonl", json.dumps({"id": 2, **{f"k{n}": n for n in range(1700)}}) + "\n")
    assert project.run() == 1
    said = "rows need more than 1,596 columns in table `t`, the most that PostgreSQL holds beside"
    assert said in project.err
    assert "hint: leave fields out at the source, or nest them in lists. No data" in project.err
    (project.folder / "c.jsonl").unlink()
    assert project.load() == [1, None]


def test_rows_of_a_map_keep_their_numbers(project: FileProject) -> None:
    project.write("a.jsonl", json.dumps({"id": 1, "sizes": {"a": 2**62 + 1, "b": 7}}) + "\n")
    project.configure("a.jsonl", maps=["sizes"])
    assert project.load() == [1]
    assert project.place.column("t__sizes", "value", "key") == [2**62 + 1, 7]


def test_a_key_of_thousands_of_characters(tmp_path: Path, duckdb_place: Place, capsys: Any) -> None:
    project = FileProject(tmp_path / "project", duckdb_place, capsys)
    project.configure("data/*.jsonl", primary_key="id")
    long = "k" * 3000
    project.write("data/1.jsonl", json.dumps({"id": 1, long: 1}))
    assert project.load() == [1]
    accepted = project.folder / "schema.yaml"
    text = accepted.read_text()
    accepted.write_text(text.replace(f"? {long}", f"# long\n        ? {long}"))
    project.write("data/2.jsonl", json.dumps({"id": 2, long: 2, "new": "x"}))
    assert project.load() == [1, 2]
    assert f"# long\n        ? {long}\n        : bigint\n" in accepted.read_text()
