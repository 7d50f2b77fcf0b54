from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
import yaml
from dlt.common.normalizers.naming.snake_case import NamingConvention
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.errors import ConfigError
from millstream.formats.json_path import spelled
from millstream.formats.key_names import KeyNames, keys_by_name
from millstream.model import Column, SchemaVersion, Table
from millstream.schema_changes import accepted_file, canonical

from .strategies import NAMES, versions

naming = NamingConvention()
ISSUES = SchemaVersion(
    (
        Table("issues", None, (Column("n", "bigint"), Column("id", "bigint", False, True))),
        Table("issues__labels", "issues", (Column("name", "text"),)),
    )
)


def test_nothing_accepted_is_nothing(tmp_path: Path) -> None:
    assert accepted_file.load(tmp_path) == {}
    assert accepted_file.load(tmp_path / "absent") == {}


def test_what_is_saved_is_loaded_and_reads_well(tmp_path: Path) -> None:
    assert accepted_file.save(tmp_path, "issues", ISSUES)
    assert accepted_file.load(tmp_path) == {"issues": canonical(ISSUES)}
    assert (
        (tmp_path / "schema.yaml")
        .read_text()
        .endswith(
            """\
version: 1
streams:
  issues:
    issues:
      columns:
        id: bigint, not null, primary key
        "n": bigint
    issues__labels:
      parent: issues
      columns:
        name: text
"""
        )
    )
    paths = [c.path for t in accepted_file.load(tmp_path)["issues"].tables for c in t.columns]
    assert paths == ["id", "n", "labels[].name"]


def test_saving_the_same_again_writes_nothing(tmp_path: Path) -> None:
    assert accepted_file.save(tmp_path, "issues", ISSUES)
    before = (tmp_path / "schema.yaml").stat()
    assert not accepted_file.save(tmp_path, "issues", canonical(ISSUES))
    after = (tmp_path / "schema.yaml").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


@given(st.dictionaries(st.sampled_from(NAMES), versions(), max_size=3))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_the_file_holds_any_schema(streams: dict[str, SchemaVersion]) -> None:
    text = accepted_file.render(streams)
    read = accepted_file._Reader(Path("schema.yaml")).read(text)
    assert read == {stream: canonical(version) for stream, version in streams.items()}
    assert accepted_file.render(read) == text
    # any other YAML reader sees the same names
    assert set(yaml.safe_load(text)["streams"]) == set(streams)


KEYS = st.text(min_size=1, max_size=5) | st.sampled_from(("orderId", "a, b", "x[].y", "t: #", '"'))


@given(st.lists(st.lists(KEYS, min_size=1, max_size=3), min_size=1, max_size=6), st.booleans())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_the_file_holds_the_keys_of_the_source(paths: list[list[str]], is_bare: bool) -> None:
    """Of any characters: of the root's columns, of a list's, and of the list itself.

    Also where lists hold nothing but other lists, and so have no column.
    """
    names = KeyNames("orders", naming.normalize_identifier, naming.normalize_path, {}, {})
    for path in paths:
        names.locate(path)
        names.locate([path[0], "[]", *path])
    keys = keys_by_name(names.new())
    columns: dict[tuple[str, ...], dict[str, Column]] = {}
    for path in keys:
        for split in range(len(path)):
            found = "".join(f"{name}[]." for name in path[:split]) + ".".join(path[split:])
            name = "__".join(path[split:])
            column = Column(name, "text", path=found, source_path=spelled(found, keys.get))
            columns.setdefault(path[:split], {})[name] = column
            for above in range(1, split):
                columns.setdefault(path[:above], {})
    if is_bare:
        inner = {path[:-1] for path in columns if len(path) > 1}
        columns = {path: {} if path in inner else of for path, of in columns.items()}
    tables = [
        Table(
            "__".join(("orders", *path)),
            "__".join(("orders", *path[:-1])) if path else None,
            tuple(of.values()),
        )
        for path, of in columns.items()
    ]
    version = canonical(SchemaVersion(tuple(tables)))
    read = accepted_file.parse(accepted_file.render({"orders": version}))["orders"]
    places = [
        [(c.name, c.path, c.source_path) for table in each.tables for c in table.columns]
        for each in (version, read)
    ]
    assert places[0] == places[1]
    roots = [place for _, path, place in places[0] if "[]" not in path]
    assert len({*roots}) == len(roots), "no two keys are spelled alike"


