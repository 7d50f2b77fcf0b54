"""Arrow tables that a source yields, without rows that their columns would not give back.

dlt takes Arrow tables, and frames of pandas and polars, to the destination as they are: no value
of theirs is looked at. Here each column is compared with what its column in the schema holds, as a
whole where Arrow can, value by value where it can't. Rows that do not fit, or that lack a key,
leave the table in an envelope, and go to quarantine; values of a type that fits exactly are
converted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dlt
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from dlt.common.libs.pyarrow import (
    UnsupportedArrowTypeException,
    get_column_type_from_py_arrow,
    get_py_arrow_datatype,
)
from dlt.common.normalizers.json.helpers import get_row_hash

from millstream.dlt_compat.pipes import handed_on, is_import, pipe_of
from millstream.engine import arrow_sizes, arrow_times, row_size
from millstream.engine.arrow_items import (
    as_table,
    is_arrow,
    plain_rows,
    storable_rows,
    tables_of_relation,
)
from millstream.engine.coercion_rules import InexactError, MisfitError, coerce
from millstream.engine.dlt.key_collisions import Collision
from millstream.engine.schema_size import check_schema_size
from millstream.formats import row_keys
from millstream.formats.json_path import json_path
from millstream.quarantine import envelope

if TYPE_CHECKING:
    from dlt.sources import DltResource

Column = Mapping[str, Any]
_Reasons = dict[int, tuple[str, str]]
"""By the position of a row: the column that is wrong, and what is wrong with it."""

_TYPE = ("data_type", "precision", "scale", "timezone")
_STORED = "x-millstream-stored"
"""In a column: its type is that of the schema, not one that a resource declares."""


class ArrowCheck:
    """A step of a resource: items in, items without rows that do not fit out.

    Args:
        name: gives the name of the table that an item goes to.
        columns: gives its columns, by their names there.
        normalize: makes a column's name of a key.
        capabilities: of the destination.
        is_exact: whether values are compared with their columns; else keys alone are.
        takes_turns: whether the order of an item's rows among others matters. dlt extracts Arrow
            tables into a file of their own, so that what comes behind other rows becomes rows.
        makes_variants: whether a table with a column of another type than the schema's becomes
            rows, of which the engine takes values to variants.

    Attributes:
        lost: values that went to no column, since another key has its name.
        given: by table, in how many rows of Arrow tables the source gave a column; the empty name
            has all of them. dlt adds the columns that a table lacks, as null.
    """

    def __init__(
        self,
        name: Callable[[Any], str],
        columns: Callable[[Any], Mapping[str, Column]],
        normalize: Callable[[str], str],
        capabilities: Any,
        *,
        is_exact: bool,
        takes_turns: Callable[[Any], bool] = lambda _: False,
        makes_variants: bool = False,
    ) -> None:
        self._name = name
        self._columns = columns
        self._normalize = normalize
        self._caps = capabilities
        self._is_exact = is_exact
        self._takes_turns = takes_turns
        self._makes_variants = makes_variants
        self._rows_came = False
        self.lost: Counter[Collision] = Counter()
        self.given: dict[str, Counter[str]] = {}

    def __call__(self, item: Any, meta: Any = None) -> Any:
        if is_import(meta):
            self._rows_came = True
            return handed_on(item, meta)
        if isinstance(item, list):
            if not any(is_arrow(each) for each in item):
                self._rows_came |= bool(item)
                return item
            return (part for each in item for part in self._parts(each))
        if is_arrow(item):
            return self._parts(item)
        if (tables := tables_of_relation(item)) is not None:
            return (part for table in tables for part in self._parts(table))
        self._rows_came = True
        return item

    def _parts(self, item: Any) -> Iterator[Any]:
        table = as_table(item)
        if table is None:
            self._rows_came = True
            yield item
            return
        notes = dict(table.schema.metadata or {})
        origin, keys = notes.pop(envelope.ORIGIN, b"").decode(), row_keys.take(notes)
        table = self._without_twins(item, table.replace_schema_metadata(notes or None))
        if not table.num_rows:
            yield table
            return
        reasons: _Reasons = {}
        columns = self._columns(item)
        if self._makes_variants and self._has_other_types(table, columns):
            self._rows_came = True
            yield from self._as_rows(table, keys, origin)
            return
        self._check_width(item, table, columns)
        if self._caps.sqlglot_dialect == "postgres":
            for at in row_size.too_large(table):
                reasons[at] = "", f"its values take more than the {row_size.ROOM:,} bytes of a row"
        checked = self._with_versions(self._checked(table, columns, reasons), columns)
        checked = _without(checked, reasons)
        if checked.num_rows:
            # dlt takes away columns of the type null, and rows that have no others with them
            is_null = all(pa.types.is_null(each) for each in checked.schema.types)
            self._rows_came |= is_null
            is_late = self._rows_came and self._takes_turns(item)
            if is_late or is_null:
                yield from self._as_rows(checked, keys, origin)
            else:
                self._note_columns(item, checked)
                yield checked
        yield from _refused(table, reasons, keys, origin)

    def _as_rows(self, table: pa.Table, keys: Mapping[str, str], origin: str) -> Iterator[Any]:
        """A table as rows of Python, which the engine compares with their columns."""
        reasons: _Reasons = {}
        for at, name, detail in arrow_times.lost_in_rows(table):
            reasons.setdefault(at, (name, detail))
        whole = _without(table, reasons)
        if whole.num_rows:
            yield plain_rows(row_keys.called(whole, keys))
        yield from _refused(table, reasons, keys, origin)

    def _note_columns(self, item: Any, table: pa.Table) -> None:
        given = self.given.setdefault(self._name(item), Counter())
        for name in ("", *{self._normalize(each) for each in table.column_names}):
            given[name] += table.num_rows

    def _has_other_types(self, table: pa.Table, columns: Mapping[str, Column]) -> bool:
        for field in table.schema:
            wanted = columns.get(self._normalize(field.name), {}).get("data_type")
            given = _data_type(field.type)
            if None not in (wanted, given) and wanted != given:
                return True
        return False

    def _check_width(self, item: Any, table: pa.Table, columns: Mapping[str, Column]) -> None:
        if len(columns) + table.num_columns >= row_size.FEWEST:
            names = [self._normalize(name) for name in table.schema.names]
            name = self._name(item)
            known = {name: {"columns": columns}}
            check_schema_size(name, {name: names}, known, self._caps.sqlglot_dialect)

    def _checked(
        self, table: pa.Table, columns: Mapping[str, Column], reasons: _Reasons
    ) -> pa.Table:
        names = [self._normalize(name) for name in table.schema.names]
        for name, column in columns.items():
            if _is_required(column):
                if name not in names:
                    missing: Any = range(table.num_rows)
                else:
                    missing = _where(pc.is_null(table.column(names.index(name))))
                for at in missing:
                    reasons.setdefault(at, (name, ", which may not be null, is missing"))
        if not self._is_exact:
            return table
        for at, name in enumerate(names):
            fitted = self._fitted(name, table.column(at), columns.get(name), reasons)
            if fitted is not None:
                table = table.set_column(at, table.schema.field(at).with_type(fitted.type), fitted)
        return table

    def _with_versions(self, table: pa.Table, columns: Mapping[str, Column]) -> pa.Table:
        """With the hash of each row as its id, where scd2 tells versions by it."""
        row = self._normalize("_dlt_id")
        names = [self._normalize(name) for name in table.schema.names]
        if not columns.get(row, {}).get("x-row-version") or row in names:
            return table
        hashes = [
            get_row_hash({name: value for name, value in zip(names, row) if value is not None})
            for row in zip(*(column.to_pylist() for column in table.columns))
        ]
        return table.append_column(row, pa.array(hashes, pa.string()))

    def _without_twins(self, item: Any, table: pa.Table) -> pa.Table:
        """Of columns that get one name the last one, as of keys of a row; counts what is lost."""
        names = [self._normalize(name) for name in table.schema.names]
        if len({*names}) == len(names):
            return table
        last = {name: at for at, name in enumerate(names)}
        for at, name in enumerate(names):
            if (kept := last[name]) == at:
                continue
            lost, stays = table.column(at), table.column(kept)
            count = len(lost) - lost.null_count
            if lost.type == stays.type and not pa.types.is_nested(lost.type):
                count -= len(_where(pc.equal(lost, stays)))
            if count:
                keys = sorted((table.schema.names[at], table.schema.names[kept]))
                self.lost[Collision(self._name(item), "column", name, (keys[0], keys[1]))] += count
        return table.select(sorted(last.values()))

    def _fitted(
        self, name: str, array: pa.ChunkedArray, column: Column | None, reasons: _Reasons
    ) -> pa.ChunkedArray | None:
        """The values in another type, where that is needed; None where they stay as they are."""
        kind = array.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        try:
            given = get_column_type_from_py_arrow(kind).get("data_type")
        except UnsupportedArrowTypeException:
            detail = f"a value of type {kind} can not be stored"
            self._note(name, _where(pc.is_valid(array)), detail, reasons)
            return pa.chunked_array([pa.nulls(len(array))])
        wanted = column.get("data_type") if column else None
        if given is None:
            return None
        if "json" in (given, wanted):
            if wanted == given or column is None or not column.get(_STORED):
                return None
            # dlt would give the column the item's type
            self._note(name, _where(pc.is_valid(array)), f"{given} is not {wanted}", reasons)
            return pa.chunked_array([pa.nulls(len(array))])
        if wanted is not None and wanted != given:
            assert column is not None
            return self._converted(name, array, column, given, reasons)
        if kind in (pa.float16(), pa.float32()):
            # Arrow has no minimum of the one; the shortest text of the other is another double
            return array.cast(pa.float64())
        precision = column.get("precision") if column else None
        sized = column if wanted or precision else None
        if pa.types.is_temporal(kind):
            array = self._within_years(name, array.cast(kind), reasons)
        if given == "decimal" and sized is None and self._is_duckdb and kind.precision > 38:
            sized = {"data_type": given, "precision": 38, "scale": min(kind.scale, 38)}
        if given == "decimal" and sized is not None:
            digits, scale = arrow_sizes.digits_of(sized, self._caps)
            target = (pa.decimal128 if digits <= 38 else pa.decimal256)(digits, scale)
            if kind != target:
                try:
                    return array.cast(target)
                except pa.ArrowInvalid:
                    return self._converted(name, array, sized, given, reasons)
        elif given in ("text", "binary") and precision is not None:
            lengths = pc.utf8_length if given == "text" else pc.binary_length
            wrong = _where(pc.greater(lengths(array), precision))
            detail = f"more than {precision} {'characters' if given == 'text' else 'bytes'}"
            self._note(name, wrong, detail, reasons)
        if given in ("bigint", "binary", "time", "timestamp"):
            return self._sized(name, array.cast(kind), sized, reasons)
        return None

    @property
    def _is_duckdb(self) -> bool:
        return bool(self._caps.sqlglot_dialect == "duckdb")

    def _within_years(
        self, name: str, array: pa.ChunkedArray, reasons: _Reasons
    ) -> pa.ChunkedArray:
        """Dates and times, without those that no column holds."""
        if self._is_duckdb and (pa.types.is_date(array.type) or array.type.unit == "us"):
            return array
        wrong = arrow_times.outside_of_years(array)
        if not wrong:
            return array
        self._note(name, wrong, arrow_times.OUTSIDE, reasons)
        return pc.if_else(pa.array(_others(len(array), wrong)), array, None)

    def _sized(
        self, name: str, array: pa.ChunkedArray, column: Column | None, reasons: _Reasons
    ) -> pa.ChunkedArray | None:
        """The values in a type of the size that their column has; None where they have it.

        Args:
            column: None where it is new.
        """
        size = arrow_sizes.size_of(array, column, self._caps)
        if size.is_wrong is not None and (wrong := _where(size.is_wrong)):
            self._note(name, wrong, size.detail, reasons)
            array = pc.if_else(pc.fill_null(size.is_wrong, False), None, array)
        elif array.type == size.kind:
            return None
        return array.cast(size.kind)

    @staticmethod
    def _note(name: str, wrong: Any, detail: str, reasons: _Reasons) -> None:
        for at in wrong:
            reasons.setdefault(at, (name, f": {detail}"))

    def _converted(
        self,
        name: str,
        array: pa.ChunkedArray,
        column: Column,
        given: str,
        reasons: _Reasons,
    ) -> pa.ChunkedArray:
        """Value by value, as rows of other sources are."""
        wanted = column["data_type"]
        limits = arrow_sizes.limits_of(column, self._caps)
        values: list[Any] = []
        for at, value in enumerate(array.to_pylist()):
            try:
                values.append(None if value is None else coerce(wanted, given, value, limits))
            except (InexactError, MisfitError) as error:
                reasons.setdefault(at, (name, f": {error}"))
                values.append(None)
        target = get_py_arrow_datatype(column, self._caps, "UTC")  # type: ignore[arg-type]
        return pa.chunked_array([pa.array(values, type=target, from_pandas=False)])


def check_arrow_items(
    resource: DltResource,
    normalize: Callable[[str], str],
    capabilities: Any,
    *,
    is_exact: bool,
    makes_variants: bool = False,
) -> ArrowCheck:
    """Have rows of Arrow tables that do not fit their columns quarantined, at a resource's end.

    Returns:
        The step, which counts while the resource is read.
    """

    def name_of(item: Any) -> str:
        declared = resource.compute_table_schema(item)
        return str(dlt.current.source_schema().naming.normalize_tables_path(str(declared["name"])))

    def columns(item: Any) -> Mapping[str, Column]:
        hints = resource.compute_table_schema(item)["columns"]
        found: dict[str, Column] = {normalize(each): column for each, column in hints.items()}

        def declared(each: str) -> Collection[str]:
            """What is not the schema's to say: a type that is declared comes before its own."""
            return _TYPE if found.get(each, {}).get("data_type") else ()

        # what is extracted into: earlier items of this load have made columns, too
        tables = dlt.current.source_schema().tables
        known: Any = tables.get(name_of(item), {}).get("columns", {})
        return {
            each: {
                **found.get(each, {}),
                **{k: v for k, v in column.items() if v is not None and k not in declared(each)},
                _STORED: bool(known.get(each, {}).get("data_type")),
            }
            for each, column in {**found, **known}.items()
        }

    def takes_turns(item: Any) -> bool:
        found = columns(item).values()
        disposition = resource.compute_table_schema(item).get("write_disposition")
        has_key = any(column.get("primary_key") for column in found)
        return has_key and disposition in ("merge", "replace")

    check = ArrowCheck(
        name_of,
        columns,
        normalize,
        capabilities,
        is_exact=is_exact,
        takes_turns=takes_turns,
        makes_variants=makes_variants,
    )
    # behind the cursor, which is told of all rows
    resource.add_step(check, insert_at=len(pipe_of(resource)))
    return check


