"""Versions of one row in one load: one per primary key is loaded, whatever the destination.

dlt leaves the choice to the destination's SQL, which has no order. Here normalizing notes each root
row's key and its number in its extracted file. Where a key occurs more than once, the package is
normalized once more, without the rows that lost: their child rows never come into being.

    WORKING_DIR/engine/LOAD_ID/keys/EXTRACTED_FILE.arrow       the keys of a file, in reading order
                              /outdated/EXTRACTED_FILE.npy     the numbers of its rows that lost
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from millstream.engine.report import folder_of
from millstream.engine.version_order import joined, sort_columns, sorted_positions

_KEYS, _OUTDATED, _NUMBER = "keys", "outdated", "number"
_REFUSED = "refused"
"""Whether a row goes to quarantine: it is outdated by a later row that lands, and outdates none."""


@dataclass(frozen=True, slots=True)
class RowKey:
    """What makes two rows of a table versions of one row, and which of them is loaded.

    Attributes:
        columns: the primary key.
        sort: the column that orders versions (`dedup_sort`); reading order alone where None.
        descending: whether the highest value of `sort` is loaded, else the lowest.
        first: whether the first one read is loaded: a table that takes no updates.
        nulls_match: whether rows without a key are versions of each other, as in `delete-insert`.
    """

    columns: tuple[str, ...]
    sort: str | None = None
    descending: bool = True
    first: bool = False
    nulls_match: bool = True


def row_key(table: Mapping[str, Any], *, replaced: bool = False) -> RowKey | None:
    """The key of a table by its dlt schema; None where every row counts.

    Args:
        replaced: whether the key holds in tables that are replaced, too.
    """
    disposition = table.get("write_disposition")
    strategy = table.get("x-merge-strategy") or "delete-insert"
    columns = table["columns"]
    if disposition == "merge" and strategy == "scd2":  # keeps all versions, each of them once
        hash_of_row = [name for name, column in columns.items() if column.get("x-row-version")]
        return RowKey((*hash_of_row,), nulls_match=False) if hash_of_row else None
    merged = disposition == "merge"
    keys = tuple(name for name, column in columns.items() if column.get("primary_key"))
    if table.get("parent") or not keys or not (merged or (replaced and disposition == "replace")):
        return None
    sort = next((name for name, column in columns.items() if column.get("dedup_sort")), None)
    return RowKey(
        keys,
        sort=sort,
        descending=sort is None or columns[sort]["dedup_sort"] != "asc",
        first=merged and strategy == "insert-only",
        nulls_match=not merged or strategy == "delete-insert",
    )


@dataclass(slots=True)
class FileVersions:
    """One extracted file's rows: notes their keys, or knows which of them not to load.

    Rows are counted as they are read; `read` is the number of the next one.
    """

    key: RowKey
    target: Path
    table: str
    outdated: np.ndarray | None = None
    read: int = 0
    _parts: dict[str, list[pa.Array]] = field(default_factory=dict)
    _rows: list[tuple[int, bool, Mapping[str, Any]]] = field(default_factory=list)

    @property
    def notes(self) -> bool:
        """Whether keys are noted, this being the first time that the file is normalized."""
        return self.outdated is None

    def passed(self, rows: int) -> None:
        self.read += rows

    def has_outdated(self, rows: int) -> bool:
        """Whether any of the next rows is not to be loaded."""
        if self.outdated is None:
            return False
        start, end = np.searchsorted(self.outdated, (self.read, self.read + rows))
        return bool(start < end)

    def current(self, rows: int) -> list[bool]:
        """Which of the next rows to load; passes them."""
        keep = np.ones(rows, bool)
        if self.outdated is not None:
            start, end = np.searchsorted(self.outdated, (self.read, self.read + rows))
            keep[self.outdated[start:end] - self.read] = False
            self.read += rows
        return list(keep.tolist())

    def note_columns(self, columns: Mapping[str, pa.Array], rows: int) -> None:
        """Note the keys of the next rows, which are in columns; passes them."""
        self._flush()
        for name in self.names():
            array = columns.get(name)
            self._parts.setdefault(name, []).append(pa.nulls(rows) if array is None else array)
        self._parts.setdefault(_NUMBER, []).append(pa.array(np.arange(self.read, self.read + rows)))
        self._parts.setdefault(_REFUSED, []).append(pa.array(np.zeros(rows, bool)))
        self.read += rows

    def note_rows(self, rows: Sequence[Mapping[str, Any]], *, at: int = 0) -> None:
        """Note the keys of rows that landed; the first is the one at `at` of the next rows."""
        names = self.names()
        for position, row in enumerate(rows, self.read + at):
            self._rows.append((position, False, {name: row.get(name) for name in names}))

    def note_refused(self, row: Mapping[str, Any]) -> None:
        """Note the key of the next row, which goes to quarantine, if it has all of it."""
        needed = (*self.key.columns, *filter(None, [self.key.sort]))
        if all(row.get(name) is not None for name in needed):
            self._rows.append((self.read, True, {name: row.get(name) for name in self.names()}))

    def save(self) -> None:
        self._flush()
        if not self.notes or not self._parts:
            return
        columns = {name: joined(parts) for name, parts in self._parts.items()}
        table = pa.table(columns).replace_schema_metadata({"table": self.table})
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(self.target), "wb") as sink, pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table)

    def names(self) -> tuple[str, ...]:
        """The columns that are noted."""
        return (*self.key.columns, *sort_columns(self.key.sort))

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        for name in self.names():
            self._parts.setdefault(name, []).append(_column([row[name] for *_, row in rows]))
        numbers = pa.array([number for number, *_ in rows], pa.int64())
        self._parts.setdefault(_NUMBER, []).append(numbers)
        refused = pa.array([is_refused for _, is_refused, _ in rows], pa.bool_())
        self._parts.setdefault(_REFUSED, []).append(refused)


def file_versions(
    table: Mapping[str, Any] | None, load_folder: str, load_id: str, file: str
) -> FileVersions | None:
    """What is known of an extracted file's rows; None where all are loaded.

    Args:
        load_folder: dlt's, below which loads are kept.
    """
    # of tables that are replaced keys are noted as well: whether they count is decided later
    key = row_key(table, replaced=True) if table else None
    if key is None or table is None:
        return None
    folder, name = folder_of(Path(load_folder).parent, load_id), Path(file).name
    found = FileVersions(key, folder / _KEYS / f"{name}.arrow", str(table["name"]))
    if (folder / _OUTDATED).exists():
        outdated = folder / _OUTDATED / f"{name}.npy"
        found.outdated = np.load(outdated) if outdated.exists() else np.empty(0, np.int64)
    return found


def find_outdated(
    working_dir: Path,
    load_id: str,
    tables: Mapping[str, Mapping[str, Any]],
    order: Sequence[str],
    *,
    replaced: bool,
    arrow_files: Mapping[str, Sequence[Path]],
) -> bool:
    """Look for keys that occur more than once in a load, and write down which rows lost.

    `confirm_outdated` makes it count.

    Args:
        tables: of the dlt schema, by name.
        order: the names of the extracted files as they were written.
        replaced: whether keys hold in tables that are replaced.
        arrow_files: the extracted Parquet files of each table.

    Returns:
        Whether there are any. The load must be normalized anew then.
    """
    folder = folder_of(working_dir, load_id)
    if (folder / _OUTDATED).exists():  # normalized anew by now
        return False
    place = {name: number for number, name in enumerate(order)}
    noted: dict[str, dict[str, pa.Table]] = {}
    for path in folder.glob(f"{_KEYS}/*.arrow"):
        with pa.memory_map(str(path)) as source:
            keys = pa.ipc.open_file(source).read_all()
        noted.setdefault(keys.schema.metadata[b"table"].decode(), {})[path.stem] = keys
    for table, files in arrow_files.items():
        for path in files:
            noted.setdefault(table, {})[path.name] = _of_parquet(path, tables.get(table))
    lost: dict[str, np.ndarray] = {}
    for table, by_file in noted.items():
        key = row_key(tables[table], replaced=replaced) if table in tables else None
        if key is None:
            continue
        names = sorted(by_file, key=lambda name: (place.get(name, len(place)), name))
        keep = _current([by_file[name] for name in names], key)
        if keep is None:
            continue
        start = 0
        for name in names:
            rows = by_file[name]
            end = start + rows.num_rows
            numbers = rows.column(_NUMBER).to_numpy()[~keep[start:end]]
            if len(numbers):
                lost[name] = numbers
            start = end
    if not lost:
        return False
    aside = folder / f".{_OUTDATED}"
    aside.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    owner = {name: table for table, by_file in noted.items() for name in by_file}
    for name, numbers in lost.items():
        np.save(aside / f"{name}.npy", numbers)
        counts[owner[name]] += len(numbers)
    (aside / "counts.json").write_text(json.dumps(counts), encoding="utf-8")
    return True


def confirm_outdated(working_dir: Path, load_id: str) -> None:
    """From now on the load is normalized without the rows that `find_outdated` found."""
    folder = folder_of(working_dir, load_id)
    (folder / f".{_OUTDATED}").rename(folder / _OUTDATED)


def leave_out_of_parquet(working_dir: Path, load_id: str, path: Path) -> None:
    """Rewrite an extracted Parquet file without the rows that lost."""
    lost = folder_of(working_dir, load_id) / _OUTDATED / f"{path.name}.npy"
    if not lost.exists():
        return
    table = pq.read_table(path)
    keep = np.ones(table.num_rows, bool)
    keep[np.load(lost)] = False
    aside = path.with_name(f".{path.name}")
    pq.write_table(table.filter(pa.array(keep)), aside)
    aside.replace(path)  # never in place: the copy that was kept is the same file


def outdated_rows(working_dir: Path, load_ids: Sequence[str]) -> Counter[str]:
    """Rows by table that were not loaded, since a later one of the same load has their key."""
    counts: Counter[str] = Counter()
    for load_id in load_ids:
        with suppress(FileNotFoundError):
            file = folder_of(working_dir, load_id) / _OUTDATED / "counts.json"
            counts.update(json.loads(file.read_text(encoding="utf-8")))
    return counts


def _current(files: Sequence[pa.Table], key: RowKey) -> np.ndarray | None:
    """Which rows to load of all files together; None where no key occurs twice."""
    total = sum(each.num_rows for each in files)
    codes, unique = np.zeros(total, np.int64), 1
    missing = np.zeros(total, bool)
    for name in key.columns:
        array = joined([chunk for each in files for chunk in each.column(name).chunks])
        if pa.types.is_floating(array.type):
            array = pc.add(array, 0.0)  # to destinations -0.0 is 0.0
        if array.null_count:
            missing |= array.is_null().to_numpy(zero_copy_only=False)
        found = array.dictionary_encode(null_encoding="encode")
        own = found.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        if unique > 1:
            _, codes = np.unique(codes * len(found.dictionary) + own, return_inverse=True)
            unique = int(codes.max()) + 1 if total else 0
        else:
            codes, unique = own, len(found.dictionary)
    if unique == total:
        return None
    order = np.arange(total)
    if key.sort is not None:
        order = sorted_positions(files, key.sort, descending=key.descending)
    if key.first:
        order = order[::-1]
    refused = np.concatenate([_refused(each) for each in files]) if files else np.zeros(0, bool)
    landing = order[~refused[order]]
    winner = np.full(unique, -1, np.int64)
    winner[codes[landing]] = landing  # of equal codes the last one stays
    keep: np.ndarray = winner[codes] == np.arange(total)
    if refused.any():
        place = np.empty(total, np.int64)
        place[order] = np.arange(total)
        keep |= refused & ((winner[codes] < 0) | (place > place[winner[codes]]))
    if not key.nulls_match:
        keep |= missing
    return None if keep.all() else keep


def _refused(file: pa.Table) -> np.ndarray:
    if _REFUSED not in file.column_names:  # Arrow tables
        return np.zeros(file.num_rows, bool)
    return np.asarray(file.column(_REFUSED))


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, from_pandas=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _of_parquet(path: Path, table: Mapping[str, Any] | None) -> pa.Table:
    key = row_key(table, replaced=True) if table else None
    wanted = (*key.columns, *sort_columns(key.sort)) if key else ()
    file = pq.ParquetFile(path)
    found = file.read(columns=[name for name in wanted if name in file.schema_arrow.names])
    columns = {
        name: found.column(name) if name in found.column_names else pa.nulls(len(found))
        for name in wanted
    }
    rows = file.metadata.num_rows
    return pa.table({**columns, _NUMBER: np.arange(rows)})
