"""Files become rows: formats, compression, what is new, and what is wrong."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import dlt
import orjson
import pyarrow as pa
import pytest

from millstream import engine
from millstream.config import FilesConfig
from millstream.errors import ConfigError, SourceDataError, SourceNotFoundError
from millstream.sources import create
from millstream.sources.files import FilesSource
from millstream.sources.json_lines import blocks, plain


def source(folder: Path, pattern: str, **settings: Any) -> FilesSource:
    config = FilesConfig(streams={"items": {"path": pattern, **settings}})
    return FilesSource(config, project=folder)


def read(made: FilesSource) -> list[Any]:
    """What the source hands to dlt, as dlt writes it."""
    settings = made.config.streams["items"]
    rows = []
    for file in made._list("items", settings):
        for page in made._all_pages(file, settings):
            rows += orjson.loads(orjson.dumps(page))
    return rows


ROWS = [{"id": i, "text": "é" * i, "list": [{"n": i}]} for i in range(2500)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.ndjson", LINES.rstrip(b"\n")),
        ("a.jsonl.gz", gzip.compress(LINES[:1000]) + gzip.compress(LINES[1000:])),
        ("a.jsonl.zst", zstd(LINES)),
        ("a.json", json.dumps(ROWS).encode()),
        ("a.json.gz", gzip.compress(json.dumps(ROWS, indent=1).encode())),
        ("windows.jsonl", LINES.replace(b"\n", b"\r\n\r\n")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert read(source(tmp_path, name)) == ROWS


def test_a_json_object_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"id": 1}')
    assert read(source(tmp_path, "a.json")) == [{"id": 1}]


def test_the_format_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(LINES)
    assert len(read(source(tmp_path, "*.log", format="jsonl"))) == len(ROWS)
    with pytest.raises(ConfigError, match="neither"):
        read(source(tmp_path, "*.log"))


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (b'{"id": 1', 3),
        (b'{"id": 1} {"id": 2}', 3),
        (b'{"t": "\xff"}', 3),
        (b'{"t": "\\ud800"}', 3),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: bytes, line: int) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"id": 0}\n\n' + bad + b'\n{"id": 9}\n')
    with pytest.raises(SourceDataError, match=rf"a\.jsonl, line {line}: not JSON"):
        read(source(tmp_path, "a.jsonl"))


def test_a_bad_line_far_into_the_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millstream.sources.json_lines.BLOCK", 1000)
    (tmp_path / "a.jsonl").write_bytes(LINES + b"[1,\n")
    with pytest.raises(SourceDataError, match="line 2501"):
        read(source(tmp_path, "a.jsonl"))


def test_blocks_hold_whole_lines_in_order() -> None:
    text = b"a\nbb\n\nccc" * 3
    for size in range(1, 12):
        pieces = [text[i : i + size] for i in range(0, len(text), size)] + [b""]
        left = iter(pieces)
        found = list(blocks("file", lambda _, left=left: next(left)))
        assert b"".join(found) == text + b"\n"
        assert all(block.endswith(b"\n") for block in found)


def test_a_key_twice_in_a_line_that_is_looked_at_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"id": 0}\n[7]\n{"x": {"a": 1, "\\u0061": 2}}\n')
    with pytest.raises(SourceDataError, match=r"a\.jsonl, line 3: duplicate key `a`"):
        read(source(tmp_path, "a.jsonl"))


@pytest.mark.parametrize(
    ("text", "row"),
    [
        (b'[{"id": 1}, {"id": 2, "id": 3}]', 2),
        (b' {"x": [{"a": 1, "a": 1}]}', 1),
        (b'[{"n": 123456789012345678901234567890}, {"id": 2},\n {"id": 2, "id": 3}]', 3),
    ],
)
def test_a_key_twice_in_a_document_is_named(tmp_path: Path, text: bytes, row: int) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(SourceDataError, match=rf"a\.json, row {row}: duplicate key `\w+`"):
        read(source(tmp_path, "a.json"))


@pytest.mark.parametrize("block", [b"[1]\n", b"1\n", b"\n"])
def test_what_arrow_refuses_is_looked_at_again(tmp_path: Path, block: bytes) -> None:
    """Lines that are JSON, but not plain objects, are rows all the same."""
    (tmp_path / "a.jsonl").write_bytes(b'{"id": 0}\n' + block)
    expected = [orjson.loads(line) for line in block.splitlines() if line]
    assert read(source(tmp_path, "a.jsonl")) == [{"id": 0}, *expected]


def test_a_line_is_not_two(tmp_path: Path) -> None:
    found = plain(b'{"a":1}\n{"a":[{}]}\n')
    assert found is not None
    assert found.count == 2
    assert plain(b'{"a":1}\n[1]\n') is None
    (tmp_path / "a.jsonl").write_bytes(b'{"a":1} {"a":2}\n{"a":\n3}\n')
    with pytest.raises(SourceDataError, match="line 1"):
        read(source(tmp_path, "a.jsonl"))


def load(made: FilesSource, folder: Path, **kwargs: Any) -> dlt.Pipeline:
    pipeline = dlt.pipeline(
        "files",
        pipelines_dir=str(folder / "p"),
        destination=dlt.destinations.duckdb(str(folder / "x.duckdb")),
    )
    pipeline.run(made.open("items", **kwargs), loader_file_format="parquet")
    return pipeline


def ids(pipeline: dlt.Pipeline) -> list[int]:
    with (
        pipeline.sql_client() as client,
        client.execute_query("SELECT id FROM items ORDER BY 1") as c,
    ):
        return [row[0] for row in c.fetchall()]


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    for number in (2, 3):
        (tmp_path / f"{number}.jsonl").write_text(f'{{"id": {number}}}\n')
    made = source(tmp_path, "*.jsonl")
    load(made, tmp_path)
    # a file that comes late, with an older time than those that were read
    (tmp_path / "1.jsonl").write_text('{"id": 1}\n')
    os.utime(tmp_path / "1.jsonl", (1, 1))
    assert ids(load(made, tmp_path)) == [1, 2, 3]
    assert ids(load(made, tmp_path, full_refresh=True)) == [1, 2, 3]


def test_parts_hold_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the runner hands to dlt as whole files is what pages of rows are."""
    monkeypatch.setattr("millstream.sources.json_lines.BLOCK", 5_000)
    monkeypatch.setattr("millstream.sources.json_lines.PART_BYTES", 50_000)
    odd = b'{"id": -1, "text": "\\ud83d\\ude00"}\n[7]\n\n{"id": -2}\r\n'
    (tmp_path / "a.jsonl").write_bytes(LINES[:20_000].rpartition(b"\n")[0] + b"\n" + odd)
    (tmp_path / "b.jsonl").write_bytes(b"")
    (tmp_path / "c.json").write_text('[{"id": -3}]')
    config = FilesConfig(streams={"items": {"path": "*.json*"}})
    loaded = {}
    for name, in_parts in (("pages", False), ("parts", True)):
        made = FilesSource(config, project=tmp_path, in_parts=in_parts)
        folder = tmp_path / name
        folder.mkdir()
        with engine.enabled():
            pipeline = load(made, folder)
        assert not any((Path(pipeline.working_dir) / "parts").glob("*"))
        metrics = pipeline.last_trace.last_extract_info.metrics.values()
        tables = [each["table_metrics"] for found in metrics for each in found]
        counted = sum(found["items"].items_count for found in tables if "items" in found)
        with pipeline.sql_client() as client:
            columns = "id, text"
            rows = client.execute_sql(f"SELECT {columns} FROM items ORDER BY ALL")
        loaded[name] = rows, counted
    assert loaded["parts"] == loaded["pages"]
    assert {row[0] for row in loaded["parts"][0]} >= {-1, -2, -3}
    assert len(loaded["parts"][0]) == loaded["parts"][1]


