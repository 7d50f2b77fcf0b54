"""The filesystem destination where it is no folder: in a bucket, here fsspec's in memory."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millstream.cli import main


def test_tables_in_a_bucket_are_loaded_and_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No second load came through: what dlt asks of DuckDB to read a bucket, DuckDB 2 lacks."""
    bucket = f"lake{uuid4().hex[:8]}"
    attributes = {
        "name": "shop",
        "source": {"type": "files", "streams": {"orders": {"path": "*.jsonl"}}},
        "destination": {"type": "filesystem", "options": {"bucket_url": f"memory://{bucket}"}},
        "receipts": "all",
    }
    defs = {"type": "millstream.Pipeline", "attributes": attributes}
    (tmp_path / "defs.yaml").write_text(json.dumps(defs))
    for number, rows in enumerate(
        ([{"id": 1, "tags": ["a"]}], [{"id": 2, "more": 1.5}, {"id": "x"}])
    ):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{number}.jsonl").write_text(text)
        assert main(["run", str(tmp_path)]) == 0, capsys.readouterr()
        out = capsys.readouterr().out
        assert f"delivered: {len(rows)} row" in out
    assert main(["audit", str(tmp_path)]) == 0, capsys.readouterr()
    files = fsspec.filesystem("memory").glob(f"/{bucket}/shop/orders/*.parquet")
    tables = [
        pq.read_table(pa.BufferReader(fsspec.filesystem("memory").cat(file))) for file in files
    ]
    table = pa.concat_tables(tables, promote_options="default")
    found = {(row["id"], row["id__v_text"], row["more"]) for row in table.to_pylist()}
    assert found == {(1, None, None), (2, None, 1.5), (None, "x", None)}
