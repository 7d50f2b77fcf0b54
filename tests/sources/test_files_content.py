"""Files as they are: any encoding, compression and layout, and what is not JSON in them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millstream.engine.fast_path.compiled_rows import CompiledRows
from services.places import Place
from sources.files_kit import FileProject

LINES = '{"id": 1, "name": "Zoë €"}\n{"id": 2, "name": "Ÿ 😀"}\n'
NAMES = ["Zoë €", "Ÿ 😀"]
WESTERN = '{"id": 1, "name": "Zoë"}\n{"id": 2, "name": "Köln"}\n'


@pytest.fixture(
    params=["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]
)
def project(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> FileProject:
    place: Place = request.getfixturevalue(f"{request.param}_place")
    return FileProject(tmp_path / "project", place, capsys)


@pytest.fixture
def local(tmp_path: Path, duckdb_place: Place, capsys: pytest.CaptureFixture[str]) -> FileProject:
    return FileProject(tmp_path / "project", duckdb_place, capsys)


def zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)


def names(project: FileProject) -> list[str]:
    return project.place.column("t", "name")


def test_every_encoding_and_compression_at_once(project: FileProject) -> None:
    """A file each, whose ids tell which one it was."""
    contents = []
    for encoding in (
        "utf-8",
        "utf-8-sig",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-be",
    ):
        contents += [encoding, gzip.compress, zstd, lambda data: gzip.compress(gzip.compress(data))]
        text = [json.dumps({"id": len(contents), "name": NAMES[1]}, ensure_ascii=False)]
        for number, each in enumerate(contents[-4:]):
            data = "\n".join(text).encode(encoding)
            name = f"{encoding}-{number}.{'jsonl' if number % 2 else 'json'}"
            project.write(f"data/{name}", data if isinstance(each, str) else each(data))
    project.write("data/plain.jsonl.gz", "\ufeff" + text[0] + "\n\ufeff" + text[0])
    project.configure("data/*")
    assert len(project.load()) == 7 * 4 + 2
    assert set(names(project)) == {NAMES[1]}
    assert "quarantine" not in project.out


@pytest.mark.nightly_on("postgres")
def test_an_encoding_that_is_named(project: FileProject) -> None:
    project.write("a.jsonl", WESTERN.encode("windows-1252"))
    project.configure("a.jsonl")
    assert project.run() == 1
    assert "a.jsonl, line 1: not JSON: the byte 0xeb is not UTF-8" in project.err
    assert "set `encoding: windows-1252`" in project.err
    assert "nothing in this file can be read" in project.err
    project.configure("a.jsonl", encoding="windows-1252")
    assert project.load() == [1, 2]
    assert names(project) == ["Zoë", "Köln"]
    project.configure("a.jsonl", encoding="klingon")
    assert project.run() == 1
    assert "'klingon' is not a text encoding" in project.err


def test_bytes_without_meaning_take_their_line_alone(local: FileProject) -> None:
    text = "".join(f'{{"id": {n}, "name": "é"}}\n' for n in range(1, 4))
    lines = text.encode("windows-1252").split(b"\n")
    lines[1] = b'{"id": 2, "name": "\x81"}'
    local.write("a.jsonl", b"\n".join(lines))
    local.configure("a.jsonl", encoding="windows-1252")
    assert local.load() == [1, 3]
    assert local.quarantined()[0][0] == "a.jsonl, line 2"
    wide = '{"id": 4, "name": "\ud800"}\n{"id": 5}\n'.encode("utf-16", "surrogatepass")
    local.write("b.jsonl", wide)
    local.configure("b.jsonl")
    assert local.load() == [1, 3, 5]
    local.write("b.jsonl", wide[:-1])
    assert local.run("--full-refresh") == 1
    assert "b.jsonl: not utf-16: truncated data" in local.err


@pytest.mark.nightly_on("postgres")
def test_an_unreadable_file_fails_and_is_read_once_corrected(project: FileProject) -> None:
    project.write("data/a.jsonl", '{"id": 1}\n')
    project.write("data/b.jsonl", "{'id': 2}\n{'id': 3}\n")
    project.configure("data/*.json*")
    assert project.run() == 1
    assert "b.jsonl, line 1: not JSON" in project.err
    project.write("data/b.jsonl", '{"id": 2}\n{"id": 3}\n')
    assert project.load() == [1, 2, 3]
    project.write("data/c.json", "[{'id': 4}, {'id': 5}]")
    assert project.run() == 1
    assert "c.json, row 1: not JSON" in project.err
    project.write("data/c.json", '[{"id": 4}]')
    assert project.load() == [1, 2, 3, 4]
    project.write("data/empty.jsonl", "\n\n")
    assert project.load() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04....", "a ZIP archive"),
        (b"BZh91AY", "bzip2"),
        (b"PAR1....", "Parquet"),
        (b"<!DOCTYPE html>", "HTML"),
    ],
)
def test_another_format_is_named(local: FileProject, content: bytes, what: str) -> None:
    local.write("a.jsonl", content)
    local.configure("a.jsonl")
    assert local.run() == 1
    assert f"a.jsonl: the file is {what}, not JSON" in local.err


@pytest.mark.nightly_on("postgres")
def test_layouts_that_the_name_does_not_tell(project: FileProject) -> None:
    project.write("data/1.jsonl", '[{"id": 1}, {"id": 2}]')
    project.write("data/2.jsonl", '[\n  {"id": 3},\n  {"id": 4}\n]\n')
    project.write("data/3.json", '{"id": 5}\n{"id": 6}\n')
    project.write("data/4.jsonl", '{\n  "id": 7,\n  "more": [{"n": 1}]\n}\n')
    project.write("data/5.jsonl", '[]\n[{"id": 8}]\n{"id": 9}\n')
    project.configure("data/*")
    assert project.load() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert project.place.column("t__more", "n", "n") == [1]


def test_one_bad_value_takes_its_row_alone(project: FileProject) -> None:
    rows = ['{"id": 1}', '{"id": 2, "n": NaN}', '{"id": 3,\n "s": "a,]}\\""}', '{"id": 4, "x": 01}']
    project.write("data/a.json", f"[{', '.join(rows)}]")
    project.write("data/b.jsonl", f"[{', '.join(rows[:2])}]\n".replace(": 1", ": 5"))
    project.configure("data/*")
    assert project.load() == [1, 3, 5]
    found = project.quarantined()
    assert [where for where, _ in found] == [
        "a.json, row 2",
        "a.json, row 4",
        "b.jsonl, line 1, item 2",
    ]
    assert all(why.startswith("not JSON") for _, why in found)
    project.write("data/c.json", f"[{', '.join(rows)}")
    assert project.run() == 1
    assert "c.json, line 1: not JSON" in project.err
    assert "the list has no end" in project.err
    assert project.ids() == [1, 3, 5]


def test_compiled_kernels_load_the_same_rows(
    tmp_path: Path,
    duckdb_place: Place,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Escapes, doubles of any length, lists, absent keys and other orders; once for each reader."""
    pytest.importorskip("numba")
    read, compiled = [], CompiledRows.read

    def noted(*call: Any) -> Any:
        read.append(compiled(*call))
        return read[-1]

    monkeypatch.setattr(CompiledRows, "read", noted)
    rows = [
        {
            "id": n,
            "name": "Zoë\n😀\\" * (n % 4),
            "ratio": n / 7,
            **({"size": n**4} if n % 3 else {}),
            "tags": [{"at": f"t{at}", "n": None if at else n} for at in range(n % 5)],
            "owner": {"id": -n, "ok": n % 2 == 0} if n % 7 else None,
        }
        for n in range(2_000)
    ]
    shuffled = [dict(reversed(row.items())) if row["id"] % 11 == 0 else row for row in rows]
    content = "".join(json.dumps(row) + "\n" for row in shuffled)
    loaded = []
    for setting in ("off", "on"):
        monkeypatch.setenv("MILLSTREAM_KERNELS", setting)
        project = FileProject(tmp_path / setting, duckdb_place, capsys)
        project.write("rows.jsonl", content)
        project.configure("rows.jsonl")
        assert len(project.load("--full-refresh")) == 2_000, project.out + project.err
        select = "SELECT * EXCLUDE (_dlt_id, _dlt_load_id) FROM {} ORDER BY id"
        nested = (
            "SELECT p.id, _dlt_list_idx, c.at, c.n FROM {} p JOIN {} c "
            "ON c._dlt_parent_id = p._dlt_id"
        )
        table, child = duckdb_place.from_clause("t"), duckdb_place.from_clause("t__tags")
        loaded.append(
            (
                duckdb_place.query(select.format(table)),
                sorted(duckdb_place.query(nested.format(table, child)), key=str),
            )
        )
    assert loaded[0] == loaded[1]
    assert [len(found) for found in read if found is not None] == [2_000 - 256]