def test_a_bad_line_in_parts_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES + b"[1,\n")
    config = FilesConfig(streams={"items": {"path": "a.jsonl"}})
    made = FilesSource(config, project=tmp_path, in_parts=True)
    with engine.enabled(), pytest.raises(Exception, match="line 2501"):
        load(made, tmp_path)
    assert not any((tmp_path / "p" / "files" / "parts").glob("*"))
    (tmp_path / "a.jsonl").write_bytes(LINES)
    with engine.enabled():
        assert ids(load(made, tmp_path)) == list(range(2500))


def test_a_changed_file_merges_or_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"id": 1}\n')
    appended, merged = source(tmp_path, "a.jsonl"), source(tmp_path, "a.jsonl", primary_key=["id"])
    load(merged, tmp_path)
    file.write_text('{"id": 1}\n{"id": 2}\n')
    with pytest.raises(Exception, match="would be doubled"):
        load(appended, tmp_path)
    assert ids(load(merged, tmp_path)) == [1, 2]


def test_links_are_the_files_that_they_lead_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "today").write_text('{"id": 1}\n')
    (tmp_path / "a.jsonl").symlink_to(elsewhere / "today")
    (tmp_path / "b.jsonl").write_text('{"id": 2}\n')
    (tmp_path / "c.jsonl").symlink_to(elsewhere, target_is_directory=True)
    assert read(source(tmp_path, "*.jsonl")) == [{"id": 1}, {"id": 2}]
    merged = source(tmp_path, "*.jsonl", primary_key=["id"])
    load(merged, tmp_path)
    (elsewhere / "today").write_text('{"id": 3}\n')  # the same size; the link stays as it was
    assert ids(load(merged, tmp_path)) == [1, 2, 3]


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(SourceNotFoundError, match=r"b\.jsonl is a link that leads nowhere"):
        source(tmp_path, "*.jsonl").open("items")


def test_what_reads_a_bucket_is_named_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match="Install s3fs") as error:
        source(tmp_path, "s3://bucket/*.jsonl").open("items")
    assert error.value.hint == "pip install s3fs"


def test_nothing_there(tmp_path: Path) -> None:
    made = source(tmp_path, "*.jsonl")
    with pytest.raises(SourceNotFoundError, match="no file fits"):
        made.open("items")
    (check,) = made.check()
    assert not check.ok
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (check,) = made.check()
    assert check.ok
    with pytest.raises(ConfigError, match="no such stream"):
        made.open("itms")


def test_the_configuration_makes_the_source() -> None:
    made = create(FilesConfig(streams={"items": {"path": "a.jsonl", "primary_key": ["id"]}}))
    (stream,) = made.streams()
    assert (stream.name, stream.primary_key) == ("items", ("id",))
