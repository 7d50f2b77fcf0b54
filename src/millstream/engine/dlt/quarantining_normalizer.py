"""dlt's own normalizer, watched: what it would discard or refuse is quarantined, not lost.

A chunk of rows goes through dlt's code as ever, into a buffer. Where nothing of it was discarded or
refused, the buffer is written, and that was all. Else the schema is put back as it was, and the
rows go again one by one, so that each lands whole, in part, or in quarantine, and no change of the
schema stays that only a row made which did not land.
"""

from __future__ import annotations

import gzip
import io
import json as plain_json
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from copy import deepcopy
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
from dlt.common.data_types import py_type_to_sc_type
from dlt.common.data_writers.writers import ParquetDataWriter
from dlt.common.json import json, may_have_pua
from dlt.common.libs.pyarrow import get_py_arrow_datatype
from dlt.common.normalizers.json.relational import DataItemNormalizer
from dlt.common.schema.utils import has_table_seen_data, is_dlt_table_or_column
from dlt.common.time import get_context_timezone_name

from millstream.common.metadata_tables import is_own
from millstream.engine import nested_columns
from millstream.engine.coercion_rules import ColumnLimits, coerce
from millstream.engine.column_batch import ColumnBatch
from millstream.engine.dlt.exact_normalizer import ExactNormalizer, RefusedValueError
from millstream.engine.dlt.key_collisions import Finder
from millstream.engine.dlt.named_flatten import keep_columns_free, name_keys
from millstream.engine.dlt.parquet_writer import ColumnarParquetWriter
from millstream.engine.dlt.row_refusals import (
    NOT_QUARANTINED_HINT,
    ROW_ERRORS,
    UnloadableError,
    check_apart,
    check_complete,
    missing_key,
    refusal,
    refuse_unreadable,
)
from millstream.engine.dlt.schema_rollback import Buffer, rollback_on_error
from millstream.engine.row_columns import column_of_rows
from millstream.engine.schema_size import check_schema_size, check_table_names
from millstream.engine.stats import FileStats
from millstream.engine.tables import LinkNames
from millstream.engine.versions import FileVersions, file_versions
from millstream.errors import SourceDataError
from millstream.formats import duplicate_keys, raw_part, typed_json
from millstream.formats.deletions import deletion_column
from millstream.formats.json_path import spelled, variant_base
from millstream.formats.key_names import KeyNames
from millstream.model import Decision
from millstream.quarantine import entry, envelope
from millstream.quarantine.entry import Rejection, path_of

_READ = 1 << 24
LONG_INTEGER = re.compile(rb"[0-9]{19}")
_EVOLVES = {"tables": "evolve", "columns": "evolve", "data_type": "evolve"}


class _OneByOne(Exception):  # noqa: N818
    """Something of a chunk was discarded: its rows must be tried one by one."""


class _Refused(Exception):  # noqa: N818
    """The policy keeps a row out."""

    def __init__(self, decision: Decision, problem: Rejection) -> None:
        self.decision = decision
        self.problem = problem
        super().__init__(problem.detail)


class _Noticing(set[str]):
    """The tables that contracts discard; tells each time that a row of one comes."""

    def __init__(self, noticed: Any) -> None:
        super().__init__()
        self._noticed = noticed

    def __contains__(self, table: object) -> bool:
        found = super().__contains__(table)
        if found:
            self._noticed(table)
        return found


