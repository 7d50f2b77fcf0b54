"""One load through dlt's normalize worker, by dlt's own normalizer or by the engine.

The worker function is dlt's own, with real storages on disk, real Parquet files and the schema
that it leaves behind. What a pipeline does around it (extraction, configuration, loading) is the
same for both and is left out, so that hundreds of cases run in seconds.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dlt
import pyarrow.parquet as pq
import pytest
from dlt.common.configuration.container import Container
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.json import json
from dlt.common.normalizers.json.helpers import get_nested_row_hash
from dlt.common.schema import Schema
from dlt.common.storages import (
    LoadStorage,
    LoadStorageConfiguration,
    NormalizeStorage,
    NormalizeStorageConfiguration,
)
from dlt.normalize import worker
from dlt.normalize.configuration import NormalizeConfiguration
from dlt.normalize.items_normalizers import JsonLItemsNormalizer
from dlt.normalize.validate import reconcile_null_only_columns, validate_and_update_schema

from millstream.engine.dlt import normalizer
from millstream.engine.dlt.rules import DltRules
from millstream.formats import engine_mode

# a case makes and removes dozens of small files: in memory that takes a fifth less time in all
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
LOAD_ID = "1700000000.5"
TOO_LARGE = "an integer beyond 64 bits"


def capabilities(max_length: int | None = None) -> DestinationCapabilitiesContext:
    """DuckDB's, loaded by Parquet, with identifiers as short as asked for."""
    caps = dlt.destinations.duckdb().capabilities()
    caps.preferred_loader_file_format = "parquet"
    caps.supported_loader_file_formats = ["parquet", "insert_values", "jsonl"]
    if max_length:
        caps.max_identifier_length = caps.max_column_identifier_length = max_length
    return caps


@dataclass(frozen=True)
class Case:
    """What is loaded, and how the schema was set up before the first load.

    Attributes:
        loads: per load, per extracted file, per line of it: the items; or the file as it is.
        resource: arguments of `dlt.resource`, such as `columns` or `write_disposition`.
        settings: `preferred_types`, `detections`, `excludes`.
    """

    loads: Sequence[Sequence[Sequence[Sequence[Any]] | bytes]]
    resource: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    max_length: int | None = None
    batch: int = 2000


@dataclass
class Outcome:
    """What a load left: rows by table in order, the schema, or the error."""

    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    types: dict[str, dict[str, str]] = field(default_factory=dict)
    schema: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)
    null_only: dict[str, list[str]] = field(default_factory=dict)
    error: str | None = None


@contextmanager
def engine(on: bool, batch: int) -> Iterator[None]:
    """dlt's worker with or without the engine, in batches so small that their edges matter."""
    before = worker.JsonLItemsNormalizer, normalizer.BATCH, normalizer.SMALLEST
    mode = engine_mode.current()
    engine_mode.replace(replace(mode, is_run=False))  # as for `accelerate()`: dlt's own result
    worker.JsonLItemsNormalizer = normalizer.ColumnarNormalizer if on else JsonLItemsNormalizer
    normalizer.BATCH = batch
    normalizer.SMALLEST = 1 if batch < 100 else 16
    try:
        yield
    finally:
        engine_mode.replace(mode)
        worker.JsonLItemsNormalizer, normalizer.BATCH, normalizer.SMALLEST = before


def run(case: Case, folder: Path, *, columnar: bool) -> list[Outcome]:
    """Every load of the case, one after the other on one schema; ends at the first error."""
    caps = capabilities(case.max_length)
    with Container().injectable_context(caps):
        schema = _schema(case)
    outcomes = []
    for number, files in enumerate(case.loads):
        place = folder / f"{columnar}-{number}"
        try:
            outcome, schema = _load(case, schema, files, caps, place, columnar)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        outcomes.append(outcome)
        if outcome.error:
            break
    return outcomes


def _schema(case: Case) -> Schema:
    schema = Schema("parity")
    settings = dict(case.settings)
    if preferred := settings.pop("preferred_types", None):
        schema.update_preferred_types(preferred)
    if detections := settings.pop("detections", None):
        for detection in detections:
            schema.add_type_detection(detection)
    if contract := settings.pop("schema_contract", None):
        schema.set_schema_contract(contract)
    excludes = settings.pop("excludes", None)
    assert not settings
    resource = dlt.resource([], name="items", **case.resource)
    table = resource.compute_table_schema()
    schema.update_table(table)
    for nested in resource.compute_nested_table_schemas("items", schema.naming):
        schema.update_table(nested)
    if excludes:
        schema.tables["items"]["filters"] = {"excludes": excludes}
    return Schema.from_stored_schema(schema.to_dict())


