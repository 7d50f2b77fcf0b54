"""What a pipeline that keeps its schemas answers is what dlt would read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.storages.live_schema_storage import LiveSchemaStorage

from millstream.dlt_compat import schema_files


def pipeline(folder: Path) -> dlt.Pipeline:
    made = dlt.pipeline("shop", pipelines_dir=str(folder), destination="duckdb")
    made.schemas.save_schema(dlt.Schema("orders"))
    schema_files.read_once(made)
    return made


def changed(schema: dlt.Schema, table: str) -> dlt.Schema:
    copy = schema.clone()
    copy.update_table({"name": table, "columns": {"id": {"name": "id", "data_type": "bigint"}}})
    return copy


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = pipeline(tmp_path).schemas
    read = []
    load = LiveSchemaStorage.load_schema

    def noted(self: LiveSchemaStorage, name: str) -> dlt.Schema:
        read.append(name)
        return load(self, name)

    monkeypatch.setattr(LiveSchemaStorage, "load_schema", noted)
    first = storage["orders"]
    assert storage["orders"] is first
    assert read == ["orders"]
    storage.save_schema(changed(first, "a"))
    assert {"a"} < {*storage["orders"].tables}
    assert storage["orders"] is first
    assert read == ["orders"] * 2


def test_what_another_object_wrote_is_read(tmp_path: Path) -> None:
    ours = pipeline(tmp_path)
    known = ours.schemas["orders"]
    other = dlt.attach("shop", pipelines_dir=str(tmp_path))
    other.schemas.save_schema(changed(known, "a"))
    assert "a" in ours.schemas["orders"].tables
    assert ours.schemas["orders"] is known


def test_what_is_not_saved_stays_as_it_is(tmp_path: Path) -> None:
    """And what was saved elsewhere, under a hash of its own, gives way to the file."""
    storage: Any = pipeline(tmp_path).schemas
    live = storage["orders"]
    live.update_table(changed(live, "b").tables["b"])
    assert "b" in storage["orders"].tables
    storage.save_schema(live)
    assert storage["orders"] is live
    elsewhere: Any = changed(live, "c").to_dict()
    storage.set_live_schema(dlt.Schema.from_dict(elsewhere))
    assert "c" not in storage["orders"].tables
    assert "b" in storage["orders"].tables


def test_another_dlt_reads_as_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveSchemaStorage, "__getitem__", lambda self, name, more=1: None)
    assert type(pipeline(tmp_path).schemas) is LiveSchemaStorage
