"""The direct lane: rows that look like the ones before go from text to Arrow without Python
objects.

Once a batch has taught the shape of the rows and the schema has settled, Arrow's JSON reader can
parse the next ones by an explicit schema. It takes exactly that shape: an unknown key, a number
for a text, 1.0 for an integer, an integer beyond 64 bits or a key given twice is an error, and
then the batch takes the way through Python. It is never asked to infer anything. Two things it
does not tell apart are told apart here: an absent key and a null, where that matters.

A compiled kernel, where it is loaded, reads lines first; what it does not take is left to Arrow's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from millstream.engine import kernels
from millstream.engine.casts import timestamps
from millstream.engine.coerce_values import TypedTable
from millstream.engine.fast_path.compiled_rows import CompiledRows
from millstream.engine.fast_path.row_shape import Field, Shape
from millstream.engine.flatten import FlatTable
from millstream.engine.schema_rules import NotVectorizableError, Rules
from millstream.formats.raw_part import Block, objects

_LARGEST = 1 << 30
_LARGEST_EXACT = float(1 << 53)
_TYPES = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.string(),
}
Tables = tuple[list[TypedTable], dict[str, pa.Array]]
"""Tables, parents first; and the root's values before any cast, which ids may be made of."""

_Step = Callable[["_Run", FlatTable, TypedTable, Any], None]


@dataclass(slots=True)
class _Run:
    text: bytes
    tables: list[TypedTable] = field(default_factory=list)
    raw: dict[str, pa.Array] = field(default_factory=dict)
    within: int = 0


class Direct:
    """Reads rows of one known shape.

    Raises:
        NotVectorizableError: the shape or its columns can't be read this way.
    """

    def __init__(self, root: str, level: int, shape: Shape, rules: Rules) -> None:
        self._root = root
        self._level = level
        self._rules = rules
        self._taken: set[tuple[str, str | None]] = set()
        row, self._steps = self._object(root, shape)
        self._alone = pa.schema(list(row))
        self._in_list = pa.schema([("rows", pa.list_(row))])
        self._reader: CompiledRows | None = None

    def read(self, block: Block) -> Tables:
        """The tables of a block; from any thread, and mostly without the interpreter's lock.

        Raises:
            NotVectorizableError: it has anything that the shape does not, or that does not fit its
                column.
        """
        rows = self.parse(block)
        run = _Run(block.text, within=len(rows))
        table = FlatTable(self._root, (), (self._root,), self._level, len(rows), ())
        settled = TypedTable(table)
        run.tables.append(settled)
        for step in self._steps:
            step(run, table, settled, rows)
        return run.tables, run.raw

    def parse(self, block: Block) -> Any:
        """The rows of a block as an array of structs.

        Raises:
            NotVectorizableError: it has anything that the shape does not.
        """
        text = block.text
        if len(text) > _LARGEST:
            raise NotVectorizableError("a very long text")
        try:
            if block.rows is None:
                # its UTF-8 was checked by whoever wrote the list: orjson, or sources/json_lines.py
                found = self._read(b'{"rows":' + text + b"}", self._in_list)
                if found.num_rows != 1:
                    raise NotVectorizableError("not one list")
                rows = found.column(0).chunk(0).values
            else:
                if (rows := self._compiled(text, block.rows)) is not None:
                    return rows
                if objects(text) != block.rows:
                    raise NotVectorizableError("rows that are not objects")
                found = self._read(text, self._alone)
                # a line ends with an object and the next begins with one: only between rows. As
                # many rows as lines are one row a line
                if found.num_rows != block.rows:
                    raise NotVectorizableError("not one object a line")
                (batch,) = found.to_batches()
                rows = batch.to_struct_array()
                rows.validate(full=True)  # UTF-8; halves of surrogate pairs are none
        except pa.ArrowInvalid as error:
            raise NotVectorizableError(f"another shape: {error}") from None
        if rows.null_count or not len(rows):
            raise NotVectorizableError("rows that are null, or none")
        return rows

    def _compiled(self, text: bytes, count: int) -> Any:
        """The rows, by a compiled kernel; None where there is none, or it leaves them to Arrow."""
        # only where asked for: it takes 4% off a bulk run's CPU, and numba 90 MB of memory
        ready = kernels.ready(0) if kernels.setting() == "on" else None
        if ready is None or ready.json_rows is None:
            return None
        if self._reader is None:
            self._reader = CompiledRows(ready.json_rows, pa.struct(list(self._alone)))
        rows = self._reader.read(text, count)
        if rows is not None:
            rows.validate(full=True)  # UTF-8
        return rows

    @staticmethod
    def _read(text: bytes, schema: pa.Schema) -> pa.Table:
        return arrow_json.read_json(
            pa.BufferReader(text),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(text) + 64),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="error"
            ),
        )

    def _object(self, table: str, shape: Shape) -> tuple[pa.DataType, list[_Step]]:
        types: list[pa.Field] = []
        steps: list[_Step] = []
        for key, each in shape.items():
            at = len(types)
            if each.kind is None:
                self._take(table, each.name)  # dlt may let its null win
                types.append(pa.field(key, pa.null()))
                steps.append(_of_field(at, _only_null(key, each)))
                continue
            if each.kind == "value":
                kind, step = self._value(table, key, each)
            elif each.kind == "object":
                kind, step = self._inner(table, key, each)
            else:
                kind, step = self._list(key, each)
            types.append(pa.field(key, kind))
            steps.append(_of_field(at, step))
        return pa.struct(types), steps

    def _value(self, table: str, key: str | None, each: Field) -> tuple[pa.DataType, _Step]:
        rules = self._rules
        column = rules.column(table, each.name)
        kind = _TYPES.get(column["data_type"]) if column else None
        if column is None or kind is None:
            raise NotVectorizableError(f"{table}.{each.name} is settled value by value")
        if rules.max_length(column) is not None:
            raise NotVectorizableError(f"{table}.{each.name} has a limited length")
        to = rules.arrow_type(column)
        is_time, is_double = column["data_type"] == "timestamp", column["data_type"] == "double"
        if not is_time and to != kind:
            raise NotVectorizableError(f"{table}.{each.name} is {to}")
        nullable = column.get("nullable", True)
        texts = rules.time_texts(column)
        name = each.name
        self._take(table, name)
        null = _null(key) if key is not None else None

        def step(run: _Run, rows: FlatTable, settled: TypedTable, array: Any) -> None:
            values = len(array) - array.null_count
            if not each.ragged and null is not None and values < run.within:
                # a key that is never null is absent where it has no value
                each.ragged = null.search(run.text) is None
            if not each.ragged:
                settled.present[name] = run.within
            if array.null_count and not nullable:
                raise NotVectorizableError(f"null in {table}.{name}")
            if is_double and pc.all(pc.is_finite(array)).as_py() is False:
                raise NotVectorizableError(
                    f"NaN or infinity in {table}.{name}"
                )  # Arrow takes the words for it
            if is_double and rules.is_exact and _has_large(array):
                raise NotVectorizableError(
                    f"large numbers in {table}.{name}"
                )  # perhaps rounded integers
            if not is_time:
                settled.arrays[name] = (array, None)
                run.raw[f"{table}.{name}"] = array
                return
            try:
                settled.arrays[name] = (timestamps(array, to, texts), None)
            except (KeyError, ValueError) as error:
                raise NotVectorizableError(f"{table}.{name}: {error}") from None

        return kind, step

    def _take(self, table: str, name: str | None) -> None:
        # rows of different lines may have different keys for one column: `Foo` here, `foo` there
        if (table, name) in self._taken:
            raise NotVectorizableError(f"two keys for {table}.{name}")
        self._taken.add((table, name))

    def _inner(self, table: str, key: str, each: Field) -> tuple[pa.DataType, _Step]:
        kind, steps = self._object(table, each.fields)
        check = _null_check(key, each)

        def step(run: _Run, rows: FlatTable, settled: TypedTable, array: Any) -> None:
            check(run, array)
            within, run.within = run.within, len(array) - array.null_count
            for inner in steps:
                inner(run, rows, settled, array)
            run.within = within

        return kind, step

    def _list(self, key: str | None, each: Field) -> tuple[pa.DataType, _Step]:
        item = each.item
        if item is None or item.kind is None:
            # only empty lists so far: anything in one is news
            return pa.list_(pa.null()), _empty_list(key, each)
        name, own = each.table, each.own_path
        self._take(name, None)
        if item.kind == "object":
            kind, steps = self._object(name, item.fields)
        elif item.kind == "list":
            kind, inner = self._list(None, item)
            steps = [inner]
        else:
            kind, inner = self._value(name, None, item)
            steps = [inner]
        nested = item.kind != "value"
        check = _null_check(key, each)

        def step(run: _Run, rows: FlatTable, settled: TypedTable, array: Any) -> None:
            check(run, array)
            items = array.flatten()
            if not len(items):
                return
            if nested and items.null_count:
                raise NotVectorizableError(f"null in a list of {name}")
            at = pc.list_parent_indices(array).to_numpy()
            lengths = np.bincount(at, minlength=rows.size)
            position = np.arange(len(at)) - (np.cumsum(lengths) - lengths)[at]
            child = FlatTable(
                name, rows.path + rows.own, own, 0, len(items), (), rows, at, position
            )
            found = TypedTable(child)
            run.tables.append(found)
            within, run.within = run.within, len(items)
            for inner in steps:
                inner(run, child, found, items)
            run.within = within

        return pa.list_(kind), step


