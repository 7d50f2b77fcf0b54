"""The first rows of packages that are normalized and not loaded, as they would be loaded."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.common.metadata_tables import is_own
from millstream.formats import copy_files

if TYPE_CHECKING:
    import dlt

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TableRows:
    """Some rows of a table.

    Attributes:
        rows: the first ones; of a child table those of its parent's first rows.
        parents: for each row the position of its parent among the parent's `rows`; empty for a
            root table.
    """

    name: str
    parent: str | None
    rows: tuple[Row, ...]
    parents: tuple[int, ...] = ()


def first_rows(pipeline: dlt.Pipeline, schema_name: str, limit: int) -> tuple[TableRows, ...]:
    """The first rows of each table, parents before their children.

    Args:
        limit: of each root table.
    """
    files = _files(pipeline)
    found: dict[str, TableRows] = {}
    schema = pipeline.schemas[schema_name]
    key, link = map(schema.naming.normalize_identifier, ("_dlt_id", "_dlt_parent_id"))
    for name, table in schema.tables.items():
        if name not in files or name.startswith("_dlt") or is_own(name):
            continue
        parent = table.get("parent")
        columns = {at: str(column.get("data_type")) for at, column in table["columns"].items()}
        rows = (row for file in files[name] for row in _read(file, columns))
        if parent is None:
            found[name] = TableRows(name, None, tuple(row for row, _ in zip(rows, range(limit))))
        elif parent in found:
            known = {row[key]: at for at, row in enumerate(found[parent].rows)}
            kept = [(known[row[link]], row) for row in rows if row.get(link) in known]
            kept.sort(key=lambda pair: pair[0])
            found[name] = TableRows(
                name, parent, tuple(row for _, row in kept), tuple(at for at, _ in kept)
            )
    return tuple(found.values())


def _files(pipeline: dlt.Pipeline) -> dict[str, list[Path]]:
    """The load files of each table, oldest first."""
    files: dict[str, list[Path]] = {}
    for load_id in pipeline.list_normalized_load_packages():
        for job in pipeline.get_load_package_info(load_id).jobs["new_jobs"]:
            files.setdefault(job.job_file_info.table_name, []).append(Path(job.file_path))
    return {table: sorted(of_table) for table, of_table in files.items()}


def _read(file: Path, columns: Mapping[str, str]) -> Iterator[Row]:
    """The rows of a load file; none of INSERT statements.

    Args:
        columns: dlt's data types, by name.
    """
    from dlt.common.storages import FileStorage

    kind = file.name.removesuffix(".gz").rpartition(".")[2]
    if kind == "parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(file).iter_batches(batch_size=1000):
            yield from batch.to_pylist()
    elif kind in ("jsonl", "csv"):
        with FileStorage.open_zipsafe_ro(str(file), "rb") as opened:
            if kind == "jsonl":
                empty = dict.fromkeys(columns)
                yield from ({**empty, **json.loads(line)} for line in opened)
            elif names := copy_files.columns(opened):
                yield from _copied(opened.read(), names, columns)


def _copied(text: bytes, names: list[str], columns: Mapping[str, str]) -> Iterator[Row]:
    """Rows for PostgreSQL's COPY, where text is quoted and null is not."""
    import pyarrow as pa
    from pyarrow import csv

    if not text:
        return
    kinds = {"bigint": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}
    table = csv.read_csv(
        io.BytesIO(text),
        csv.ReadOptions(column_names=names),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types={name: kinds.get(columns.get(name, ""), pa.string()) for name in names},
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )
    yield from table.to_pylist()