class WatchedNormalizer(ExactNormalizer):
    """A drop-in for dlt's `JsonLItemsNormalizer`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watch = self._rules_of_rows.quarantine
        self._stats: FileStats | None = None
        self._root = ""
        self._hits: list[Rejection] = []
        self._entries: list[dict[str, Any]] = []
        self._suspicious = False
        self._place: tuple[str, int] | None = None
        self._header: raw_part.Header | None = None
        self._collisions: Finder | None = None
        self._versions: FileVersions | None = None
        self._current: list[bool] | None = None
        self.key_names: KeyNames | None = None
        self.dialect: str | None = None
        self._nulls: dict[str, Counter[str]] = {}
        self._alike: Counter[str] = Counter()
        self._tried: Mapping[str, Any] = {}
        self._link_names: LinkNames | None = None
        if isinstance(self.schema.data_item_normalizer, DataItemNormalizer):
            self._collisions = Finder(self.schema.data_item_normalizer)
            self._link_names = LinkNames.of_normalizer(self.schema.data_item_normalizer)
        if self._watch is not None:
            self._filtered_tables = _Noticing(self._hit_table)

    def __call__(self, extracted_items_file: str, root_table_name: str) -> list[Any]:
        if root_table_name in self.schema.dlt_table_names():
            return super().__call__(extracted_items_file, root_table_name)
        self._stats = FileStats(extracted_items_file)
        self._alike = Counter()
        self._root = root_table_name
        self._header = self._header_of(extracted_items_file)
        self._versions = self._versions_of(extracted_items_file, root_table_name)
        # without statistics dlt's own result counts
        self.dialect = self._caps.sqlglot_dialect if self._caps and self._is_run else None
        keep_columns_free(self.schema.data_item_normalizer, self.dialect)
        if self._rules_of_rows.names_keys and not is_own(root_table_name):
            self._name_keys(root_table_name)
        updates = self._file(extracted_items_file, root_table_name)
        self._remember_names(updates)
        if self._versions is not None:
            self._versions.save()
        self._stats.save(self.load_storage.config.load_volume_path, self.load_id)
        return updates

    def _versions_of(self, file: str, root: str) -> FileVersions | None:
        if not self._is_run:  # dlt's own result counts
            return None
        table = self.schema.tables.get(root)
        volume = self.load_storage.config.load_volume_path
        return file_versions(table, volume, self.load_id, file)

    def _name_keys(self, root: str) -> None:
        """Let our names be those of the root's keys, in dlt's code as in the engine's."""
        if self.key_names is None or self.key_names.root != root:
            self.key_names = KeyNames.of(self.schema, root, self.dialect)
            if self.config.workers and self.config.workers > 1:
                volume = Path(self.load_storage.config.load_volume_path)
                self.key_names.share(volume.parent / f"names-{self.load_id}.jsonl")
            self._collisions = None  # no two keys share a name any more
            name_keys(self.schema.data_item_normalizer, self.key_names, self.dialect)

    def _remember_names(self, updates: list[Any]) -> None:
        names = self.key_names
        if names is None or names.root not in self.schema.tables:
            return
        if hints := names.new():
            partial: Any = {"name": names.root, "columns": {}, **hints}
            self.schema.update_table(partial, normalize_identifiers=False)
            updates.append({names.root: [partial]})

    def _file(self, extracted_items_file: str, root: str) -> list[Any]:
        """dlt's own `__call__`, with each line at hand."""
        updates = []
        line_no = None
        storage = self.normalize_storage.extracted_packages.storage
        with storage.open_file(extracted_items_file, "rb") as file:
            # lines are megabytes long: a small buffer would put each together from hundreds of
            # pieces
            lines = io.BufferedReader(file, _READ) if isinstance(file, gzip.GzipFile) else file
            if isinstance(file, io.BufferedReader):
                lines = io.BufferedReader(file.raw, _READ)
            with closing(self._updates(root, lines)) as found:
                for line_no, update in enumerate(found):  # noqa: B007
                    self._maybe_cancel()
                    updates.append(update)
            writer = self.item_storage.get_active_writer(self.load_id, self.schema.name, root)[1]
            if root in self.schema.tables and writer is None:
                seen = has_table_seen_data(self.schema.tables[root])
                if line_no is None or seen:
                    if not seen:
                        updates.append(super()._normalize_chunk(root, [{}], False, skip_write=True))
                    self.item_storage.write_empty_items_file(
                        self.load_id, self.schema.name, root, self.schema.get_table_columns(root)
                    )
        return updates

    def _header_of(self, extracted_items_file: str) -> raw_part.Header | None:
        storage = self.normalize_storage.extracted_packages.storage
        with storage.open_file(extracted_items_file, "rb") as file:
            start = file.read(len(raw_part.MARK))
            return raw_part.header(start + file.readline()) if start == raw_part.MARK else None

    def _updates(self, root: str, file: IO[bytes]) -> Generator[dict[str, Any]]:
        """Normalize what a file holds, piece by piece; the changes of the schema by each."""
        header = self._header
        if header is None or header.form != "lines":
            return (self._watched_line(root, line) for line in file)
        file.readline()
        listed = header.listed()
        lines = (line for block in raw_part.blocks(file) for line in listed(block))
        return (self._watched_line(root, line) for line in lines)

    def _watched_line(self, root: str, line: bytes) -> dict[str, Any]:
        if place := envelope.placed(line):
            self._place = place
            return {}
        self._suspicious = self._watch is not None and envelope.MARK in line
        found = self._line(root, line)
        self._place = None
        return found

    def _line(self, root: str, line: bytes) -> dict[str, Any]:
        updates: dict[str, list[Any]] = {}
        items, line = self._decoded(root, line, updates)
        if self._coercion is not None and LONG_INTEGER.search(line):
            items = self._exactly(line)
        add(updates, self._normalize_chunk(root, items, self._has_marks(line), False))
        return updates

    def _has_marks(self, line: bytes) -> bool:
        """Whether texts may be marked as values of other types; JSON from files has no marks."""
        is_plain = self._header is not None and self._header.form == "lines"
        return not is_plain and may_have_pua(line)

    def _decoded(
        self, root: str, line: bytes, updates: dict[str, list[Any]]
    ) -> tuple[list[Any], bytes]:
        """The rows of a line, and their text; without those that have a key twice.

        The text still has the rows that later ones replace: `_current` tells them.

        Raises:
            SourceDataError: there is such a row, and it is not to be quarantined.
        """
        items: list[Any] = json.loadb(line)
        # without either it is dlt's result that counts: the last one's value
        is_told = self._watch is not None or self._is_run
        if is_told and self._watch is None and envelope.MARK in line:
            refuse_unreadable(root, items)
        if not is_told or not duplicate_keys.lost(line, items):
            return self._without_outdated(items), line
        kept, texts = [], []
        for number, (item, (text, key)) in enumerate(
            zip(items, duplicate_keys.rows(line.decode()))
        ):
            if key is None:
                kept.append(item)
                texts.append(text)
                continue
            path, first = self._place or ("", 0)
            origin = f"{path}, line {first + number}" if path else ""
            if self._watch is None:
                raise SourceDataError(
                    f"{origin or root}: {duplicate_keys.describe(key)}",
                    hint=NOT_QUARANTINED_HINT,
                )
            problem = Rejection("unreadable", duplicate_keys.describe(key), root)
            self._put_aside(root, [problem], text, origin, is_text=True)
        if self._stats is not None:
            self._stats.count("dlt", len(items) - len(kept))
        self._keep(updates)
        return self._without_outdated(kept), f"[{','.join(texts)}]".encode()

    def _exactly(self, text: bytes) -> list[Any]:
        """The rows of a decoded line again: orjson makes floats of integers beyond 64 bits."""
        items: list[Any] = plain_json.loads(text)
        return items if self._current is None else list(compress(items, self._current))

    def _without_outdated(self, items: list[Any]) -> list[Any]:
        """Rows, without those that a later row of the load replaces."""
        self._current = None
        versions = self._versions
        if versions is None or versions.notes:
            return items
        if not versions.has_outdated(len(items)):
            versions.passed(len(items))
            return items
        self._current = versions.current(len(items))
        return list(compress(items, self._current))

    def _normalize_chunk(
        self, root_table_name: str, items: list[Any], may_have_pua: bool, skip_write: bool
    ) -> Any:
        if self._watch is None or self._stats is None or skip_write:
            if self._stats is None or skip_write:
                return super()._normalize_chunk(root_table_name, items, may_have_pua, skip_write)
            if len(items) > 1 and self._notes_keys() and self._discards_rows(root_table_name):
                # which of them land must be known
                each: dict[str, list[Any]] = {}
                for item in items:
                    add(each, self._normalize_chunk(root_table_name, [item], may_have_pua, False))
                return each
            self._stats.count("dlt", len(items))
            suspects = self._suspects(items)
            try:
                with self._complete_rows(root_table_name) as buffer:
                    found = super()._normalize_chunk(root_table_name, items, may_have_pua, False)
                    self._check_apart(suspects, buffer)
            except RefusedValueError as error:
                raise SourceDataError(str(error), hint=NOT_QUARANTINED_HINT) from None
            if buffer is not None:
                self._write_buffer(buffer)
            self._note_landed(len(items))
            self._count_twins(root_table_name, suspects)
            return found
        updates: dict[str, list[Any]] = {}
        if not self._suspicious:
            try:
                suspects = self._suspects(items)
                with self._trial() as buffer:
                    found = super()._normalize_chunk(root_table_name, items, may_have_pua, False)
                    if self._hits:
                        raise _OneByOne
                    check_complete(self.schema, buffer, self.dialect)
                    self._check_apart(suspects, buffer)
            except (_OneByOne, _Refused, *ROW_ERRORS):
                pass
            else:
                self._write_buffer(buffer)
                self._note_landed(len(items))
                self._count_twins(root_table_name, suspects)
                self._stats.count("dlt", len(items))
                return found
        for item in items:
            self._one(root_table_name, item, may_have_pua, updates)
            self._note_landed(1)
        self._stats.count("dlt", len(items))
        self._keep(updates)
        return updates

    def _one(self, root: str, item: Any, pua: bool, updates: dict[str, list[Any]]) -> None:
        assert self._watch is not None
        assert self._stats is not None
        if not envelope.is_one(item):
            problems, document = self._row(root, item, pua, updates)
            if problems:
                if problems[0].whole:
                    self._note_refused()
                # which line it was, nobody counts: a line may be a list, or be blank
                self._put_aside(root, problems, document, self._place[0] if self._place else "")
            return
        found = item[envelope.KEY]
        if "unreadable" in found:
            problem = Rejection("unreadable", found["unreadable"], root)
            self._put_aside(root, [problem], found["text"], found["origin"], is_text=True)
            return
        if "refused" in found:
            problem = Rejection("refused", found["refused"], root, found["path"])
            self._put_aside(root, [problem], item["row"], found.get("origin", ""))
            return
        if "superseded" in found:
            self._entries.append(entry.closed(found["superseded"], "superseded"))
            self._stats.outcomes[found.get("outcome", "superseded")] += 1
            return
        problems, document = self._row(root, item["row"], pua, updates)
        if problems:
            self._stats.count_quarantined(problems)
            told = self._by_source_keys(problems)
            self._entries.append(entry.again(self._watch, found["replay"], told, document))
        else:
            self._entries.append(entry.closed(found["replay"], "replayed"))
        self._stats.outcomes["waiting" if problems else "replayed"] += 1

    def _row(
        self, root: str, row: Any, pua: bool, updates: dict[str, list[Any]]
    ) -> tuple[list[Rejection], Any]:
        """Land a row; what of it could not land, and the row to keep for that."""
        assert self._watch is not None
        assert self._stats is not None
        kept = deepcopy(row) if pua else row  # dlt decodes in place what stays whole
        suspects = self._suspects([row])
        self._tried = {}
        try:
            with self._trial() as buffer:
                found = super()._normalize_chunk(root, [row], pua, False)
                check_complete(self.schema, buffer, self.dialect)
                self._check_apart(suspects, buffer)
        except _Refused as refused:
            self._stats.refuse(refused.decision)
            return [refused.problem], kept
        except ROW_ERRORS as error:
            return [refusal(self.schema.tables, root, error)], kept
        self._write_buffer(buffer)
        add(updates, found)
        if not self._hits:  # else it is kept in quarantine
            self._count_twins(root, suspects)
        whole = root not in buffer.rows
        return [replace(problem, whole=whole) for problem in self._hits], kept

    @contextmanager
    def _complete_rows(self, root: str) -> Iterator[Buffer | None]:
        """Without quarantine: refuse a chunk with a row that the destination would refuse.

        Raises:
            SourceDataError: names the table and the column.
        """
        if not self._is_run:  # dlt's own result counts
            yield None
            return
        storage, buffer = self.item_storage, Buffer()
        self.item_storage, self._nulls = cast("Any", buffer), {}
        try:
            yield buffer
            check_complete(self.schema, buffer, self.dialect)
        except (UnloadableError, KeyError) as error:
            if isinstance(error, KeyError):
                error = missing_key(self.schema.tables, root, error)
            raise SourceDataError(str(error), hint=NOT_QUARANTINED_HINT) from None
        finally:
            self.item_storage = storage

    def _suspects(self, rows: list[Any]) -> list[Any]:
        return self._collisions.suspects(rows) if self._collisions else []

    def _check_apart(self, suspects: list[Any], buffer: Buffer | None) -> None:
        if suspects and buffer is not None:
            normalizer: Any = self.schema.data_item_normalizer
            check_apart(buffer, normalizer.c_dlt_id)

    def _count_twins(self, root: str, rows: list[Any]) -> None:
        if rows and self._collisions and self._stats:
            self._stats.collisions.update(self._collisions.count(root, rows))

    def _put_aside(
        self,
        root: str,
        problems: list[Rejection],
        document: Any,
        origin: str = "",
        *,
        is_text: bool = False,
    ) -> None:
        assert self._watch is not None
        assert self._stats is not None
        number = self._stats.count_quarantined(problems)
        table = self.schema.tables.get(root, {})
        if not is_text and self._header is not None and self._header.form == "lines":
            document = typed_json.escape(document)
        # those of a file are closed when it is read again
        is_again = (
            not origin
            and table.get("write_disposition") == "merge"
            and any(column.get("primary_key") for column in table["columns"].values())
        )
        made = entry.make(
            self._watch,
            self._by_source_keys(problems),
            document,
            load_id=self.load_id,
            position=None if is_again else f"{Path(self._stats.file).name}:{number}",
            disposition=self._watch.disposition or table.get("write_disposition") or "append",
            origin=origin,
            is_text=is_text,
        )
        same = made["id"]
        if self._alike[same]:  # the same row twice in one file is two
            made["id"] = entry.identity(same, str(self._alike[same]))
        self._alike[same] += 1
        self._entries.append(made)

    def _by_source_keys(self, problems: Sequence[Rejection]) -> list[Rejection]:
        """Problems whose paths are those of the document that is kept, not of its columns."""
        names = self.key_names
        if names is None:
            return [*problems]
        return [replace(each, path=spelled(each.path, names.key)) for each in problems]

    def _keep(self, updates: dict[str, list[Any]]) -> None:
        """Write what was quarantined to its table, through dlt's normalizer as it is."""
        rows, self._entries = self._entries, []
        if not rows:
            return
        table = self.schema.naming.normalize_tables_path(entry.TABLE)
        if table not in self.schema.tables:
            columns = {
                name: {"name": name, "data_type": data_type, "nullable": True}
                for name, data_type in entry.COLUMNS.items()
            }
            made: Any = {
                "name": entry.TABLE,
                "columns": columns,
                "write_disposition": "append",
                # of no stream: a full refresh of one must not empty what belongs to all
                "resource": entry.TABLE,
                "schema_contract": dict(_EVOLVES),
            }
            made = self.schema.update_table(made)
            updates.setdefault(table, []).append(made)
        add(updates, super()._normalize_chunk(table, rows, False, False))

    def _notes_keys(self) -> bool:
        return self._versions is not None and self._versions.notes

    def _note_landed(self, rows: int) -> None:
        """The next rows that were read have landed, or came to nothing."""
        if self._versions is not None and self._versions.notes:
            self._versions.passed(rows)

    def _note_refused(self) -> None:
        """Note the key of the row that was tried last, as its columns would hold it."""
        if self._versions is None or not self._versions.notes:
            return
        columns: Any = self.schema.tables.get(self._root, {}).get("columns", {})
        key = {}
        for name in self._versions.names():
            value = self._tried.get(name)
            wanted = columns.get(name, {}).get("data_type")
            if wanted and value is not None:
                try:
                    given = py_type_to_sc_type(type(value))
                    value = coerce(wanted, given, value, ColumnLimits(texts="either"))
                except (ValueError, TypeError):
                    return
            key[name] = value
        self._versions.note_refused(key)

    def _discards_rows(self, table: str) -> bool:
        contract = self.schema.resolve_contract_settings_for_table(table)
        return "discard_row" in contract.values()

    def _write_buffer(self, buffer: Buffer) -> None:
        if self._versions is not None and self._versions.notes:
            self._versions.note_rows(buffer.rows.get(self._root, ()))
        assert self._stats is not None
        for table, rows in buffer.rows.items():
            if self._is_run:
                self._count_columns(table, rows, buffer.columns[table])
            self._use_own_writer(table)
            self.item_storage.write_data_item(
                self.load_id, self.schema.name, table, rows, buffer.columns[table]
            )
            self._report_progress(table, len(rows))
        self._nulls = {}

    def _report_progress(self, table_name: str, items_count: int) -> None:
        # rows of a trial are told once they land, and not each time that they are tried
        if not isinstance(self.item_storage, Buffer):
            super()._report_progress(table_name, items_count)

    def _count_columns(self, table: str, rows: list[Any], columns: Mapping[str, Any]) -> None:
        """Profile rows that are written one by one, as the engine profiles its own."""
        assert self._stats is not None
        counts = Counter(self._nulls.get(table, {}))
        arrays = {}
        for name, column in columns.items():
            if column.get("data_type") is None:
                continue
            array = self._profiled_column(rows, name, column)
            values = len(array) - array.null_count
            if values:
                arrays[name] = array
                counts[name] += values
                if column.get("variant"):  # its row has the field
                    counts[variant_base(name, column["data_type"])] += values
        present = {name: min(count, len(rows)) for name, count in counts.items()}
        batch = ColumnBatch(arrays, len(rows), present)
        self._stats.profile.add(table, batch, self._link_names, deletion_column(columns))

    def _profiled_column(self, rows: list[Any], name: str, column: Mapping[str, Any]) -> pa.Array:
        kind = get_py_arrow_datatype(cast("Any", column), self._caps, get_context_timezone_name())
        if pa.types.is_nested(kind):  # counted as JSON, as those of Arrow tables are
            kind = pa.string()
        if column["data_type"] == "double" and self._spells_floats:
            rows = [{name: None if (v := row.get(name)) is None else float(v)} for row in rows]
        return column_of_rows(rows, name, kind, is_json=column["data_type"] == "json")

    def _coerce_row(self, table_name: str, parent_table: str, row: Any) -> Any:
        if table_name == self._root:
            self._tried = typed_json.decode({**row}) if self._is_marked else row
        if self._is_run:
            for name, value in row.items():
                if value is None:
                    self._nulls.setdefault(table_name, Counter())[name] += 1
        return super()._coerce_row(table_name, parent_table, row)

    def _use_own_writer(self, table: str) -> None:
        writer = self.item_storage._get_writer(self.load_id, self.schema.name, table)
        if writer.writer_cls is ParquetDataWriter and any(
            (column.get("data_type") == "binary" and column.get("precision"))
            or nested_columns.type_of(column, self._caps) is not None
            for column in self.schema.tables[table]["columns"].values()
        ):
            writer.writer_cls = ColumnarParquetWriter

    def _trial(self) -> AbstractContextManager[Buffer]:
        self._hits, self._nulls = [], {}
        return rollback_on_error(self, discarded=self._hit_table, changed=self._ask_gate)

    def _ask_gate(self, partial: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        assert self._watch is not None
        new = {partial["name"]: partial["columns"].keys()}
        check_schema_size(self._root, new, self.schema.tables, self.dialect)
        check_table_names(new, self.schema.tables)
        if self._watch.gate is None:
            return
        prefix = self.schema._dlt_tables_prefix
        columns = {
            name: column
            for name, column in partial["columns"].items()
            if not is_dlt_table_or_column(name, prefix)
        }
        table = partial["name"]
        if not columns and table in self.schema.tables:
            return
        decision = self._watch.gate.refuses(table, partial.get("parent"), columns)
        if decision is None:
            return
        column = decision.change.column
        if column is not None and column in columns and columns[column].get("variant"):
            column = variant_base(column, columns[column]["data_type"])
        if decision.change.table != table:  # a field became a list: `table` is that of its items
            table, row = decision.change.table, {}
        raise _Refused(
            decision,
            Rejection(
                "policy",
                f"{decision.change.message} ({decision.reason})",
                table,
                self._path_of(table, column, row),
                self._watch.gate.name_of(decision.change),
            ),
        )

    def _hit_table(self, table: str, row: Mapping[str, Any] | None = None) -> None:
        detail = f"the contract allows no table `{table}`"
        path = self._path_of(table, None, row or {})
        self._hits.append(Rejection("contract", detail, table, path))

    def _filter_columns(self, filtered_columns: Any, row: Any) -> Any:
        if self._watch is not None:
            for name, mode in filtered_columns.items():
                if name in row and (mode == "discard_row" or row[name] is not None):
                    self._hit_column(filtered_columns, name, mode, row)
        return super()._filter_columns(filtered_columns, row)

    def _hit_column(self, filtered: Any, name: str, mode: str, row: Any) -> None:
        tables = self._filtered_tables_columns.items()
        table = next(each for each, found in tables if found is filtered)
        what = "the row" if mode == "discard_row" else "the value"
        base = name if name in (self.schema.tables.get(table) or {}).get("columns", {}) else None
        column = base or name.split(f"{self.naming.PATH_SEPARATOR}v_")[0]
        detail = f"the contract discards {what} for the column `{name}`"
        path = self._path_of(table, column, row)
        self._hits.append(Rejection("contract", detail, table, path))

    def _path_of(self, table: str, column: str | None, row: Mapping[str, Any]) -> str:
        found = row.get(getattr(self.schema.data_item_normalizer, "c_dlt_list_idx", ""))
        index = found if isinstance(found, int) else None
        return path_of(self.schema.tables, self._root, table, column, index)


def add(updates: dict[str, list[Any]], more: Mapping[str, Iterable[Any]]) -> None:
    """Add changes of the schema to others, by table."""
    for table, found in more.items():
        updates.setdefault(table, []).extend(found)
