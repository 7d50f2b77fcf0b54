"""Bad JSON ends in a table or in an error with a hint, in bounded memory, and nothing hangs."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.limited import load
from millstream.config import FilesConfig
from millstream.errors import SourceDataError
from millstream.sources.files import FilesSource
from millstream.sources.json_document import LARGEST_DOCUMENT, is_spread
from millstream.sources.json_lines import LONGEST_LINE

NIGHTLY = bool(os.environ.get("MILLSTREAM_NIGHTLY"))


def nested(left: bytes, right: bytes, depth: int) -> bytes:
    return b'{"id": 1, "a": ' + left * depth + b"1" + right * depth + b"}\n"


GZIPPED = gzip.compress(b'{"n": 1}\n' * 99)

# the file's name, its bytes, and the rows that arrive or the error and what it says
CASES: dict[str, tuple[str, bytes, tuple[str, str] | int | dict[str, int]]] = {
    "integers beyond 64 bits": ("x.jsonl", b'{"n": 123456789012345678901234567890}\n{"n": 1}\n', 2),
    "5,000 digits": ("x.json", b'[{"n": ' + b"9" * 5000 + b"}]", ("SourceDataError", "number")),
    "400 digits": ("x.jsonl", b'{"n": ' + b"9" * 400 + b"}\n", ("SourceDataError", "line 1")),
    "no object in a line": ("x.jsonl", b"1\nnull\n", 2),  # pyarrow's reader would crash over it
    "NaN": ("x.jsonl", b'{"n": 1}\n{"n": NaN}\n', ("SourceDataError", "line 2")),
    "a float too large": ("x.jsonl", b'{"n": 1e999}\n', ("SourceDataError", "line 1")),
    "a lone surrogate": ("x.jsonl", b'{"n": "\\ud800"}\n', ("SourceDataError", "surrogate")),
    "a lone surrogate in JSON": ("x.json", b'["\\ud800"]', ("SourceDataError", "surrogate")),
    "an escaped NUL": ("x.jsonl", b'{"n": "a\\u0000b", "c\\u0000d": 1}\n', 1),
    "a raw NUL": ("x.jsonl", b'{"n": "a\0b"}\n', ("SourceDataError", "control character")),
    "Latin-1": ("x.jsonl", b'{"n": "\xe9"}\n', ("SourceDataError", "UTF-8")),
    "lists too deep": ("x.json", b"[" + nested(b"[", b"]", 1000) + b"]", {"quarantined": 1}),
    "lists in lines too deep": ("x.jsonl", nested(b"[", b"]", 100), {"quarantined": 1}),
    "beyond any depth": ("x.jsonl", nested(b"[", b"]", 50_000), ("SourceDataError", "depth limit")),
    "long integer, deep": (
        "x.json",
        b'[{"n": 12345678901234567890123}, ' + nested(b"[", b"]", 1010) + b"]",
        ("SourceDataError", "recursion"),
    ),
    "cut off": ("x.jsonl", b'{"n": 1}\n{"n":', ("SourceDataError", "line 2")),
    "gzip, cut off": ("x.jsonl.gz", GZIPPED[:30], ("SourceDataError", "ended")),
    "no gzip": ("x.jsonl.gz", b"nothing", ("SourceDataError", "gzip")),
    "no zstd": ("x.jsonl.zst", b"nothing", ("SourceDataError", "Zstandard")),
}  # fmt: skip
if NIGHTLY:
    CASES["objects 1,000 deep"] = ("x.jsonl", nested(b'{"a": ', b"}", 1000), 1)
    CASES["5,000 columns"] = (
        "x.jsonl",
        json.dumps({f"c{number}": number for number in range(5000)}).encode(),
        1,
    )
    CASES["100 MB value"] = ("x.jsonl", b'{"v": "' + b"x" * 100_000_000 + b'"}\n', 1)

# a process each: those that the source refuses are cheaper to look at in this one
APART = [
    name
    for name, (*_, ends) in CASES.items()
    if not isinstance(ends, tuple) or ends[0] != "SourceDataError"
]


def source_of(file: Path) -> FilesSource:
    config = FilesConfig.model_validate({"streams": {"rows": {"path": file.name}}})
    return FilesSource(config, project=file.parent)


def rows_of(file: Path) -> list[Any]:
    made = source_of(file)
    settings = made._settings("rows")
    (listed,) = made._list("rows", settings)
    return list(made._all_pages(listed, settings))


@pytest.mark.parametrize("name", [name for name in CASES if name not in APART])
def test_what_is_no_json_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    file_name, text, (_, said) = CASES[name]  # type: ignore[misc]
    file = tmp_path / file_name
    file.write_bytes(text)
    with pytest.raises(SourceDataError) as caught:
        rows_of(file)
    assert said.lower() in caught.value.message.lower()
    assert file_name in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", APART)
def test_a_whole_run_ends_in_a_table_or_a_clear_error(name: str, tmp_path: Path) -> None:
    file_name, text, ends = CASES[name]
    file = tmp_path / file_name
    file.write_bytes(text)
    # of address space: large values and wide tables reserve far more of it than they use
    is_large = len(text) > 1 << 20 or name == "5,000 columns"
    said = load(file, gigabytes=8 if is_large else 3)
    if isinstance(ends, int):
        assert said.get("rows") == ends, said
    elif isinstance(ends, dict):
        assert {key: said.get(key) for key in ends} == ends, said
    else:
        assert said.get("error") == ends[0], said
        assert ends[1] in said["message"]
        assert said["hint"]
    assert said["megabytes"] < 2500


def test_integers_and_nul_arrive_digit_by_digit_and_byte_by_byte(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'{"n": 123456789012345678901234567890, "t": "a\\u0000b"}\n')
    said = load(file)
    assert "123456789012345678901234567890" in said["values"][0]
    assert r"a\x00b" in said["values"][0]


NAMES = ["'; DROP TABLE x; --", '"quoted"', "$(reboot)", "../../etc/passwd", "select", "%s", "{0}",
         "a\nb", "日本", "\\", "😀", "x" * 500, "--", "1", "`tick`"]  # fmt: skip


def test_names_like_sql_or_paths_become_columns(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps({"id": n, name: n}) + "\n" for n, name in enumerate(NAMES)))
    said = load(file)
    assert said["rows"] == len(NAMES), said
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == [
        "fuzz_db.duckdb",
        "schema.yaml",
        "x.jsonl",
    ]


def bomb(file: Path, start: bytes, filling: bytes, megabytes: int) -> None:
    if file.suffix == ".gz":
        with gzip.open(file, "wb", compresslevel=1) as packed:
            packed.write(start)
            for _ in range(megabytes):
                packed.write(filling)
        return
    with pa.CompressedOutputStream(pa.OSFile(str(file), "wb"), "zstd") as packed:
        packed.write(start)
        for _ in range(megabytes):
            packed.write(filling)


@pytest.mark.parametrize(
    ("name", "start", "limit"),
    [("x.json.zst", b"[", LARGEST_DOCUMENT), ("x.jsonl.gz", b'{"v": "', LONGEST_LINE)],
)
def test_a_small_file_that_unpacks_into_a_large_one_is_refused(
    name: str, start: bytes, limit: int, tmp_path: Path
) -> None:
    file = tmp_path / name
    bomb(file, start, b" " * (1 << 20), (limit >> 20) + 64)
    assert file.stat().st_size < limit / 150
    said = load(file)
    assert said.get("error") == "SourceDataError", said
    assert f"{limit >> 20} MB" in said["message"]
    assert said["hint"]
    assert said["megabytes"] * (1 << 20) < 4 * limit


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(st.lists(st.binary(max_size=40) | VALUES.map(lambda v: json.dumps(v).encode()), max_size=8))
@settings(max_examples=2000 if NIGHTLY else 100, deadline=None)
def test_any_lines_are_rows_or_an_error_that_names_the_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "x.jsonl"
    file.write_bytes(b"\n".join(lines))
    try:
        pages = rows_of(file)
    except SourceDataError as error:
        assert file.name in error.message  # noqa: PT017
        assert error.hint  # noqa: PT017
        return
    text = file.read_bytes()
    if b"\0" in text[:4] or is_spread(text):  # UTF-16, or one document over many lines
        return
    values = [json.loads(line) for line in text.split(b"\n") if line.strip()]
    assert sum(map(len, pages)) == sum(map(rows_in, values))


def rows_in(value: Any) -> int:
    """A list of objects is a row for each, any other value is one."""
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return len(value)
    return 1


@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=2000 if NIGHTLY else 100, deadline=None)
def test_any_document_is_rows_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, text: bytes
) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "x.json"
    file.write_bytes(text)
    try:
        rows_of(file)
    except SourceDataError as error:
        assert "x.json" in error.message  # noqa: PT017