def _load(
    case: Case,
    schema: Schema,
    files: Sequence[Sequence[Sequence[Any]] | bytes],
    caps: DestinationCapabilitiesContext,
    place: Path,
    columnar: bool,
) -> tuple[Outcome, Schema]:
    normalize_config = NormalizeStorageConfiguration(normalize_volume_path=str(place / "normalize"))
    load_config = LoadStorageConfiguration(load_volume_path=str(place / "load"))
    extracted = NormalizeStorage(True, normalize_config).extracted_packages
    extracted.create_package(LOAD_ID)
    load_storage = LoadStorage(True, LoadStorage.ALL_SUPPORTED_FILE_FORMATS, load_config)
    load_storage.new_packages.create_package(LOAD_ID)
    names = []
    for number, lines in enumerate(files):
        name = f"{LOAD_ID}/new_jobs/items.file{number}.0.typed-jsonl"
        if isinstance(lines, bytes):
            content = lines
        else:
            content = b"".join(json.typed_dumpb(list(items)) + b"\n" for items in lines)
        Path(extracted.storage.make_full_path(name)).write_bytes(content)
        names.append(name)
    config = NormalizeConfiguration(destination_capabilities=caps)
    config.workers = 1
    outcome = Outcome()
    with engine(columnar, case.batch):
        try:
            result = worker.w_normalize_files(
                config, normalize_config, load_config, deepcopy(schema.to_dict()), LOAD_ID, names
            )
            with Container().injectable_context(caps):
                schema = Schema.from_stored_schema(deepcopy(schema.to_dict()))
                validate_and_update_schema(schema, result.schema_updates)
        except Exception as error:
            cause = error.__cause__ or error
            outcome.error = type(cause).__name__
            # dlt's one failure that the engine does not share: docs/explanation/engine.md
            if "int too large to convert" in f"{error} {cause}":
                outcome.error = TOO_LARGE
            return outcome, schema
    outcome.schema = deepcopy(schema.to_dict()["tables"])
    outcome.columns = {name: list(table["columns"]) for name, table in outcome.schema.items()}
    outcome.null_only = {
        name: [c["name"] for c in columns]
        for name, columns in reconcile_null_only_columns(schema, result.null_only_columns).items()
    }
    for metrics in sorted(result.file_metrics, key=lambda m: m.created):
        table = Path(metrics.file_path).name.split(".")[0]
        content = pq.read_table(metrics.file_path)
        assert content.num_rows == metrics.items_count
        outcome.tables.setdefault(table, []).extend(content.to_pylist())
        outcome.types.setdefault(table, {}).update(
            {f.name: f"{f.type}{'' if f.nullable else ' not null'}" for f in content.schema}
        )
    for table in outcome.tables:
        x_normalizer = schema.tables[table].setdefault("x-normalizer", {})
        x_normalizer.pop("evolve-columns-once", None)
        x_normalizer["seen-data"] = True
    _canonical(outcome, random_ids=not _deterministic(case))
    return outcome, schema


def _deterministic(case: Case) -> bool:
    disposition = case.resource.get("write_disposition")
    return isinstance(disposition, dict) and disposition.get("strategy") in ("upsert", "scd2")


def _canonical(outcome: Outcome, *, random_ids: bool) -> None:
    """Put positions for ids that are random, after checking each link between rows."""
    if "items" not in outcome.tables:
        return
    for table, rows in outcome.tables.items():
        for row in rows:
            if (parent := row.get("_dlt_parent_id")) is not None and random_ids:
                # a hash of the parent's id, the table and the position, where dlt's is
                expected = get_nested_row_hash(parent, table, row["_dlt_list_idx"])
                row["id is the hash"] = row["_dlt_id"] == expected
    if not random_ids:
        return
    known: dict[str, str] = {}
    for table, rows in sorted(outcome.tables.items(), key=lambda item: item[0] != "items"):
        if table != "items":
            continue
        for number, row in enumerate(rows):
            # the data may bring ids, twice as well: rows that share one do so on both sides
            known.setdefault(row["_dlt_id"], f"row {number}")
    # rows that carry ids of their own stay as they are, and so do their nested rows
    found = True
    while found:
        found = False
        for name, rows in outcome.tables.items():
            for row in rows:
                parent = known.get(row.get("_dlt_parent_id"))
                if parent is not None and row["_dlt_id"] not in known:
                    known[row["_dlt_id"]] = f"{parent}/{name}/{row['_dlt_list_idx']}"
                    found = True
    for rows in outcome.tables.values():
        for row in rows:
            for link in ("_dlt_id", "_dlt_parent_id", "_dlt_root_id"):
                if row.get(link) in known:
                    row[link] = known[row[link]]


def compare(case: Case, folder: Path) -> tuple[list[Outcome], list[Outcome]]:
    """Run the case both ways and assert that nothing differs."""
    expected = run(case, folder, columnar=False)
    with pytest.MonkeyPatch.context() as patch:
        moved = _notice(patch, DltRules, "too_large")
        found = run(case, folder, columnar=True)
    for number, (theirs, ours) in enumerate(zip(expected, found)):
        # an integer beyond 64 bits fails dlt's load, or another value does before it is written
        if theirs.error == TOO_LARGE or (theirs.error and moved):
            return expected, found
        assert ours.error == theirs.error, f"load {number}"
        if theirs.error:
            continue
        assert ours.schema == theirs.schema
        assert ours.columns == theirs.columns
        assert ours.null_only == theirs.null_only
        assert ours.types == theirs.types
        assert set(ours.tables) == set(theirs.tables)
        for table, rows in theirs.tables.items():
            assert _filled(ours.tables[table]) == _filled(rows), table
    assert len(expected) == len(found)
    return expected, found


def _notice(patch: pytest.MonkeyPatch, owner: type, name: str) -> list[str]:
    """One entry for each call of a method from now on."""
    calls: list[str] = []
    method = getattr(owner, name)

    def noticed(self: Any, *args: Any) -> Any:
        calls.append(name)
        return method(self, *args)

    patch.setattr(owner, name, noticed)
    return calls


def _filled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # files that were begun before a column was added do not have it
    return [{k: "NaN" if v != v else v for k, v in row.items() if v is not None} for row in rows]
