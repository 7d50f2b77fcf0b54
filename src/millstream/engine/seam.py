"""Where the engine meets dlt: with `sieve`, all that knows dlt's internals.

`install()` puts `ColumnarNormalizer` where dlt's normalize workers look for the class that turns
extracted rows into load files. It is that class, with one method replaced: a chunk of rows goes
through columns where that gives exactly dlt's result, and through dlt's own code where it would
not. dlt's schema object stays the judge throughout: names, nesting, types, coercion and contracts
are asked of it, and rows that change the schema are shown to dlt's own inference.

Spawned worker processes get the seam through a container context that dlt hands to workers.
"""

from __future__ import annotations

import gc
import inspect
import json as plain_json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from copy import copy, deepcopy
from typing import IO, Any, ClassVar, cast

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.configuration import configspec
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.base_configuration import ContainerInjectableContext
from dlt.common.data_writers.writers import ParquetDataWriter
from dlt.common.destination.capabilities import adjust_column_schema_to_capabilities
from dlt.common.json import (
    PUA_START_UTF8_MAGIC,
    custom_pua_decode,
    custom_pua_decode_nested,
    json,
    may_have_pua,
)
from dlt.common.libs.pyarrow import get_py_arrow_datatype
from dlt.common.normalizers.json.helpers import get_row_hash
from dlt.common.normalizers.json.relational import DataItemNormalizer
from dlt.common.normalizers.utils import DLT_ID_LENGTH_BYTES as ID_BYTES
from dlt.common.schema import Schema
from dlt.common.schema.schema import DEFAULT_SCHEMA_CONTRACT_MODE
from dlt.common.schema.utils import new_table
from dlt.common.time import get_context_timezone_name, normalize_timezone
from dlt.normalize import worker as dlt_worker
from dlt.normalize.items_normalizers import JsonLItemsNormalizer

from millstream import handover
from millstream.engine.bson.documents import blocks
from millstream.engine.bson.reader import BsonReader, Tables
from millstream.engine.build import LinkNames, add_ids, columns_of
from millstream.engine.direct import Direct
from millstream.engine.ids import Ids, from_texts, random_ids
from millstream.engine.lane import Lane
from millstream.engine.rules import Columns, Rules, Unfit
from millstream.engine.settle import Settled, settle
from millstream.engine.sieve import WATCHES, WatchedNormalizer
from millstream.engine.stats import FileStats
from millstream.engine.unfold import MANY_LEVELS, TableRows, as_row, unfold
from millstream.engine.writer import ColumnSet, align, in_thread, runs
from millstream.quarantine.watch import Watch

BATCH = 2000
"""Rows a batch: more fall out of the processor's caches, fewer pay more per column."""
SMALLEST = 16
_PATIENCE = 4
_REST = 16
_LARGE = float(2**63)
_worker: Any = dlt_worker
_MARK = PUA_START_UTF8_MAGIC[:1]
# orjson writes floats from 1e16 on with an exponent
_LARGE_IN_JSON = re.compile(r"\de\+\d\d")


class _LostDigits(Exception):  # noqa: N818
    """A float that may have been an integer beyond 64 bits: the text must be parsed again."""


class PlainParquetWriter(ParquetDataWriter):
    """dlt's Parquet writer; where files are not to be compressed, their pages are plain, too.

    A database reads such files back once, at once: dictionaries and statistics cost more than half
    of the writing, and gain nothing. In a lake the files stay, and keep both.
    """

    def _create_writer(self, schema: pa.Schema) -> pq.ParquetWriter:
        form = self.parquet_format
        stays = "insert_values" not in self._caps.supported_loader_file_formats
        if form.compression != "none" or stays:
            return super()._create_writer(schema)
        return pq.ParquetWriter(
            self._f,
            schema,
            flavor=form.flavor,
            version=form.version,
            data_page_size=form.data_page_size,
            coerce_timestamps=form.coerce_timestamps,
            allow_truncated_timestamps=form.allow_truncated_timestamps,
            use_compliant_nested_type=form.use_compliant_nested_type,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
        )


