"""Which files are new: by what a file is, wherever the project lies and whatever serves it."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millstream.cli import main
from millstream.sources import file_listing
from millstream.sources import files as files_module
from millstream.sources.file_listing import key_of, list_files
from millstream.sources.file_state import VERSION, FileState
from services.places import Place
from sources.files_kit import FileProject, FileServer, Page, serving

pytest.importorskip("aiohttp")

ONE, TWO, THREE = ('{"id": 1}\n', '{"id": 2}\n', '{"id": 3}\n')


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


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    with serving() as server:
        yield server


def test_a_moved_project_reads_no_file_again(project: FileProject, tmp_path: Path) -> None:
    project.configure("data/*.jsonl")
    project.write("data/a.jsonl", ONE)
    project.write("data/b.jsonl", TWO)
    assert project.load() == [1, 2]
    # a copy has other times; a file that is new comes along
    moved = tmp_path / "elsewhere" / "release [2]"
    shutil.copytree(project.folder, moved, copy_function=shutil.copyfile)
    shutil.rmtree(project.folder)
    project.folder = moved
    project.write("data/c.jsonl", THREE)
    assert project.load() == [1, 2, 3]
    assert project.load() == [1, 2, 3]


def test_files_beside_the_project_move_along(local: FileProject, tmp_path: Path) -> None:
    local.folder = tmp_path / "one" / "project"
    local.configure("../data/*.jsonl")
    local.write("../data/a.jsonl", ONE)
    assert local.load() == [1]
    (tmp_path / "one").rename(tmp_path / "two")
    local.folder = tmp_path / "two" / "project"
    assert local.load() == [1]
    # the same file, named in other ways
    data = tmp_path / "two" / "data"
    for path in (f"{data}/*.jsonl", f"file://{data}/a.jsonl", f"{data}/../project/../data/a.jsonl"):
        local.configure(path)
        assert local.load() == [1]


def test_links_and_dots_are_one_file(local: FileProject, tmp_path: Path) -> None:
    local.configure("data/*.jsonl")
    local.write("data/a.jsonl", ONE)
    (tmp_path / "current").symlink_to(local.folder)
    assert local.load() == [1]
    for path in (
        "data/../data/*.jsonl",
        "./data/a.jsonl",
        f"{local.folder}/data/*.jsonl",
        f"file://{local.folder}/data/a.jsonl",
        f"{tmp_path}/current/data/*.jsonl",
    ):
        local.configure(path)
        assert local.load() == [1], path
    local.folder = tmp_path / "current"
    assert local.load() == [1]


@pytest.mark.nightly_on("postgres")
def test_a_file_that_was_empty_is_read_once_filled(project: FileProject) -> None:
    project.configure("data/*")
    project.write("data/a.jsonl", ONE)
    project.write("data/b.jsonl", "")
    project.write("data/c.jsonl.gz", gzip.compress(b""))
    assert project.load() == [1]
    project.write("data/b.jsonl", TWO)
    project.write("data/c.jsonl.gz", gzip.compress(b'{"id": 3}\n'))
    assert project.load() == [1, 2, 3]
    assert project.load() == [1, 2, 3]


@pytest.mark.nightly_on("postgres")
def test_a_file_that_had_no_rows_is_read_once_filled(project: FileProject) -> None:
    project.configure("data/*", types={"id": "bigint"})
    project.write("data/a.jsonl", ONE)
    project.write("data/b.jsonl", "\n")
    project.write("data/c.csv", "id\n")
    project.write("data/d.json", "[]")
    empty = pa.table({"id": pa.array([], pa.int64())})
    pq.write_table(empty, project.folder / "data/e.parquet")
    assert project.load() == [1]
    (project.folder / "data/c.csv").rename(project.folder / "data/f.csv")
    os.utime(project.folder / "data/d.json", (1, 1))
    assert project.load() == [1]
    project.write("data/b.jsonl", TWO)
    project.write("data/f.csv", "id\n3\n")
    project.write("data/d.json", '[{"id": 4}]')
    pq.write_table(pa.table({"id": [5]}), project.folder / "data/e.parquet")
    assert project.load() == [1, 2, 3, 4, 5]
    assert project.load() == [1, 2, 3, 4, 5]
    project.write("data/d.json", '[{"id": 4}, {"id": 6}]')
    assert project.run() == 1
    assert "has changed since it was loaded" in project.err


@pytest.mark.nightly_on("postgres")
def test_a_file_written_anew_is_compared(project: FileProject) -> None:
    project.configure("data/*")
    file = project.write("data/a.jsonl", ONE)
    assert project.load() == [1]
    os.utime(file, (1, 1))
    assert project.load() == [1]
    project.write("data/a.jsonl", ONE.encode("utf-16"))  # another encoding of the same text
    assert project.load() == [1]
    project.write("data/a.jsonl", TWO)
    assert project.run() == 1
    assert "has changed since it was loaded" in project.err
    assert project.ids() == [1]
    assert project.load("--full-refresh") == [2]


def test_a_renamed_file_is_not_read_again(local: FileProject) -> None:
    local.configure("data/**/*.jsonl")
    first = local.write("data/a.jsonl", ONE)
    second = local.write("data/b.jsonl", TWO)
    assert local.load() == [1, 2]
    second.rename(second.with_name("c.jsonl"))
    archive = local.folder / "data/2024"
    archive.mkdir()
    first.rename(archive / "a-1.jsonl")
    local.write("data/a.jsonl", THREE)  # another file takes its place
    assert local.load() == [1, 2, 3]
    # the same rows, written at another time, are a file of its own
    os.utime(local.write("data/d.jsonl", ONE), (1, 1))
    (archive / "a-1.jsonl").unlink()
    assert local.load() == [1, 1, 2, 3]


def test_a_file_elsewhere_that_may_be_a_renamed_one_is_told(local: FileProject) -> None:
    """Nothing tells a file that was renamed in a bucket from another one with the same text."""
    bucket = fsspec.filesystem("memory")
    local.configure("memory://shop-renamed/*.jsonl")
    bucket.pipe("/shop-renamed/a.jsonl", ONE.encode())
    bucket.pipe("/shop-renamed/b.jsonl", TWO.encode())
    assert local.load() == [1, 2]
    bucket.mv("/shop-renamed/a.jsonl", "/shop-renamed/c.jsonl")
    bucket.pipe("/shop-renamed/d.jsonl", THREE.encode())
    assert local.load() == [1, 1, 2, 3]
    assert "c.jsonl has the text of memory:///shop-renamed/a.jsonl, which is gone" in local.out
    assert local.out.count("which is gone") == 1
    assert local.load() == [1, 1, 2, 3]
    assert "which is gone" not in local.out


@pytest.mark.parametrize("nested", [False, True])
def test_a_parquet_file_is_known_by_its_text(local: FileProject, nested: bool) -> None:
    local.configure("data/*.parquet")
    file = local.write("data/a.parquet", b"")
    pq.write_table(pa.table({"id": [1, 2], "x": [[1], [2]] if nested else ["a", "b"]}), file)
    assert local.load() == [1, 2]
    os.utime(file, (1, 1))  # a copy of the project
    assert local.load() == [1, 2]
    file.rename(file.with_name("b.parquet"))
    assert local.load() == [1, 2]


def test_what_may_not_be_read_is_told(local: FileProject) -> None:
    command = [sys.executable, "-m", "millstream", "run", str(local.folder / "defs.yaml")]
    if os.geteuid() == 0:  # who may read all
        if not (setpriv := shutil.which("setpriv")):
            pytest.skip("no setpriv, which takes rights from the superuser")
        command = [setpriv, "--inh-caps=-all", "--bounding-set=-all", *command]

    def run(path: str) -> tuple[int, str]:
        local.configure(path)
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    local.write("data/a.jsonl", ONE)
    hidden = local.write("data/x/b.jsonl", TWO).parent
    hidden.chmod(0)
    try:
        code, said = run("data/**/*.jsonl")
        assert (code, local.ids()) == (0, [1])
        assert "data/x was read: Permission denied" in " ".join(said.split())
        code, said = run("data/x/*.jsonl")
        assert code == 1
        assert "data/x/*.jsonl can't be listed: [Errno 13]" in said
    finally:
        hidden.chmod(0o700)
    (hidden / "b.jsonl").chmod(0)
    code, said = run("data/**/*.jsonl")
    assert code == 1
    assert "is the file whole" not in said
    assert "let the user that runs this read the files" in said


def test_files_that_swap_names_or_rotate_are_not_read_again(local: FileProject) -> None:
    local.configure("log/app*", format="jsonl")
    current = local.write("log/app.jsonl", ONE)
    first, second = (local.folder / f"log/app.{number}.jsonl.gz" for number in (1, 2))
    assert local.load() == [1]
    for text, ids in ((TWO, [1, 2]), (THREE, [1, 2, 3])):
        if first.exists():
            first.rename(second)
        first.write_bytes(gzip.compress(current.read_bytes()))
        shutil.copystat(current, first)
        local.write("log/app.jsonl", text)
        assert local.load() == ids
    current.rename(local.folder / "log/other")
    first.rename(current)
    (local.folder / "log/other").rename(first)
    assert local.load() == [1, 2, 3]


def test_a_link_beside_its_file_is_not_another_one(local: FileProject) -> None:
    local.configure("data/*.jsonl")
    file = local.write("data/b.jsonl", ONE)
    (local.folder / "data/latest.jsonl").symlink_to(file)
    (local.folder / "data/a.jsonl").symlink_to("latest.jsonl")
    assert local.load() == [1]
    file.rename(file.with_name("b.old"))  # the links alone fit
    (local.folder / "data/latest.jsonl").unlink()
    (local.folder / "data/latest.jsonl").symlink_to("b.old")
    assert local.load() == [1]


@pytest.mark.nightly_on("postgres")
def test_a_file_that_is_packed_is_not_read_again(project: FileProject) -> None:
    project.configure("data/*")
    file = project.write("data/a.jsonl", ONE)
    assert project.load() == [1]
    file.unlink()
    project.write("data/a.jsonl.gz", gzip.compress(ONE.encode()))
    assert project.load() == [1]
    assert "was not read: its text was read before" in project.out + project.err
    project.write("data/b.jsonl.gz", gzip.compress(ONE.encode()))  # another file with the same rows
    assert project.load() == [1, 1]


def test_a_name_that_is_written_in_other_characters(local: FileProject) -> None:
    local.configure("data/*.jsonl")
    local.write("data/caf\u00e9.jsonl", ONE).rename(local.folder / "data" / "cafe\u0301.jsonl")
    assert local.load() == [1]
    (local.folder / "data" / "cafe\u0301.jsonl").rename(local.folder / "data" / "caf\u00e9.jsonl")
    assert local.load() == [1]
    local.write("data/cafe\u0301.jsonl", TWO)  # beside it
    assert local.load() == [1, 2]


def test_two_streams_and_two_names_share_no_state(local: FileProject) -> None:
    local.configure("data/a.jsonl*")
    local.write("data/a.jsonl", ONE)
    local.write("data/a.jsonl.gz", gzip.compress(TWO.encode()))
    assert local.load() == [1, 2]
    assert local.load() == [1, 2]
    streams = {"t": {"path": "data/a.jsonl*"}, "u": {"path": "data/*"}}
    local.configure("x", {"source": {"type": "files", "streams": streams}})
    assert local.load() == [1, 2]
    assert local.place.column("u", "id") == [1, 2]


class OldState(FileState):
    """State as the version before wrote it."""

    def __init__(self, state: Any, files: Any, project: Path) -> None:
        self._files = {}
        self._old = state.setdefault("files", {})

    def is_current(self, file: Any) -> bool:
        return self._old.get(file.url) == file.version

    def digest(self, file: Any) -> str | None:
        return None

    def knows(self, file: Any) -> bool:
        return file.url in self._old

    def add(self, file: Any, digest: str, *, has_rows: bool | None = None) -> None:
        self._old[file.url] = file.version


@pytest.mark.parametrize("moves", ["stays", "moves", "is copied"])
@pytest.mark.nightly_on("postgres")
def test_state_of_the_version_before(
    project: FileProject, tmp_path: Path, moves: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.configure("**/*.jsonl")
    project.write("a.jsonl", ONE)
    project.write("data/a.jsonl", TWO)
    with monkeypatch.context() as patched:
        patched.setattr(files_module, "FileState", OldState)
        assert project.load() == [1, 2]
    if moves != "stays":
        new = tmp_path / "new"
        copy = shutil.copy2 if moves == "moves" else shutil.copyfile
        shutil.copytree(project.folder, new, copy_function=copy)
        shutil.rmtree(project.folder)
        project.folder = new
    project.write("data/b.jsonl", THREE)
    assert project.load() == [1, 2, 3]
    assert project.load() == [1, 2, 3]


def test_a_newer_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="version 99"):
        FileState({"version": 99}, [], tmp_path)
    assert VERSION < 99


@pytest.mark.parametrize(
    ("headers", "changed"),
    [
        ({"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
         {"Last-Modified": "Mon, 01 Jan 2024 00:00:01 GMT"}),
        ({"ETag": '"1"'}, {"ETag": '"2"'}),
        ({}, {}),
    ],
    ids=["Last-Modified", "ETag", "neither"],
)  # fmt: skip
@pytest.mark.parametrize(
    "has_length",
    [pytest.param(True, marks=pytest.mark.nightly), False],
    ids=["length", "no length"],
)
def test_a_changed_file_over_http_is_read(
    local: FileProject, server: FileServer, headers: Any, changed: Any, has_length: bool
) -> None:
    server.pages["/a.jsonl"] = Page((ONE + TWO).encode(), headers, has_length)
    local.configure(server.url("/a.jsonl"), primary_key=["id"])
    assert local.load() == [1, 2]
    assert local.load() == [1, 2]
    server.pages["/a.jsonl"] = Page((ONE + THREE).encode(), changed, has_length)  # as long
    assert local.load() == [1, 2, 3]
    # without a key: what is the same is not doubled, what is not is refused
    local.configure(server.url("/a.jsonl"), {"schema_policy": "anything"})
    assert local.load() == [1, 2, 3]
    server.pages["/a.jsonl"] = Page((TWO + THREE).encode(), headers, has_length)
    assert local.run() == 1
    assert "has changed since it was loaded" in local.err


def test_a_weak_etag_stands_for_several_texts(local: FileProject, server: FileServer) -> None:
    local.configure(server.url("/a.jsonl"), primary_key=["id"])
    for number, text in enumerate((ONE, TWO)):
        headers = {"ETag": 'W/"1"', "Last-Modified": str(number)}
        server.pages["/a.jsonl"] = Page(text.encode(), headers)
        ids = local.load()
    assert ids == [1, 2]


def test_files_of_a_listing_over_http(local: FileProject, server: FileServer) -> None:
    listing = b'<a href="a.jsonl">a</a><a href="b.jsonl">b</a>'
    server.pages = {"/all/": Page(listing, {"Content-Type": "text/html"})}
    for name, text in (("a", ONE), ("b", TWO)):
        server.pages[f"/all/{name}.jsonl"] = Page(text.encode(), {"Last-Modified": "1"})
    local.configure(server.url("/all/*.jsonl"), primary_key=["id"])
    assert local.load() == [1, 2]
    server.pages["/all/b.jsonl"] = Page(THREE.encode(), {"Last-Modified": "2"})
    assert local.load() == [1, 2, 3]
    asked = [each for each in server.requests if each == "GET /all/a.jsonl"]
    local.load()
    assert [each for each in server.requests if each == "GET /all/a.jsonl"] == asked


def test_no_secret_gets_into_the_state(local: FileProject, server: FileServer) -> None:
    path = "/a.jsonl?part=7&X-Amz-Signature={}&sv=1&sig=x"
    for signature in ("one", "two"):
        server.pages[path.format(signature)] = Page(ONE.encode(), {"ETag": signature})
        local.configure(server.url(path.format(signature)))
        assert local.load() == [1]
    assert (
        key_of("https://me:pass@h/a.jsonl?size=2&token=3", Path("/p")) == "https://h/a.jsonl?size=2"
    )


@pytest.mark.parametrize(
    ("folder", "pattern", "names"),
    [
        ("data [v1]", "data [v1]/*.jsonl", {"a.jsonl", "b1.jsonl"}),
        ("data", "data/b[0-9].jsonl", {"b1.jsonl"}),
        ("data", "data/[!b]*.jsonl", {"a.jsonl"}),
        ("data", "data/b[[]2].jsonl", {"b[2].jsonl"}),
        ("data", "data/b[2].jsonl", {"b[2].jsonl"}),
        ("a::b", "a::b/*::*.jsonl", {"x::y.jsonl"}),
        ("a::b", "a::b/x::y.jsonl", {"x::y.jsonl"}),
        ("a*?", "**/a.jsonl", {"a.jsonl"}),
        ("zip", "zip/?.jsonl", {"a.jsonl"}),
    ],
)
@pytest.mark.parametrize("home", ["plain", "what [is] *this?::"])
def test_names_hold_any_character(
    tmp_path: Path, home: str, folder: str, pattern: str, names: set[str]
) -> None:
    project = tmp_path / home
    (project / folder).mkdir(parents=True)
    for name in ("a.jsonl", "b1.jsonl", "b[2].jsonl", "x::y.jsonl"):
        if name in names or name in ("a.jsonl", "b1.jsonl"):
            (project / folder / name).write_text(ONE)
    for path in (pattern, f"{project}/{pattern}", f"file://{project}/{pattern}"):
        if path != pattern and home != "plain":
            continue  # what is written into the path is a pattern
        found = list_files(path, project, {})
        assert {Path(file.name).name for file in found} == names
        assert all(file.key.startswith(f"{folder}/") for file in found)


def test_files_in_an_archive(local: FileProject) -> None:
    local.configure("zip://*.jsonl::data/all.zip", primary_key=["id"])
    for text in (ONE, TWO):
        (local.folder / "data").mkdir(exist_ok=True)
        with zipfile.ZipFile(local.folder / "data/all.zip", "w") as archive:
            archive.writestr("a.jsonl", text)
        ids = local.load()
    assert ids == [1, 2]


def test_an_archive_moves_along(
    local: FileProject, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def configure(chain: str) -> None:
        local.configure(f"zip://*.jsonl::{chain}")

    local.write("data/all.zip", _zipped(ONE))
    configure(f"file://{local.folder}/data/all.zip")
    with monkeypatch.context() as before:
        before.setattr(file_listing, "_chain_key", lambda chain, _: chain)
        assert local.load() == [1]
    assert local.load() == [1]
    local.folder = local.folder.rename(tmp_path / "moved")
    for chain in (f"file://{local.folder}/data/all.zip", "data/../data/all.zip"):
        configure(chain)
        assert local.load() == [1], chain
    archive = _zipped(TWO)
    server.pages = {f"/a.zip?id=1&sig={day}": Page(archive) for day in (1, 2)}
    for day in (1, 2):
        configure("simplecache::" + server.url(f"/a.zip?id=1&sig={day}"))
        assert local.load() == [1, 2]


def _zipped(text: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.jsonl", text)
    return data.getvalue()


def test_a_corrected_line_is_read_where_rows_merge(local: FileProject) -> None:
    local.configure("a.jsonl", primary_key=["id"])
    local.write("a.jsonl", ONE + '{"id": 2\n' + THREE)
    assert local.load() == [1, 3]
    local.write("a.jsonl", ONE + TWO + THREE)
    assert local.load() == [1, 2, 3]


def test_lines_are_corrected_after_file_and_project_moved(
    local: FileProject, tmp_path: Path
) -> None:
    local.configure("data/*.jsonl")
    file = local.write("data/a.jsonl", ONE + '{"id": 2\n{"id": 3\n')
    assert local.load() == [1]
    local.folder = local.folder.rename(tmp_path / "moved")
    local.write("data/a.jsonl", ONE + '{"id": 2\n{"id": 3]\n')  # wrong in another way
    assert local.load() == [1]
    file = local.folder / "data/a.jsonl"
    file.rename(file.with_name("b.jsonl"))
    assert local.load() == [1]
    local.write("data/b.jsonl", ONE + TWO + THREE)
    assert local.load() == [1, 2, 3]
    assert statuses(local) == [("superseded", 3)]


def test_rows_of_a_moved_file_wait_no_more_once_corrected(
    local: FileProject, tmp_path: Path
) -> None:
    local.configure("data/*.jsonl", primary_key="id")
    local.write("data/a.jsonl", ONE + '{"id": 2\n{"id": null}\n').rename(
        local.folder / "data/old.jsonl"
    )
    assert local.load() == [1]
    local.folder = local.folder.rename(tmp_path / "moved")
    (local.folder / "data/old.jsonl").rename(local.folder / "data/a.jsonl")
    local.write("data/other.jsonl", '{"id": 4}\n{"id": 5\n')
    assert local.load() == [1, 4]
    local.write("data/a.jsonl", ONE + TWO + THREE)
    assert local.load() == [1, 2, 3, 4]
    assert statuses(local) == [("superseded", 2), ("waiting", 1)]


@pytest.mark.parametrize(
    ("name", "key"), [("b.jsonl", None), ("a.jsonl.gz", None), ("old/c.jsonl.gz", "id")]
)
def test_a_line_that_is_corrected_as_its_file_moves(
    local: FileProject, name: str, key: str | None
) -> None:
    local.configure("**/*.jsonl*", **({"primary_key": key} if key else {}))
    bad = ONE + '{"id": 2\n' + THREE
    file = local.write("a.jsonl", bad)
    assert local.load() == [1, 3]
    file.unlink()
    text = ONE + TWO + THREE
    local.write(name, gzip.compress(text.encode()) if name.endswith("gz") else text)
    local.write("new.jsonl", '{"id": 6}\n')
    for _ in range(2):
        assert local.load() == [1, 2, 3, 6]
        assert statuses(local) == [("superseded", 1)]


def test_a_new_file_is_not_one_that_is_gone(local: FileProject) -> None:
    local.configure("*.jsonl")
    local.write("a.jsonl", ONE + '{"id": 2\n')
    assert local.load() == [1]
    (local.folder / "a.jsonl").unlink()
    local.write("b.jsonl", THREE + TWO)
    assert local.load() == [1, 2, 3]
    assert statuses(local) == [("waiting", 1)]


def test_a_file_on_a_host_of_another_name_is_not_read_again(
    local: FileProject, server: FileServer
) -> None:
    server.pages["/x/a.jsonl"] = Page(ONE.encode(), {"ETag": '"1"'})
    here = server.url("/x/a.jsonl")
    there = here.replace("127.0.0.1", "localhost")
    assert there != here
    local.configure(here)
    assert local.load() == [1]
    server.pages["/x/a.jsonl"] = Page(ONE.encode(), {"ETag": '"2"'})
    local.configure(there)
    assert local.load() == [1]
    assert "was read before, as http://127.0.0.1" in local.out + local.err
    server.pages["/x/a.jsonl"] = Page(TWO.encode(), {"ETag": '"3"'})
    local.configure(here)
    assert local.load() == [1, 2]  # no text that was read before


@pytest.mark.nightly_on("postgres")
@pytest.mark.parametrize("name", ["a.jsonl", pytest.param("a.jsonl.gz", marks=pytest.mark.nightly)])
def test_corrected_lines_alone_are_read(project: FileProject, name: str) -> None:
    def write(*lines: str) -> None:
        text = "\r\n".join(lines).encode().replace(b"?", b"\xe9")
        project.write(name, gzip.compress(text) if name.endswith("gz") else text)

    bad = ['{"id": 2', '{"id": 4, "id": 5}', '  {"id": 6, "a": "caf?"}', '{"id": 7']
    project.configure("a.*")
    write('{"id": 1}', bad[0], '{"id": 3}', *bad[1:])
    assert project.load() == [1, 3]
    assert statuses(project) == [("waiting", 4)]
    # a line after the other: one is right, one is wrong in another way, one is gone
    write('{"id": 1}', '{"id": 2}', '{"id": 3}', *bad[1:])
    assert project.load() == [1, 2, 3]
    write('{"id": 1}', '{"id": 2}', '{"id": 3}', bad[1], '  {"id": 6}', "[7")
    assert project.load() == [1, 2, 3, 6]
    write('{"id": 1}', '{"id": 2}', '{"id": 3}', "", '  {"id": 6}', '[{"id": 7}, {"id": 8}]', "")
    assert project.load() == [1, 2, 3, 6, 7, 8]
    assert statuses(project) == [("superseded", 5)]
    assert main(["quarantine", "replay", str(project.folder / "defs.yaml")]) == 0
    assert project.load() == [1, 2, 3, 6, 7, 8]
    # what was loaded must not change, and neither must a line that was corrected
    write('{"id": 1}', '{"id": 9}', '{"id": 3}', "", '  {"id": 6}', '[{"id": 7}, {"id": 8}]', "")
    assert project.run() == 1
    assert "has changed since it was loaded" in project.err
    assert project.ids() == [1, 2, 3, 6, 7, 8]


def test_a_changed_line_beside_a_corrected_one(project: FileProject) -> None:
    project.configure("a.jsonl")
    project.write("a.jsonl", ONE + '{"id": 2\n')
    assert project.load() == [1]
    for text in (THREE + TWO, ONE + TWO + THREE, TWO, ONE):
        project.write("a.jsonl", text)
        assert project.run() == 1
        assert "may be corrected in place" in project.err
        assert project.ids() == [1]
    assert statuses(project) == [("waiting", 1)]


def test_a_replayed_line_is_not_read_again(local: FileProject, tmp_path: Path) -> None:
    local.configure("a.jsonl")
    local.write("a.jsonl", ONE + '{"id": 2\n{"id": 3\n{"id": 4\n')
    assert local.load() == [1]
    table = local.place.from_clause("_millstream_quarantine")
    [(number,)] = local.place.query(f"SELECT id FROM {table} WHERE origin LIKE '%line 2'")
    command = ["quarantine", "replay", str(local.folder / "defs.yaml")]
    assert main([*command, "--id", number, "--row", TWO]) == 0
    local.write("a.jsonl", ONE + TWO + '{"id": 3}\n{"id": 4\n')
    local.folder = local.folder.rename(tmp_path / "moved")
    assert local.load() == [1, 2, 3]
    assert "line 2 has changed and was not read" in local.out + local.err
    local.write("a.jsonl", ONE + TWO + '{"id": 3}\n{"id": 4}\n')
    assert local.load() == [1, 2, 3, 4]
    assert statuses(local) == [("replayed", 1), ("superseded", 2)]


def statuses(project: FileProject) -> list[tuple[str, int]]:
    """How many rows there are of each status, by the last word on each."""
    table = project.place.from_clause("_millstream_quarantine")
    return [
        (str(status), int(rows))
        for status, rows in project.place.query(
            f"SELECT status, count(*) FROM {table} AS q WHERE attempts = "
            f"(SELECT max(attempts) FROM {table} AS o WHERE o.id = q.id) GROUP BY 1 ORDER BY 1"
        )
    ]