def _has_large(array: Any) -> bool:
    largest = pc.max(pc.abs(array)).as_py()
    return largest is not None and largest >= _LARGEST_EXACT


def _of_field(at: int, step: _Step) -> _Step:
    def run_field(run: _Run, rows: FlatTable, settled: TypedTable, array: Any) -> None:
        step(run, rows, settled, array.field(at))

    return run_field


def _only_null(key: str, each: Field) -> _Step:
    """A key that has had no value yet: as many rows have it as its text has it with a null."""
    null = _null(key)

    def step(run: _Run, rows: FlatTable, settled: TypedTable, array: Any) -> None:
        found = None if not each.ragged else sum(1 for _ in null.finditer(run.text))
        if found is None and null.search(run.text) is None:
            each.ragged, found = True, 0
        # other objects may have a key of that name, too
        settled.present[each.name] = run.within if found is None else min(found, run.within)

    return step


def _empty_list(key: str | None, each: Field) -> _Step:
    check = _null_check(key, each)

    def step(run: _Run, rows: FlatTable, settled: TypedTable, array: Any) -> None:
        check(run, array)
        if len(array.flatten()):
            raise NotVectorizableError(f"the first items of {key}")

    return step


def _null(key: str) -> re.Pattern[bytes]:
    """A key whose value is null, in a text."""
    return re.compile(re.escape(orjson.dumps(key)) + rb"\s*:\s*null")


def _null_check(key: str | None, each: Field) -> Callable[[_Run, Any], None]:
    """An object or a list that is null, not absent, for the first time is a column of nulls."""
    if key is None or each.null:
        return lambda run, array: None
    null = _null(key)

    def check(run: _Run, array: Any) -> None:
        # where the object around it is absent or null, it is null, too
        if array.null_count > len(array) - run.within and null.search(run.text):
            raise NotVectorizableError(f"the first null of {key}")

    return check