class ColumnarParquetWriter(PlainParquetWriter):
    """A Parquet writer that also takes column sets. Never looked up by its format.

    One row group is encoded in a thread while the next is made.
    """

    _encoding: Future[None] | None = None

    def write_data(self, items: Sequence[Any]) -> None:
        for columnar, part in runs(items):
            self._settle()
            if not columnar:
                super().write_data(part)
                continue
            assert self.writer is not None
            table = align(part, self.schema)
            self.items_count += table.num_rows
            self._encoding = in_thread(
                self.writer.write_table, table, row_group_size=self.parquet_format.row_group_size
            )

    def write_footer(self) -> None:
        self._settle()
        super().write_footer()

    def close(self) -> None:
        # after an error the file is closed without its footer: not under the thread's hands
        with suppress(Exception):
            self._settle()
        super().close()

    def _settle(self) -> None:
        encoding, self._encoding = self._encoding, None
        if encoding is not None:
            encoding.result()


class ColumnarNormalizer(WatchedNormalizer):
    """A drop-in for dlt's `JsonLItemsNormalizer`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._fits: bool | None = None
        self._rules = DltRules(self)
        self._misses = 0
        self._lane = Lane()
        self._header: handover.Header | None = None

    def _file(self, extracted_items_file: str, root: str) -> list[Any]:
        if self._fits is None:
            self._fits = self._is_for_columns()
        self._header = self._header_of(extracted_items_file)
        if not self._fits and self._header is None:
            return super()._file(extracted_items_file, root)
        with _no_garbage_collection():
            return super()._file(extracted_items_file, root)

    def _is_for_columns(self) -> bool:
        return (
            self.item_storage.writer_cls is ParquetDataWriter
            and type(self.schema.data_item_normalizer) is DataItemNormalizer
            and not self.schema._compiled_excludes
            and self.config.destination_capabilities is not None
            and get_context_timezone_name() == "UTC"
        )

    def _header_of(self, extracted_items_file: str) -> handover.Header | None:
        storage = self.normalize_storage.extracted_packages.storage
        with storage.open_file(extracted_items_file, "rb") as file:
            start = file.read(len(handover.MARK))
            return handover.header(start + file.readline()) if start == handover.MARK else None

    def _updates(self, root: str, file: IO[bytes]) -> Iterator[dict[str, Any]]:
        if self._header is None:
            if self._fits:
                lines = self._lane.ahead(file, lambda line: _MARK not in line)
                return (self._watched_line(root, line) for line in lines)
            return super()._updates(root, file)
        file.readline()
        return self._undecoded(root, self._header, file)

    def _line(self, root: str, line: bytes) -> dict[str, Any]:
        if not self._fits or self._suspicious:
            return super()._line(root, line)
        rules = self._rules
        # most lines have no such byte at all, and one byte is found much faster than two
        rules.marked = _MARK in line and may_have_pua(line)
        rules.exact = False
        update: dict[str, list[Any]] = {}
        if not rules.marked and self._directly(root, line):
            return update
        self._text = line
        self._items = json.loadb(line)
        for start in range(0, len(self._items), BATCH):
            self._batch(root, start, min(start + BATCH, len(self._items)), update)
        self._items = []
        self._lane.direct = None
        return update

    def _directly(self, root: str, line: bytes) -> bool:
        """A whole line from text to columns, where its rows look like the ones before."""
        lane = self._lane
        if not lane.open() or self._filtered_tables or self._filtered_tables_columns:
            return False
        rules = self._rules
        try:
            if lane.direct is None:
                if not lane.shape or not rules.settled(root):
                    return False
                lane.direct = Direct(root, 0, lane.shape, rules)
            self._take(root, *lane.direct.read(line, lane.parse(lane.direct, line)))
        except Unfit as reason:
            lane.missed(str(reason))
            return False
        lane.hit()
        return True

    def _take(self, root: str, settled: list[Settled], raw: Mapping[str, pa.Array]) -> None:
        """Write what never was Python objects; raises Unfit before anything is written."""
        rules = self._rules
        propagate = rules.propagates(root)
        if not all(rules.has_links(one.table, propagate) for one in settled):
            raise Unfit("a table is new")
        add_ids([one.table for one in settled], rules.raw_ids(settled[0].table, raw), ID_BYTES)
        self._write(self._built(settled, propagate), settled[0].table.size)

    def _undecoded(
        self, root: str, header: handover.Header, file: IO[bytes]
    ) -> Iterator[dict[str, list[Any]]]:
        """A part of BSON, block by block; what is not read in columns comes back as lines."""
        rules = self._rules
        exact = header.exact(self.schema.naming.normalize_identifier)

        def links(table: TableRows) -> bool:
            return rules.has_links(table, rules.propagates(root))

        reader = BsonReader(root, rules, exact, lambda: self._reads_columns(root), links)
        for block in blocks(file):
            update: dict[str, list[Any]] = {}
            for part in reader.read(block):
                if isinstance(part, Tables):
                    try:
                        self._take(root, part.settled, part.raw)
                        continue
                    except Unfit as reason:
                        assert self._stats is not None
                        self._stats.missed(str(reason))
                        part = part.documents()
                line = exact.line(part)
                if line.doubles:
                    rules.declare_doubles(root, line.doubles, update)
                for name, tables in self._watched_line(root, line.text).items():
                    update.setdefault(name, []).extend(tables)
            yield update
        exact.tell()

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
                and rules.has_links(TableRows(root, (), (), 0, 0, ()), rules.propagates(root))
            )
        except Unfit:
            return False

    def _built(self, settled: list[Settled], propagate: bool) -> list[tuple[str, ColumnSet]]:
        result = []
        for one in settled:
            columns = columns_of(one, self._rules.names, self.load_id, propagate=propagate)
            result.append((one.table.name, ColumnSet(columns, one.table.size, one.present)))
        return result

    def _batch(self, root: str, start: int, end: int, update: dict[str, list[Any]]) -> None:
        """A batch in columns; in halves where that fails, to leave dlt few rows."""
        assert self._stats is not None
        if self._misses < _PATIENCE:
            try:
                tables = self._columns(root, self._items[start:end], update)
            except _LostDigits:
                self._items = plain_json.loads(self._text)
                self._rules.exact = True
                self._batch(root, start, end, update)
                return
            # whatever goes wrong before anything is written, dlt's own code decides what it means
            except Exception as reason:
                self._stats.missed(str(reason) if isinstance(reason, Unfit) else repr(reason))
                if end - start > SMALLEST:
                    middle = (start + end) // 2
                    self._batch(root, start, middle, update)
                    self._batch(root, middle, end, update)
                    return
            else:
                self._misses = 0
                self._write(tables, end - start)
                return
        # rows of one kind tend to fill a whole file: stop trying for a while
        self._misses = (self._misses + 1) % (_PATIENCE + _REST)
        items = self._items[start:end]
        for name, tables in self._normalize_chunk(root, items, self._rules.marked, False).items():
            update.setdefault(name, []).extend(tables)

    def _columns(
        self, root: str, items: list[Any], update: dict[str, list[Any]]
    ) -> list[tuple[str, ColumnSet]]:
        rules = self._rules
        rules.null_only = []
        normalizer: Any = self.schema.data_item_normalizer
        level = normalizer._get_table_nesting_level(root, normalizer.max_nesting)
        # rows that are not objects come as the column `value`, as dlt wraps them
        if set(map(type, items)) != {dict}:
            items = [item if type(item) is dict else {rules.value: item} for item in items]
        tables = unfold(items, root, level, rules, self._lane.shape)
        settled = [settle(table, rules) for table in tables]
        propagate = rules.propagates(root)
        add_ids(tables, rules.root_ids(tables[0]), ID_BYTES)
        rules.evolve(settled, update, propagate)
        return self._built(settled, propagate)

    def _write(self, tables: list[tuple[str, ColumnSet]], rows: int) -> None:
        assert self._stats is not None
        for name, column_set in tables:
            writer = self.item_storage._get_writer(self.load_id, self.schema.name, name)
            if writer.writer_cls is ParquetDataWriter:
                writer.writer_cls = ColumnarParquetWriter
            known = self._column_schemas.get(name)
            if not known:
                known = self._column_schemas[name] = self.schema.get_table_columns(name)
            if FileStats.keep:
                self._stats.profile.add(name, column_set, self._rules.names.all())
            writer.write_data_item(column_set, known)
            self._report_progress(name, len(column_set))
        for name, column in self._rules.null_only:
            self._null_only_columns.setdefault(name, set()).add(column)
        self._rules.null_only = []
        self._stats.count("millstream", rows)


class DltRules(Rules):
    """The engine's questions, answered by dlt's schema and by the normalizer that this serves."""

    def __init__(self, owner: ColumnarNormalizer) -> None:
        # dlt's types are looser here than its code: what it has is checked once, by `mismatch`
        self.owner: Any = owner
        self.schema: Any = owner.schema
        self.normalizer: Any = owner.schema.data_item_normalizer
        normalizer = self.normalizer
        self.marked = False
        self.exact = False
        self.caps: Any = owner.config.destination_capabilities
        self.null_only: list[tuple[str, str]] = []
        self._names: dict[tuple[tuple[str, ...], str], tuple[str, str]] = {}
        self._types: dict[tuple[Any, ...], pa.DataType] = {}
        if isinstance(normalizer, DataItemNormalizer):
            self.value = normalizer.c_value
            self.names = LinkNames(
                normalizer.c_dlt_id,
                normalizer.c_dlt_load_id,
                normalizer.c_dlt_parent_id,
                normalizer.c_dlt_list_idx,
                normalizer.c_dlt_root_id,
            )
            self._reserved = self.names.all()

    def column_name(self, path: tuple[str, ...], key: str) -> tuple[str, str]:
        found = self._names.get((path, key))
        if found is None:
            normalizer = self.normalizer
            blank = not key or key.isspace()
            own = (
                normalizer.EMPTY_KEY_IDENTIFIER if blank else normalizer._normalize_identifier(key)
            )
            name = own if not path else normalizer._shorten_fragments(*path, own)
            if name in self._reserved:
                raise Unfit(f"the data has {name}")
            found = self._names[path, key] = (name, own)
        return found

    def list_name(self, key: str) -> str:
        return str(self.normalizer._normalize_table_identifier(key))

    def table_name(self, path: tuple[str, ...]) -> str:
        return str(self.normalizer._shorten_fragments(*path))

    def keeps_whole(self, table: str, column: str, level: int) -> bool:
        return bool(self.normalizer._is_nested_type(table, column, level))

    def check_table(self, table: str, root: bool) -> bool:
        if table in self.owner._filtered_tables:
            self._leave_to_watch(table)
            return False
        if not root and not self.normalizer._should_be_nested(table):
            raise Unfit(f"{table} is not declared as nested")
        expected = {self.names.id: self.names.root_id}
        if (passed := self._passed(table, root)) and (passed != expected or not root):
            raise Unfit(f"{table} passes columns on to nested tables")
        return True

    def propagates(self, root: str) -> bool:
        """Whether rows below carry the root row's id."""
        return bool(self._passed(root, True))

    def _passed(self, table: str, root: bool) -> dict[str, str]:
        if not self.normalizer.propagation_config:
            return {}
        return dict(self.normalizer._get_propagation_mapping(table, root))

    def column(self, table: str, name: str) -> Mapping[str, Any] | None:
        found = self.schema._schema_tables.get(table)
        column = found["columns"].get(name) if found else None
        return column if column and column.get("data_type") else None

    def columns(self, table: str) -> Columns:
        found = self.schema._schema_tables.get(table)
        return dict(found["columns"]) if found else {}

    def filtered(self, table: str, column: str) -> bool:
        modes = self.owner._filtered_tables_columns.get(table)
        if not modes or column not in modes:
            return False
        if modes[column] == "discard_row":
            raise Unfit(f"the contract discards rows with {table}.{column}")
        if modes[column] == "discard_value":
            self._leave_to_watch(f"{table}.{column}")
            return True
        return False

    def _leave_to_watch(self, what: str) -> None:
        if self.owner._watch is not None:
            raise Unfit(f"what the contract discards is kept: {what}")

    def may_be_null(self, table: str, column: str) -> bool:
        found = self.schema._schema_tables.get(table)
        known = found["columns"].get(column) if found else None
        if known is None:
            if self.schema._infer_hint("not_null", column):
                return False
        elif not known.get("nullable", True):
            return False
        elif known.get("data_type"):
            return True
        self.null_only.append((table, column))
        return True

    def coerce(
        self, columns: Columns, table: str, name: str, value: Any
    ) -> tuple[str, Mapping[str, Any] | None, Any]:
        # the fast branch of `_coerce_row`, then the function that it calls for everything else
        owner = self.owner
        column = columns.get(name)
        if column and (wanted := column.get("data_type")):
            given = owner._type_map.get(type(value))
            if given == wanted:
                return name, None, self._in_zone(value, column) if wanted == "timestamp" else value
            if given and owner._can_coerce_type(wanted, given):
                try:
                    result = owner._coerce_type(wanted, given, value)
                except (ValueError, SyntaxError):
                    pass
                else:
                    if wanted == "timestamp":
                        result = self._in_zone(result, column)
                    return name, None, result
        target, new, result = owner._coerce_non_null_value(columns, table, name, value)
        return target, new, result

    def _in_zone(self, value: Any, column: Mapping[str, Any]) -> Any:
        override = self.owner._timezone_override
        zone = override if override is not None else column.get("timezone", True)
        return normalize_timezone(value, zone)

    def too_large(
        self, columns: Columns, table: str, name: str, value: int
    ) -> tuple[str, Mapping[str, Any] | None, Any]:
        # dlt's own, optional `large_integer` detection, for values that would fail the load
        precision = self.caps.wei_precision[0] - self.caps.wei_precision[1]
        data_type = "wei" if abs(value) < 10**precision else "text"
        target = self.owner.naming.shorten_fragments(name, f"v_{data_type}")
        result: Any = (
            str(value) if data_type == "text" else self.owner._coerce_type("wei", "bigint", value)
        )
        column = columns.get(target)
        if column is not None and column.get("data_type"):
            if column["data_type"] != data_type:
                raise Unfit(f"{table}.{target} is taken")
            return target, None, result
        new = self.owner._infer_column(target, value, data_type=data_type, is_variant=True)
        return target, adjust_column_schema_to_capabilities(new, self.caps), result

    def arrow_type(self, column: Mapping[str, Any]) -> pa.DataType:
        if self.caps.supports_nested_types and column.get("x-nested-type"):
            raise Unfit(f"{column['name']} is a nested column")
        key = tuple(column.get(p) for p in ("data_type", "precision", "scale", "timezone"))
        found = self._types.get(key)
        if found is None:
            found = get_py_arrow_datatype(
                cast("Any", column), self.caps, get_context_timezone_name()
            )
            self._types[key] = found
        return found

    def decode(self, value: Any) -> Any:
        if type(value) is str:
            return custom_pua_decode(value)
        return custom_pua_decode_nested(deepcopy(value))

    def check_floats(self, values: Sequence[Any]) -> None:
        if not self.exact and any(type(v) is float and abs(v) >= _LARGE for v in values):
            raise _LostDigits

    def dumps(self, value: Any) -> str:
        try:
            text: str = json.dumps(value)
        except TypeError:
            if not self.exact:
                raise
            # orjson writes no integers beyond 64 bits
            return plain_json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if not self.exact and _LARGE_IN_JSON.search(text):
            raise _LostDigits
        return text

    def root_ids(self, table: TableRows) -> Ids:
        """Random ids, or the hash of the key or of the row where the merge strategy asks for it."""
        kind = self.normalizer._get_root_row_id_type(table.name)
        if kind == "row_hash":
            return from_texts(map(get_row_hash, table.items))
        if kind == "key_hash":
            return self._key_hashes(table)
        return random_ids(table.size, ID_BYTES)

    def raw_ids(self, table: TableRows, raw: Mapping[str, pa.Array]) -> Ids:
        """The root's ids, from values that never were Python objects."""
        kind = self.normalizer._get_root_row_id_type(table.name)
        if kind == "random":
            return random_ids(table.size, ID_BYTES)
        key = self.normalizer._get_primary_key(table.name)
        arrays = [raw.get(f"{table.name}.{name}") for name in key]
        if kind != "key_hash" or any(array is None or array.null_count for array in arrays):
            raise Unfit(f"ids of {table.name} are made of whole rows")
        rows = zip(*(array.to_pylist() for array in arrays if array is not None))
        return from_texts(get_row_hash(dict(zip(key, row)), subset=key) for row in rows)

    def settled(self, root: str) -> bool:
        """Whether a root table has nothing that needs a look at each row."""
        return self.check_table(root, root=True)

    def has_links(self, table: TableRows, propagate: bool) -> bool:
        """Whether the schema has the table and the columns that link it."""
        links = self.names.of(root=table.parent is None, propagate=propagate)
        for name in links:
            column = self.column(table.name, name)
            if column is None:
                return False
            if column["data_type"] != ("bigint" if name == self.names.list_idx else "text"):
                raise Unfit(f"{table.name}.{name} is taken")
        return True

    def declare_doubles(
        self,
        root: str,
        doubles: Sequence[tuple[tuple[tuple[str, ...], ...], str]],
        update: dict[str, list[Any]],
    ) -> None:
        """Make columns double that hold NaN as text, unless they have a type or a contract a say.

        dlt turns such texts back where the column is double; it would infer text from them.
        """
        for lists, column in doubles:
            table = TableRows(root, (), (root,), 0, 0, ())
            tables = [table]
            for own in lists:
                path = table.path + table.own
                name = self.table_name((*path, *own))
                table = TableRows(name, path, own, 0, 0, (), table)
                tables.append(table)
            if self.column(table.name, column) or not self._evolves_freely(table):
                continue
            for each in tables[:-1]:  # dlt wants each table on the way
                if each.name not in self.schema.tables:
                    self._apply(_partial(each, []), update)
            hint = {"name": column, "data_type": "double", "nullable": True}
            self._apply(_partial(table, [hint]), update)

    def _key_hashes(self, table: TableRows) -> Ids:
        key = self.normalizer._get_primary_key(table.name)
        leaves = [table.leaves.get(name) for name in key]
        if self.marked or any(leaf is None or leaf.index is not None for leaf in leaves):
            raise Unfit(f"a key of {table.name} is missing or not plain")
        rows = zip(*(leaf.values for leaf in leaves if leaf is not None))
        return from_texts(get_row_hash(dict(zip(key, row)), subset=key) for row in rows)

    def evolve(
        self, tables: Sequence[Settled], update: dict[str, list[Any]], propagate: bool
    ) -> None:
        """Bring the schema to what the batch needs, by dlt's own inference on the witnesses.

        Raises:
            Unfit: a contract has a say, or dlt came to other columns than the engine did. Then
                nothing is written yet, and the schema has only what these rows add in any case.
        """
        for one in tables:
            table = one.table
            if not self.has_links(table, propagate):
                one.witnesses.add(0)
            if (one.witnesses or one.overflows) and not self._evolves_freely(table):
                raise Unfit(f"a contract decides on new columns of {table.name}")
        for one in tables:
            if not one.witnesses and not one.overflows:
                continue
            table = one.table
            for at in sorted(one.witnesses):
                self._show(table, at, update, propagate)
            for name, column in one.overflows.items():
                if self.column(table.name, name) is None:
                    partial = copy(self.schema._schema_tables[table.name])
                    partial["columns"] = {name: column}
                    self._apply(partial, update)
            for name, column in one.new.items():
                if self.column(table.name, name) != column:
                    raise Unfit(f"{table.name}.{name} turned out different")
        if propagate != self.propagates(tables[0].table.name):
            raise Unfit("links changed")
        if not all(self.has_links(one.table, propagate) for one in tables):
            raise Unfit("links are missing")

    def _evolves_freely(self, table: TableRows) -> bool:
        watch = self.owner._watch
        if watch is not None and watch.gate is not None:
            return False
        ancestor: TableRows | None = table
        while ancestor is not None and ancestor.name not in self.schema.tables:
            ancestor = ancestor.parent
        name = table.name if ancestor is None else ancestor.name
        settings = self.schema.resolve_contract_settings_for_table(name)
        return bool(settings == DEFAULT_SCHEMA_CONTRACT_MODE)

    def _show(
        self, table: TableRows, at: int, update: dict[str, list[Any]], propagate: bool
    ) -> None:
        normalizer = self.normalizer
        normalizer._load_id = self.owner.load_id
        row = as_row(table.items[at], self)
        if table.parent is None:
            link: tuple[Any, ...] = ({}, table.own, (), None, None, table.level, True)
        else:
            assert table.parent.ids is not None
            assert table.at is not None
            assert table.position is not None
            parent_id = table.parent.ids[table.at[at]].decode()
            extend = {self.names.root_id: "root"} if propagate else {}
            position = int(table.position[at])
            link = (extend, table.own, table.path, parent_id, position, table.level, False)
        _, flat = next(normalizer._normalize_row(row, *link))
        if self.marked:
            flat = {name: self.decode(value) for name, value in flat.items()}
        parent = self.owner._shorten_fragments(*table.path)
        _, partial = self.owner._coerce_row(table.name, parent, flat)
        if partial:
            self._apply(partial, update)

    def _apply(self, partial: Any, update: dict[str, list[Any]]) -> None:
        name = partial["name"]
        self.schema.update_table(partial, normalize_identifiers=False)
        update.setdefault(name, []).append(partial)
        self.owner._column_schemas[name] = self.schema.get_table_columns(name)


