"""dlt's own normalizer of rows, with exact coercion and unambiguous typed JSON.

Both are for the rows of Millstream's runs alone, by the name of their dlt schema; what is not named
is normalized as dlt has it. All ways that a row can take end here: dlt's own code, and the engine,
which asks `_coerce_non_null_value` for what it does not do in whole columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from math import isfinite
from typing import Any

import orjson
import pyarrow as pa
from dlt.common.data_types import py_type_to_sc_type
from dlt.common.data_writers.writers import InsertValuesWriter, JsonlWriter, ParquetDataWriter
from dlt.common.destination.capabilities import adjust_column_schema_to_capabilities
from dlt.common.schema import utils
from dlt.common.schema.exceptions import CannotCoerceColumnException
from dlt.common.time import normalize_timezone
from dlt.common.wei import Wei
from dlt.normalize.items_normalizers import JsonLItemsNormalizer

from millstream.engine import copy_writer, nested_columns
from millstream.engine.coercion_rules import (
    ORIGIN,
    ColumnLimits,
    InexactError,
    MisfitError,
    coerce,
    is_time,
    time_limits,
)
from millstream.formats import engine_mode, typed_json

_MOST_DIGITS = 76
"""Arrow's largest decimal."""
_COMMON_DIGITS = 38
_CONTAINERS = frozenset({dict, list})
_CHECKED = frozenset({"bigint", "decimal", "wei", "timestamp"})
"""Types whose values may have more digits than a column of the same type holds."""