@given(versions(), versions(), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_comments_never_change_what_the_file_says(
    old: SchemaVersion, new: SchemaVersion, data: st.DataObject
) -> None:
    lines = []
    for line in accepted_file.render({"issues": old}).splitlines():
        match data.draw(st.integers(0, 9)):
            case 0:
                lines.append('  # a note: {of} "people"')
            case 1:
                line += "  # beside"
        lines.append(line)
    commented = "\n".join(lines) + "\n"
    reader = accepted_file._Reader(Path("schema.yaml"))
    assert reader.read(commented) == {"issues": canonical(old)}
    carried = accepted_file.yaml_comments.carry(commented, accepted_file.render({"issues": new}))
    assert reader.read(carried) == {"issues": canonical(new)}
    # nothing changed: every comment is where it was
    assert (
        accepted_file.yaml_comments.carry(commented, accepted_file.render({"issues": old}))
        == commented
    )


def test_comments_stay_with_their_column(tmp_path: Path) -> None:
    accepted_file.save(tmp_path, "issues", ISSUES)
    path = tmp_path / "schema.yaml"
    path.write_text(
        path.read_text()
        .replace("# The accepted", "# Ours. The accepted")
        .replace('        "n": bigint', '        # asked of the vendor\n        "n": bigint  # ?')
    )
    columns = (Column("a", "text"), *ISSUES.tables[0].columns)
    assert accepted_file.save(tmp_path, "issues", SchemaVersion((Table("issues", None, columns),)))
    text = path.read_text()
    assert text.startswith("# Ours. The accepted")
    assert text.endswith(
        """\
        a: text
        id: bigint, not null, primary key
        # asked of the vendor
        "n": bigint  # ?
"""
    )


def test_streams_do_not_touch_one_another(tmp_path: Path) -> None:
    accepted_file.save(tmp_path, "b", ISSUES)
    accepted_file.save(tmp_path, "a", SchemaVersion())
    assert list(accepted_file.load(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_concurrent_writers_lose_nothing(tmp_path: Path, pool: str) -> None:
    streams = [f"s{number}" for number in range(24)]
    with (
        ThreadPoolExecutor(8)
        if pool == "threads"
        else ProcessPoolExecutor(4, mp_context=get_context("spawn"))
    ) as workers:
        assert all(workers.map(partial(_save, tmp_path), streams))
    assert sorted(accepted_file.load(tmp_path)) == sorted(streams)
    assert [path.name for path in tmp_path.iterdir()] == ["schema.yaml"], "nothing left behind"


def _save(folder: Path, stream: str) -> bool:
    return accepted_file.save(folder, stream, ISSUES)


def test_the_file_keeps_its_mode_and_a_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("version: 1\nstreams: {}\n")
    real.chmod(0o640)
    (tmp_path / "defs").mkdir()
    (tmp_path / "defs" / "schema.yaml").symlink_to(real)
    accepted_file.save(tmp_path / "defs", "issues", ISSUES)
    assert (tmp_path / "defs" / "schema.yaml").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert "issues__labels" in real.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("streams: [", ": not YAML: "),
        ("- a\n", "schema.yaml:1: the file: not a mapping"),
        ("version: 2\nstreams: {}\n", "schema.yaml:1: `version` is not 1"),
        ("version: 1\n", "`streams` is missing"),
        ("version: 1\nstream: {}\n", "schema.yaml:2: unknown field `stream`"),
        ("version: 1\nstreams:\n  s:\n    t: {}\n", "schema.yaml:4: streams.s.t: `columns` is"),
        (
            "version: 1\nstreams:\n  s:\n    t:\n      columns:\n        id: bigin\n",
            "schema.yaml:6: streams.s.t.columns.id: 'bigin' is not a data type, "
            "did you mean `bigint`",
        ),
        (
            "version: 1\nstreams:\n  s:\n    t:\n      columns:\n        id: bigint, not nul\n",
            "did you mean `not null`",
        ),
        (
            "version: 1\nstreams:\n  s:\n    t:\n      columns:\n        a: text\n"
            "        a: text\n",
            "schema.yaml:7: streams.s.t.columns: duplicate key `a`",
        ),
        (
            "version: 1\nstreams:\n  s:\n    t:\n      parent: u\n      columns: {}\n",
            "streams.s.t: no table `u` to be below",
        ),
        (
            "version: 1\nstreams:\n  s:\n    t:\n      parent: t\n      columns: {}\n",
            "streams.s.t: is its own parent",
        ),
        ("version: 1\nstreams:\n<<<<<<< HEAD\n  s: {}\n", "schema.yaml:4: not YAML"),
    ],
)
def test_a_broken_file_says_where_and_is_left_alone(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        accepted_file.load(tmp_path)
    assert said in str(caught.value)
    with pytest.raises(ConfigError):
        accepted_file.save(tmp_path, "s", ISSUES)
    assert path.read_text() == text


def test_a_folder_that_is_not_there_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be written"):
        accepted_file.save(tmp_path / "absent", "issues", ISSUES)


def test_reading_it_needs_neither_dlt_nor_dagster(tmp_path: Path) -> None:
    accepted_file.save(tmp_path, "issues", ISSUES)
    code = (
        "import sys; from pathlib import Path; from millstream.schema_changes import accepted_file;"
        f"assert accepted_file.load(Path({str(tmp_path)!r}));"
        "print({'dlt', 'dagster', 'pyarrow', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