def _partial(table: TableRows, columns: list[Any]) -> Any:
    parent: Any = table.parent.name if table.parent is not None else None
    return new_table(table.name, parent, columns=columns)


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


@configspec
class EngineContext(ContainerInjectableContext):
    """Travels to spawned worker processes, where it puts the seam in place."""

    global_affinity: ClassVar[bool] = True
    worker_affinity: ClassVar[bool] = True

    keep_stats: bool = False
    columnar: bool = True
    watches: Any = None

    def after_add(self) -> None:
        WATCHES.update(self.watches or {})
        install(keep_stats=self.keep_stats, columnar=self.columnar)


_installed = False


def install(*, keep_stats: bool, columnar: bool = True) -> bool:
    """Put the engine where dlt's workers look for their normalizer; False where it does not fit.

    Args:
        columnar: False for dlt's own normalizer, watched.
    """
    global _installed
    FileStats.keep = keep_stats
    wanted = ColumnarNormalizer if columnar else WatchedNormalizer
    if _worker.JsonLItemsNormalizer is wanted:
        return True
    if problem := mismatch():
        if not _installed:
            warnings.warn(
                f"millstream's engine does not fit dlt {dlt.__version__} ({problem}): dlt's own "
                "normalizer is used, which is slower",
                stacklevel=3,
            )
        _installed = True
        return False
    _worker.JsonLItemsNormalizer = wanted
    _installed = True
    return True