class RefusedValueError(ValueError):
    """A value keeps its row out: it has no place in its column, nor in a variant."""

    def __init__(self, table: str, column: str, detail: str) -> None:
        self.table = table
        self.column = column
        self.detail = detail
        super().__init__(f"{table}.{column}: {detail}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.table, self.column, self.detail)


class ExactNormalizer(JsonLItemsNormalizer):
    """A drop-in for dlt's `JsonLItemsNormalizer`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mode = engine_mode.current()
        self._is_run = mode.is_run
        self._rules_of_rows = mode.rules_of(self.schema.name)
        self._coercion = self._rules_of_rows.coercion
        self._is_exact = self._coercion is not None and self._coercion.exact
        self._is_marked = False
        self._bases: dict[str, Any] = {}
        self._known_limits: dict[tuple[Any, ...], ColumnLimits] = {}
        caps = self.config.destination_capabilities if self.config is not None else None
        self._caps: Any = caps
        is_copied = copy_writer.adopt(self.item_storage, caps)
        # SQL and JSON have no word for doubles that are not finite; databases read the text
        writers = (InsertValuesWriter, JsonlWriter)
        is_text = issubclass(self.item_storage.writer_cls, writers)
        self._spells_floats = is_text and self._coercion is not None
        self._is_parquet = issubclass(self.item_storage.writer_cls, ParquetDataWriter)
        # in files, decimals with more digits are read as doubles by some, and refused by others
        is_sql = is_copied or issubclass(self.item_storage.writer_cls, InsertValuesWriter)
        self._is_sql = is_sql
        self._limited: dict[str, tuple[int, tuple[tuple[str, ColumnLimits], ...]]] = {}
        self._writes_json = False
        self._has_wei = is_sql or self._wei_digits()[0] <= _COMMON_DIGITS
        if self._coercion is None:
            return
        _name_blank_lists(self.schema.data_item_normalizer)
        # what dlt's own code asks for each value: instance attributes, as it has them
        this: Any = self
        if self._is_exact:
            found = self._type_map.items()
            self._type_map = {each: name for each, name in found if name not in _CHECKED}
            this._can_coerce_type = _never
            this._coerce_type = self._coerce_new
        else:
            own = this._coerce_type
            # by then all marks are taken off: dlt would take the first character for one
            this._coerce_type = lambda wanted, given, value: (
                value if wanted == given == "json" else own(wanted, given, value)
            )

    def _normalize_chunk(
        self, root_table_name: str, items: list[Any], may_have_pua: bool, skip_write: bool
    ) -> Any:
        self._is_marked = may_have_pua and self._coercion is not None
        self._writes_json = self._coercion is not None
        try:
            return super()._normalize_chunk(root_table_name, items, may_have_pua, skip_write)
        finally:
            self._is_marked = False

    def _coerce_row(self, table_name: str, parent_table: str, row: Any) -> Any:
        if self._is_marked:
            row = typed_json.decode(row)
        self._bases = {}
        new_row, partial = super()._coerce_row(table_name, parent_table, row)
        if partial is not None and self._bases:
            partial["columns"] = {**self._bases, **partial["columns"]}
        if self._is_exact:
            self._check_lengths(table_name, new_row)
        if self._writes_json:
            self._write_nested(table_name, new_row)
        if self._spells_floats:
            for name, value in new_row.items():
                if type(value) is float and not isfinite(value):
                    new_row[name] = typed_json.float_name(value)
        return new_row, partial

    def _infer_column_type(self, v: Any, col_name: str, skip_preferred: bool = False) -> Any:
        if self._coercion is None:
            return super()._infer_column_type(v, col_name, skip_preferred)
        given: str = py_type_to_sc_type(type(v))
        if self._is_exact and skip_preferred:
            return given  # a variant is named after its type
        preferred = None if skip_preferred else self.schema.get_preferred_type(col_name)
        wanted: Any = super()._infer_column_type(v, col_name, skip_preferred)
        is_detected = preferred is None and given == "text" and wanted == "timestamp"
        if is_detected and not self._coercion.detect_timestamps:
            return given
        if not self._is_exact:
            return wanted
        if given == "bigint" and preferred is None and not -(2**63) <= v < 2**63:
            wanted = "wei" if self._has_wei else "bigint"
        if wanted == given:
            return wanted
        try:
            coerce(wanted, given, _plain(v, given), self._new_limits(wanted))
        except (InexactError, MisfitError):
            return given
        return wanted

    def _coerce_non_null_value(
        self,
        table_columns: Any,
        table_name: str,
        col_name: str,
        v: Any,
        is_variant: bool = False,
    ) -> tuple[str, Any, Any]:
        if not self._is_exact:
            return super()._coerce_non_null_value(
                table_columns, table_name, col_name, v, is_variant
            )
        column = table_columns.get(col_name)
        known = column.get("data_type") if column else None
        given: str = py_type_to_sc_type(type(v))
        value = _plain(v, given)
        wanted = known or self._infer_column_type(value, col_name, skip_preferred=is_variant)
        limits = self.limits(column) if known else self._new_limits(wanted)
        is_large = given == "bigint" and not -(2**63) <= value < 2**63
        try:
            result = coerce(wanted, given, value, limits)
        except MisfitError as error:
            if not is_large:
                raise RefusedValueError(table_name, col_name, str(error)) from None
        except InexactError:
            pass
        else:
            if known:
                return col_name, None, self._in_zone(wanted, column, result)
            return self._new_column(table_columns, table_name, col_name, value, is_variant)
        if is_variant:
            given_type: Any = given
            wanted_type: Any = wanted
            raise CannotCoerceColumnException(
                self.schema.name, table_name, col_name, given_type, wanted_type, v
            )
        if column is not None and (_is_key(column) or column.get("nullable") is False):
            what = "key" if _is_key(column) else "column that may not be null,"
            detail = f"a value of type {given} in a {what} of type {wanted}"
            if is_large and wanted == given:
                detail = "more than 64 bits"
            raise RefusedValueError(table_name, col_name, detail)
        if is_large:
            if not known and wanted == "bigint":
                self._bases[col_name] = self._base(column, col_name)
            given, value = self._large(value, wanted)
        name = self._variant_name(table_columns, col_name, given)
        return self._coerce_non_null_value(table_columns, table_name, name, value, is_variant=True)

    def _check_lengths(self, table: str, row: Mapping[str, Any]) -> None:
        """dlt itself looks at no value whose type is its column's."""
        columns: Any = self.schema.tables[table]["columns"] if table in self.schema.tables else {}
        known, limited = self._limited.get(table, (-1, ()))
        if known != len(columns):
            limited = tuple(
                (name, limits)
                for name, column in columns.items()
                if column.get("data_type") in ("text", "binary")
                and (limits := self.limits(column)).length is not None
            )
            self._limited[table] = (len(columns), limited)
        for name, limits in limited:
            value = row.get(name)
            if isinstance(value, str | bytes) and len(value) > (limits.length or 0):
                unit = "characters" if isinstance(value, str) else "bytes"
                raise RefusedValueError(table, name, f"more than {limits.length} {unit}")

    def _write_nested(self, table: str, row: dict[str, Any]) -> None:
        """Write lists and objects as their columns hold them.

        dlt's writers of files fail on integers beyond 64 bits, and write null for doubles that are
        not finite.
        """
        for name, value in row.items():
            if type(value) not in _CONTAINERS:
                continue
            kind = self._kept_type(table, name)
            if kind is not None:
                if not nested_columns.is_given_back(value, kind):
                    raise RefusedValueError(table, name, f"not of the column's type, {kind}")
                continue
            is_large = typed_json.has_large_integer(value)
            if not is_large and not typed_json.has_not_finite(value):
                continue
            if is_large and self._caps is not None and self._caps.sqlglot_dialect == "bigquery":
                raise RefusedValueError(table, name, "an integer of more than 64 bits in JSON")
            text = typed_json.plain_text(value)
            row[name] = text if self._is_sql else orjson.Fragment(text)

    def _kept_type(self, table: str, name: str) -> pa.DataType | None:
        """Of a column that keeps the lists or objects of Arrow tables."""
        known: Any = self.schema.tables.get(table)
        if not known or not self._is_parquet:
            return None
        return nested_columns.type_of(known["columns"].get(name, {}), self._caps)

    def limits(self, column: Mapping[str, Any]) -> ColumnLimits:
        """What a column holds."""
        data_type = column["data_type"]
        hints = ("precision", "scale", "timezone", ORIGIN)
        key = (data_type, *(column.get(hint) for hint in hints))
        found = self._known_limits.get(key)
        if found is None:
            found = self._known_limits[key] = self._limits(data_type, column)
        return found

    def _limits(self, data_type: str, column: Mapping[str, Any]) -> ColumnLimits:
        precision, scale = column.get("precision"), column.get("scale")
        if data_type == "bigint":
            bits = next((bits for bits in (8, 16, 32) if (precision or 64) <= bits), 64)
            return ColumnLimits(bits=bits)
        if data_type == "decimal":
            # as `dlt.common.libs.pyarrow.get_py_arrow_datatype` has it
            own = self._caps.decimal_precision if self._caps is not None else (38, 9)
            return ColumnLimits(digits=own if precision is None else (precision, scale or 0))
        if data_type == "wei":
            return ColumnLimits(digits=self._wei_digits())
        if data_type in ("text", "binary"):
            return ColumnLimits(length=precision)
        if is_time(data_type):
            return time_limits(
                column,
                keeps_offset=self._timezone_override is not False,
                keeps_local=self._timezone_override is not True,
            )
        return ColumnLimits()

    def _wei_digits(self) -> tuple[int, int]:
        whole, scale = self._caps.wei_precision if self._caps is not None else (38, 0)
        if whole > _MOST_DIGITS:
            whole, scale = _MOST_DIGITS, max(0, _MOST_DIGITS - (whole - scale))
        return whole, scale

    def _new_limits(self, data_type: str) -> ColumnLimits:
        # a column of local times is made where the destination has both kinds
        origin = "text" if self._timezone_override is not None else None
        return self.limits({"data_type": data_type, ORIGIN: origin})

    def _coerce_new(self, wanted: str, given: str, value: Any) -> Any:
        return coerce(wanted, given, value, self._new_limits(wanted))

    def _new_column(
        self, table_columns: Any, table_name: str, name: str, value: Any, is_variant: bool
    ) -> tuple[str, Any, Any]:
        column: Any
        name, column, result = super()._coerce_non_null_value(
            table_columns, table_name, name, value, is_variant
        )
        if column is None or not is_time(column["data_type"]):
            return name, column, result
        is_text = type(value) is str
        column = {**column, ORIGIN: "text" if is_text else "value"}
        if is_text and column["data_type"] == "timestamp" and "timezone" not in column:
            moment = self._coerce_new("timestamp", "text", value)
            if moment.tzinfo is None:
                column["timezone"] = False
                result = moment
        return name, column, result

    def _in_zone(self, data_type: str, column: Mapping[str, Any], value: Any) -> Any:
        if data_type != "timestamp":
            return value
        override = self._timezone_override
        return normalize_timezone(
            value, override if override is not None else column.get("timezone", True)
        )

    def _large(self, value: int, wanted: str) -> tuple[str, Any]:
        """The variant for an integer beyond 64 bits: dlt's type for such, else its digits."""
        if wanted == "wei" or not self._has_wei:
            return "text", str(value)
        try:
            coerce("wei", "bigint", value, self._new_limits("wei"))
        except InexactError:
            return "text", str(value)
        return "wei", Wei(value)

    def _base(self, column: Any, name: str) -> Any:
        made: Any = self._infer_column(name, 0, data_type="bigint")
        made = adjust_column_schema_to_capabilities(made, self._caps)
        return utils.merge_column(made, column) if column else made

    def _variant_name(self, columns: Mapping[str, Any], name: str, data_type: str) -> str:
        if data_type == "json":  # as versions of dlt before 1.0 called it
            old = self.naming.shorten_fragments(name, "v_complex")
            if columns.get(old, {}).get("variant"):
                return old
        return self.naming.shorten_fragments(name, f"v_{data_type}")


class _TableNames(dict[str, str]):
    """The names of tables by the key of their list, which dlt does not find for a blank key."""

    def __init__(self, normalizer: Any) -> None:
        super().__init__()
        self._blank: str = normalizer.EMPTY_KEY_IDENTIFIER
        self._find = normalizer._normalize_table_identifier

    def __missing__(self, key: str) -> str:
        name = self[key] = str(self._find(key if key.strip() else self._blank))
        return name


def _name_blank_lists(normalizer: Any) -> None:
    own = getattr(normalizer, "_normalize_table_identifier", None)
    if own is not None and not isinstance(getattr(own, "__self__", None), _TableNames):
        normalizer._normalize_table_identifier = _TableNames(normalizer).__getitem__


def _plain(value: Any, data_type: str) -> Any:
    """The value of an Enum, which dlt takes for a text or an integer."""
    if not isinstance(value, Enum):
        return value
    return int(value.value) if data_type == "bigint" else str(value.value)


def _is_key(column: Mapping[str, Any]) -> bool:
    return bool(column.get("primary_key") or column.get("merge_key"))


def _never(wanted: str, given: str) -> bool:
    return False