def _is_required(column: Column) -> bool:
    is_key = column.get("primary_key") or column.get("merge_key")
    is_own = str(column.get("name", "")).startswith("_dlt_")
    return not is_own and (bool(is_key) or column.get("nullable") is False)


def _data_type(kind: pa.DataType) -> str | None:
    try:
        return get_column_type_from_py_arrow(kind).get("data_type")
    except UnsupportedArrowTypeException:  # of which each value is refused
        return None


def _others(count: int, positions: Collection[int]) -> Any:
    mask = np.ones(count, dtype=bool)
    mask[list(positions)] = False
    return mask


def _without(table: pa.Table, positions: Collection[int]) -> pa.Table:
    return table.filter(pa.array(_others(table.num_rows, positions))) if positions else table


def _refused(
    table: pa.Table, reasons: _Reasons, keys: Mapping[str, str], origin: str
) -> Iterator[Any]:
    """Rows of a table in envelopes, which take them to quarantine."""
    if not reasons:
        return
    positions = sorted(reasons)
    rows = storable_rows(row_keys.called(table.take(pa.array(positions)), keys))
    for at, row in zip(positions, rows):
        name, detail = reasons[at]
        detail = f"`{name}`{detail}" if name else detail
        yield envelope.refused(
            row, detail=detail, path=json_path("", keys.get(name, name)), origin=origin
        )


def _where(mask: pa.ChunkedArray) -> list[int]:
    found: list[int] = pc.indices_nonzero(mask.fill_null(False)).to_pylist()
    return found
