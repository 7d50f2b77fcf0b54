"""Rows to load files through columns: a drop-in for dlt's normalizer of extracted rows.

It is dlt's class, with one method replaced: a chunk of rows goes through columns where that gives
exactly dlt's result, and through dlt's own code where it would not.
"""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
from dlt.common.data_writers.writers import JsonlWriter, ParquetDataWriter
from dlt.common.exceptions import DltException
from dlt.common.json import PUA_START_UTF8_MAGIC
from dlt.common.normalizers.json.relational import DataItemNormalizer
from dlt.common.normalizers.utils import DLT_ID_LENGTH_BYTES as ID_BYTES
from dlt.common.time import get_context_timezone_name

from millstream.engine.bson.documents import blocks
from millstream.engine.bson.reader import BsonReader, Tables
from millstream.engine.coerce_values import TypedTable, coerce_table
from millstream.engine.column_batch import ColumnBatch
from millstream.engine.copy_writer import CopyWriter
from millstream.engine.dlt.parquet_writer import ColumnarParquetWriter
from millstream.engine.dlt.quarantining_normalizer import LONG_INTEGER, WatchedNormalizer, add
from millstream.engine.dlt.rules import DltRules, PrecisionLossError
from millstream.engine.fast_path.json_reader import Direct
from millstream.engine.fast_path.scheduler import Lane
from millstream.engine.flatten import MANY_LEVELS, FlatTable, flatten_rows
from millstream.engine.json_lines_writer import ColumnarJsonlWriter
from millstream.engine.schema_rules import NotVectorizableError
from millstream.engine.schema_size import check_schema_size, check_table_names
from millstream.engine.tables import add_ids, columns_of
from millstream.errors import SchemaTooLargeError
from millstream.formats import raw_part
from millstream.formats.deletions import deletion_column
from millstream.formats.key_names import KeyNames
from millstream.formats.raw_part import Block
from millstream.quarantine import envelope

BATCH = 2000
"""Rows a batch: more fall out of the processor's caches, fewer pay more per column."""
SMALLEST = 16
_TEACH = 256
_PATIENCE = 4
_REST = 16
_MARK = PUA_START_UTF8_MAGIC[:1]
_WRITERS: dict[Any, Any] = {
    ParquetDataWriter: ColumnarParquetWriter,
    CopyWriter: CopyWriter,
    JsonlWriter: ColumnarJsonlWriter,
}
"""Of the writers that dlt was told to use: those that take columns."""


_OF_DATA = (
    NotVectorizableError,
    DltException,
    pa.ArrowException,
    orjson.JSONEncodeError,
    ValueError,
    ArithmeticError,
    RecursionError,
)
"""What rows bring about; any other error of the columnar pass is a bug."""
_LOGGED: set[str] = set()
logger = logging.getLogger(__name__)