def activate(*, keep_stats: bool, columnar: bool = True) -> bool:
    """Install the seam in this process and in the workers that it starts."""
    if not install(keep_stats=keep_stats, columnar=columnar):
        return False
    handover.Engine.reads = columnar
    context = EngineContext(keep_stats=keep_stats, columnar=columnar)
    context.watches = WATCHES  # the workers get what it holds when they start
    Container()[EngineContext] = context
    return True


def active() -> bool | None:
    """Whether workers leave counts, where the engine is in place; None where it is not."""
    return FileStats.keep if _worker.JsonLItemsNormalizer is ColumnarNormalizer else None


def watch(schema_name: str, how: Watch | None) -> None:
    """Put aside what of a schema's rows can't be loaded; None ends that."""
    if how is None:
        WATCHES.pop(schema_name, None)
    else:
        WATCHES[schema_name] = how


def deactivate() -> None:
    """Put dlt's own normalizer back."""
    handover.Engine.reads = False
    _worker.JsonLItemsNormalizer = JsonLItemsNormalizer
    container = Container()
    if EngineContext in container:
        del container[EngineContext]


# what this file relies on; the names of parameters stand for what the functions mean
_SHAPES = {
    (JsonLItemsNormalizer, "__call__"): ("self", "extracted_items_file", "root_table_name"),
    (JsonLItemsNormalizer, "_normalize_chunk"): (
        "self", "root_table_name", "items", "may_have_pua", "skip_write",
    ),
    (JsonLItemsNormalizer, "_coerce_row"): ("self", "table_name", "parent_table", "row"),
    (JsonLItemsNormalizer, "_coerce_non_null_value"): (
        "self", "table_columns", "table_name", "col_name", "v", "is_variant",
    ),
    (JsonLItemsNormalizer, "_infer_column"): (
        "self", "k", "v", "data_type", "is_variant", "table_name",
    ),
    (JsonLItemsNormalizer, "_filter_columns"): ("self", "filtered_columns", "row"),
    (Schema, "update_table"): (
        "self", "partial_table", "normalize_identifiers", "merge_compound_props",
    ),
    (Schema, "apply_schema_contract"): (
        "self", "schema_contract", "partial_table", "data_item", "raise_on_freeze",
    ),
    (DataItemNormalizer, "_reset"): ("self",),
    (DataItemNormalizer, "_flatten"): ("self", "table", "dict_row", "_r_lvl"),
    (DataItemNormalizer, "_normalize_row"): (
        "self", "dict_row", "extend", "ident_path", "parent_path", "parent_row_id", "pos",
        "_r_lvl", "is_root",
    ),
    (ParquetDataWriter, "write_data"): ("self", "items"),
    (ParquetDataWriter, "_create_writer"): ("self", "schema"),
}  # fmt: skip


def mismatch() -> str | None:
    """What of the installed dlt is not as this file expects, or None."""
    if tuple(map(int, dlt.__version__.split(".")[:2])) != (1, 31):
        return "written for 1.31"
    for (owner, name), parameters in _SHAPES.items():
        function = getattr(owner, name, None)
        if function is None or tuple(inspect.signature(function).parameters) != parameters:
            return f"{owner.__name__}.{name} has changed"
    if getattr(_worker, "JsonLItemsNormalizer", None) is None:
        return "its worker has changed"
    return None