class ColumnarNormalizer(WatchedNormalizer):
    """A drop-in for dlt's `JsonLItemsNormalizer`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fits: bool | None = None
        self._rules = DltRules(self)
        self._misses = 0
        self._lane = Lane()

    def _file(self, extracted_items_file: str, root: str) -> list[Any]:
        if self._fits is None:
            self._fits = self._is_for_columns()
        if not self._fits and self._header is None:
            return super()._file(extracted_items_file, root)
        with _no_garbage_collection():
            return super()._file(extracted_items_file, root)

    def _is_for_columns(self) -> bool:
        return (
            self.item_storage.writer_cls in _WRITERS
            and (self.item_storage.writer_cls is not JsonlWriter or self._coercion is not None)
            and type(self.schema.data_item_normalizer) is DataItemNormalizer
            and not self.schema._compiled_excludes
            and self.config.destination_capabilities is not None
            and get_context_timezone_name() == "UTC"
        )

    def _updates(self, root: str, file: IO[bytes]) -> Generator[dict[str, Any]]:
        header = self._header
        if header is not None and header.form == "bson":
            file.readline()
            return self._undecoded(root, header, file)
        if not self._fits:
            return super()._updates(root, file)
        if header is not None:
            file.readline()
            return self._unlisted(root, header.listed(), file)
        return self._lines(root, file)

    def _lines(self, root: str, file: IO[bytes]) -> Generator[dict[str, Any]]:
        with closing(self._lane.ahead(map(Block, file), _is_plain)) as lines:
            for line in lines:
                yield self._watched_line(root, line.text)

    def _line(self, root: str, line: bytes) -> dict[str, Any]:
        if not self._fits or self._suspicious:
            return super()._line(root, line)
        rules = self._rules
        rules.marked = self._has_marks(line)
        rules.exact = False
        update: dict[str, list[Any]] = {}
        # what comes of a part of lines did not fit as it was
        if self._header is None and self._directly(root, Block(line)):
            return update
        self._items, self._text = self._decoded(root, line, update)
        for start in range(0, len(self._items), BATCH):
            self._batch(root, start, min(start + BATCH, len(self._items)), update)
        self._items = []
        self._lane.direct = None
        return update

    def _unlisted(
        self, root: str, listed: raw_part.LineReader, file: IO[bytes]
    ) -> Generator[dict[str, list[Any]]]:
        """A part of JSON lines, block by block; what does not fit columns comes as dlt's lines."""
        with closing(self._lane.ahead(raw_part.blocks(file), _is_plain)) as ahead:
            for block in ahead:
                yield self._block(root, listed, block)

    def _block(self, root: str, listed: raw_part.LineReader, block: Block) -> dict[str, list[Any]]:
        update: dict[str, list[Any]] = {}
        if self._directly(root, block):
            return update
        # what is new is mostly in all rows: a few teach it
        few, others = block.cut(_TEACH)
        for part in (few, others):
            if part is few or (part.rows and not self._directly(root, part)):
                for line in listed(part):
                    add(update, self._watched_line(root, line))
        return update

    def _directly(self, root: str, block: Block) -> bool:
        """A whole block to columns, where its rows look like the ones before."""
        lane, rules = self._lane, self._rules
        # an envelope has a key that no shape has
        if not (self._fits and lane.open()) or self._has_marks(block.text):
            return False
        if self._filtered_tables or self._filtered_tables_columns:
            return False
        rules.marked = False
        try:
            if lane.direct is None:
                if not lane.shape or not rules.settled(root):
                    return False
                lane.direct = Direct(root, 0, lane.shape, rules)
            self._take(root, *lane.read(lane.direct, block))
        except NotVectorizableError:
            lane.missed()
            return False
        lane.hit()
        return True

    def _take(self, root: str, settled: list[TypedTable], raw: Mapping[str, pa.Array]) -> None:
        """Write what never was Python objects.

        Raises:
            NotVectorizableError: nothing is written then.
        """
        rules = self._rules
        rows = settled[0].table.size
        if self._versions is not None and self._versions.has_outdated(rows):
            raise NotVectorizableError("later rows replace some of these")
        rules.check_complete(settled)
        propagate = rules.propagates(root)
        if not all(rules.has_links(one.table, propagate) for one in settled):
            raise NotVectorizableError("a table is new")
        add_ids([one.table for one in settled], rules.raw_ids(settled[0].table, raw), ID_BYTES)
        self._write(self._built(settled, propagate), rows)
        if self._versions is not None and not self._versions.notes:
            self._versions.passed(rows)

    def _undecoded(
        self, root: str, header: raw_part.Header, file: IO[bytes]
    ) -> Generator[dict[str, list[Any]]]:
        """A part of BSON, block by block; what is not read in columns comes back as lines."""
        rules = self._rules
        names = self.key_names or KeyNames.of(self.schema, root, self.dialect)
        exact = header.exact(self.schema.naming.normalize_identifier, names.locate)

        def links(table: FlatTable) -> bool:
            return rules.has_links(table, rules.propagates(root))

        reader = BsonReader(root, rules, exact, lambda: self._reads_columns(root), links)
        for block in blocks(file):
            update: dict[str, list[Any]] = {}
            for part in reader.read(block):
                if isinstance(part, Tables):
                    try:
                        self._take(root, part.settled, part.raw)
                        continue
                    except NotVectorizableError as reason:
                        assert self._stats is not None
                        self._stats.missed(str(reason))
                        part = part.documents()
                line = exact.line(part)
                if line.doubles:
                    rules.declare_doubles(root, line.doubles, update)
                add(update, self._watched_line(root, line.text))
            yield update
        exact.log_warnings()

    def _has_marks(self, line: bytes) -> bool:
        # most texts have no such byte at all, and one byte is found much faster than two
        return _MARK in line and super()._has_marks(line)

    def _reads_columns(self, root: str) -> bool:
        """Whether rows of a known shape need not be looked at one by one."""
        if not self._fits or self._filtered_tables or self._filtered_tables_columns:
            return False
        normalizer: Any = self.schema.data_item_normalizer
        rules = self._rules
        try:
            return (
                normalizer._get_table_nesting_level(root, normalizer.max_nesting) >= MANY_LEVELS
                and rules.settled(root)
                and rules.has_links(FlatTable(root, (), (), 0, 0, ()), rules.propagates(root))
            )
        except NotVectorizableError:
            return False

    def _built(self, settled: list[TypedTable], propagate: bool) -> list[tuple[str, ColumnBatch]]:
        result = []
        for one in settled:
            columns = columns_of(one, self._rules.names, self.load_id, propagate=propagate)
            result.append((one.table.name, ColumnBatch(columns, one.table.size, one.present)))
        return result

    def _batch(self, root: str, start: int, end: int, update: dict[str, list[Any]]) -> None:
        """A batch in columns; in halves where that fails, to leave dlt few rows."""
        assert self._stats is not None
        if self._misses < _PATIENCE:
            try:
                tables = self._columns(root, self._items[start:end], update)
            except PrecisionLossError:
                self._items = self._exactly(self._text)
                self._rules.exact = True
                self._batch(root, start, end, update)
                return
            except SchemaTooLargeError:
                raise
            # whatever goes wrong before anything is written, dlt's own code decides what it means
            except Exception as reason:
                is_ours = isinstance(reason, NotVectorizableError)
                # the words of other errors may hold data
                self._stats.missed(str(reason) if is_ours else type(reason).__name__)
                if not isinstance(reason, _OF_DATA):
                    _log_bug(reason)
                if end - start > SMALLEST:
                    middle = (start + end) // 2
                    self._batch(root, start, middle, update)
                    self._batch(root, middle, end, update)
                    return
            else:
                self._misses = 0
                self._write(tables, end - start)
                return
        if not self._rules.exact and LONG_INTEGER.search(self._text):
            self._items = self._exactly(self._text)
            self._rules.exact = True
        # rows of one kind tend to fill a whole file: stop trying for a while
        self._misses = (self._misses + 1) % (_PATIENCE + _REST)
        items = self._items[start:end]
        add(update, self._normalize_chunk(root, items, self._rules.marked, False))

    def _columns(
        self, root: str, items: list[Any], update: dict[str, list[Any]]
    ) -> list[tuple[str, ColumnBatch]]:
        rules = self._rules
        rules.null_only = []
        normalizer: Any = self.schema.data_item_normalizer
        level = normalizer._get_table_nesting_level(root, normalizer.max_nesting)
        # rows that are not objects come as the column `value`, as dlt wraps them
        if set(map(type, items)) != {dict}:
            items = [item if type(item) is dict else {rules.value: item} for item in items]
        tables = flatten_rows(items, root, level, rules, self._lane.shape)
        if self._is_run:
            new = {table.name: table.leaves.keys() for table in tables}
            check_schema_size(root, new, self.schema.tables, self.dialect)
            check_table_names(new, self.schema.tables)
        settled = [coerce_table(table, rules) for table in tables]
        rules.check_complete(settled)
        propagate = rules.propagates(root)
        add_ids(tables, rules.root_ids(tables[0]), ID_BYTES)
        rules.evolve(settled, update, propagate)
        return self._built(settled, propagate)

    def _write(self, tables: list[tuple[str, ColumnBatch]], rows: int) -> None:
        assert self._stats is not None
        if self._versions is not None and self._versions.notes:
            self._versions.note_columns(tables[0][1].columns, rows)
        for name, column_set in tables:
            writer = self.item_storage._get_writer(self.load_id, self.schema.name, name)
            writer.writer_cls = _WRITERS.get(writer.writer_cls, writer.writer_cls)
            known = self._column_schemas.get(name)
            if not known:
                known = self._column_schemas[name] = self.schema.get_table_columns(name)
            if writer.writer_cls is ColumnarJsonlWriter:
                column_set.documents = frozenset(
                    each for each, column in known.items() if column.get("data_type") == "json"
                )
            if self._is_run:
                names = self._rules.names
                self._stats.profile.add(name, column_set, names, deletion_column(known))
            writer.write_data_item(column_set, known)
            self._report_progress(name, len(column_set))
        for name, column in self._rules.null_only:
            self._null_only_columns.setdefault(name, set()).add(column)
        self._rules.null_only = []
        self._stats.count("millstream", rows)


def _log_bug(error: Exception) -> None:
    """Say once for each place that the engine failed; the error's own words may hold data."""
    (*_, last) = traceback.extract_tb(error.__traceback__)
    where = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
    if where not in _LOGGED:
        _LOGGED.add(where)
        logger.warning(
            "the engine failed (%s), and dlt's own normalizer took the rows, which is slower; this "
            "is a bug in Millstream",
            where,
        )


def _is_plain(text: bytes) -> bool:
    """Whether a text may be parsed ahead."""
    return _MARK not in text and not envelope.placed(text)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    # rows are trees: counting references frees them, and collections would walk millions of objects
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
