"""The engine's questions, answered by dlt's schema.

dlt's schema object stays the judge: names, nesting, types, coercion and contracts are asked of it,
and rows that change the schema are shown to dlt's own inference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy, deepcopy
from typing import Any, cast

import pyarrow as pa
from dlt.common.destination.capabilities import adjust_column_schema_to_capabilities
from dlt.common.json import (
    custom_pua_decode,
    custom_pua_decode_nested,
    json,
)
from dlt.common.libs.pyarrow import get_py_arrow_datatype
from dlt.common.normalizers.json.helpers import get_row_hash
from dlt.common.normalizers.json.relational import DataItemNormalizer
from dlt.common.normalizers.utils import DLT_ID_LENGTH_BYTES as ID_BYTES
from dlt.common.schema.schema import DEFAULT_SCHEMA_CONTRACT_MODE
from dlt.common.schema.utils import new_table
from dlt.common.time import get_context_timezone_name, normalize_timezone

from millstream.engine.coerce_values import TypedTable
from millstream.engine.coercion_rules import TimeForm
from millstream.engine.dlt.quarantining_normalizer import WatchedNormalizer
from millstream.engine.dlt.row_refusals import required_columns
from millstream.engine.flatten import FlatTable, as_row
from millstream.engine.row_ids import Ids, from_texts, random_ids
from millstream.engine.row_size import may_be_too_large
from millstream.engine.schema_rules import Columns, NotVectorizableError, Rules
from millstream.engine.tables import LinkNames
from millstream.formats import typed_json
from millstream.formats.json_path import KEY_PATH
from millstream.formats.key_names import SEPARATOR, KeyNames
from millstream.formats.system_columns import free_column

_LARGE = float(2**63)
# orjson writes floats from 1e16 on with an exponent
_LARGE_IN_JSON = re.compile(r"\de\+\d\d")


class PrecisionLossError(Exception):
    """A float that may have been an integer beyond 64 bits: the text must be parsed again."""


class DltRules(Rules):
    """The engine's questions, answered by dlt's schema and by the normalizer that this serves."""

    def __init__(self, owner: WatchedNormalizer) -> None:
        # dlt's types are looser here than its code: what it has is checked by `dlt_compat.contract`
        self.owner: Any = owner
        self.schema: Any = owner.schema
        self.normalizer: Any = owner.schema.data_item_normalizer
        normalizer = self.normalizer
        self.marked = False
        self.exact = False
        self.is_exact = owner._is_exact
        self.caps: Any = owner.config.destination_capabilities
        self.null_only: list[tuple[str, str]] = []
        self._names: dict[tuple[tuple[str, ...], ...], tuple[str, str]] = {}
        self._types: dict[tuple[Any, ...], pa.DataType] = {}
        if isinstance(normalizer, DataItemNormalizer):
            self.value = normalizer.c_value
            self.names = LinkNames.of_normalizer(normalizer)
            self._reserved = self.names.all()

    def column_name(
        self, above: tuple[str, ...], path: tuple[str, ...], key: str
    ) -> tuple[str, str]:
        names = self._key_names(above)
        at = (above if names else (), path, (key,))
        found = self._names.get(at)
        if found is None:
            normalizer = self.normalizer
            if names:
                own = names.name((*above[1:], *path), key)
            else:
                blank = not key or key.isspace()
                own = (
                    normalizer.EMPTY_KEY_IDENTIFIER
                    if blank
                    else normalizer._normalize_identifier(key)
                )
            name = normalizer._shorten_fragments(*path, own) if path or names else own
            name = free_column(name, self.owner.dialect)
            if name in self._reserved:
                raise NotVectorizableError(f"the data has {name}")
            found = self._names[at] = (name, own)
        return found

    def list_name(self, above: tuple[str, ...], path: tuple[str, ...], key: str) -> str:
        names = self._key_names(above)
        if names:
            return names.name((*above[1:], *path), key)
        return str(self.normalizer._normalize_table_identifier(key))

    def name_keys(self, above: tuple[str, ...], path: tuple[str, ...], keys: Iterable[str]) -> None:
        if names := self._key_names(above):
            names.decide((*above[1:], *path), keys)

    def is_named(self, above: tuple[str, ...], path: tuple[str, ...], key: str) -> bool:
        names = self._key_names(above)
        return names is None or key in names.scope((*above[1:], *path))

    def table_name(self, path: tuple[str, ...]) -> str:
        name = str(self.normalizer._shorten_fragments(*path))
        if names := self._key_names(path):
            names.paths[name] = path[1:]
        return name

    def _key_names(self, above: tuple[str, ...]) -> KeyNames | None:
        names: KeyNames | None = self.owner.key_names
        return names if names is not None and above[0] == names.root else None

    def stored_as_json(self, table: str, column: str, level: int) -> bool:
        return bool(self.normalizer._is_nested_type(table, column, level))

    def check_table(self, table: str, root: bool) -> bool:
        if table in self.owner._filtered_tables:
            self._leave_to_watch(table)
            return False
        if not root and not self.normalizer._should_be_nested(table):
            raise NotVectorizableError(f"{table} is not declared as nested")
        expected = {self.names.id: self.names.root_id}
        if (passed := self._passed(table, root)) and (passed != expected or not root):
            raise NotVectorizableError(f"{table} passes columns on to nested tables")
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
            raise NotVectorizableError(f"the contract discards rows with {table}.{column}")
        if modes[column] == "discard_value":
            self._leave_to_watch(f"{table}.{column}")
            return True
        return False

    def _leave_to_watch(self, what: str) -> None:
        if self.owner._watch is not None:
            raise NotVectorizableError(f"what the contract discards is kept: {what}")

    def allows_null(self, table: str, column: str) -> bool:
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

    def check_complete(self, settled: Sequence[TypedTable]) -> None:
        for one in settled:
            for name in self.required(one.table.name):
                array, index = one.arrays.get(name, (None, None))
                if array is None or array.null_count or index is not None:
                    raise NotVectorizableError(f"no value for {one.table.name}.{name} in some rows")
            if self.owner.dialect == "postgres" and may_be_too_large(one):
                raise NotVectorizableError(f"rows of {one.table.name} may not fit a page")

    def required(self, table: str) -> list[str]:
        return required_columns(self.schema, table)

    def passthrough_types(self, column: Mapping[str, Any] | None) -> frozenset[type]:
        wanted = column.get("data_type") if column else None
        if wanted is None or wanted == "timestamp":  # moments may change their zone
            return frozenset()
        if column is not None and self.max_length(column) is not None:
            return frozenset()
        types = self.normalizer.py_type_to_sc_type_map.items()
        return frozenset(t for t, given in types if given == wanted)

    def time_texts(self, column: Mapping[str, Any]) -> TimeForm | None:
        return self.owner.limits(column).texts if self.is_exact else None

    def max_length(self, column: Mapping[str, Any]) -> int | None:
        found: int | None = self.owner.limits(column).length if self.is_exact else None
        return found

    def coerce(
        self, columns: Columns, table: str, name: str, value: Any
    ) -> tuple[str, Mapping[str, Any] | None, Any]:
        # the fast branch of `_coerce_row`, then the function that it calls for everything else
        owner = self.owner
        if self.is_exact:
            exact: tuple[str, Mapping[str, Any] | None, Any]
            exact = owner._coerce_non_null_value(columns, table, name, value)
            return exact
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
                raise NotVectorizableError(f"{table}.{target} is taken")
            return target, None, result
        new = self.owner._infer_column(target, value, data_type=data_type, is_variant=True)
        return target, adjust_column_schema_to_capabilities(new, self.caps), result

    def arrow_type(self, column: Mapping[str, Any]) -> pa.DataType:
        if self.caps.supports_nested_types and column.get("x-nested-type"):
            raise NotVectorizableError(f"{column['name']} is a nested column")
        key = tuple(column.get(p) for p in ("data_type", "precision", "scale", "timezone"))
        found = self._types.get(key)
        if found is None:
            found = get_py_arrow_datatype(
                cast("Any", column), self.caps, get_context_timezone_name()
            )
            if pa.types.is_fixed_size_binary(found):  # dlt takes the limit for the number of bytes
                found = pa.binary()
            self._types[key] = found
        return found

    def decode(self, value: Any) -> Any:
        if type(value) is str:
            found = custom_pua_decode(value)
        else:
            found = custom_pua_decode_nested(deepcopy(value))
        return found if self.owner._coercion is None else typed_json.decode(found)

    def check_floats(self, values: Sequence[Any]) -> None:
        floats = [value for value in values if type(value) is float]
        if not self.exact and any(map(_LARGE.__le__, map(abs, floats))):
            raise PrecisionLossError

    def dumps(self, value: Any) -> str:
        try:
            text: str = json.dumps(value)
        except TypeError:
            if not self.exact:
                raise
            # orjson writes no integers beyond 64 bits, and BigQuery's JSON holds none
            if self.is_exact and self.caps.sqlglot_dialect == "bigquery":
                raise NotVectorizableError("an integer of more than 64 bits in JSON") from None
            return typed_json.plain_text(value)
        if "null" in text and self.is_exact and typed_json.has_not_finite(value):
            text = typed_json.plain_text(value)
        if not self.exact and _LARGE_IN_JSON.search(text):
            raise PrecisionLossError
        return text

    def root_ids(self, table: FlatTable) -> Ids:
        """Random ids, or the hash of the key or of the row where the merge strategy asks for it."""
        kind = self.normalizer._get_root_row_id_type(table.name)
        if kind == "row_hash":
            return from_texts(map(get_row_hash, table.items))
        if kind == "key_hash":
            return self._key_hashes(table)
        return random_ids(table.size, ID_BYTES)

    def raw_ids(self, table: FlatTable, raw: Mapping[str, pa.Array]) -> Ids:
        """The root's ids, from values that never were Python objects."""
        kind = self.normalizer._get_root_row_id_type(table.name)
        if kind == "random":
            return random_ids(table.size, ID_BYTES)
        key = self.normalizer._get_primary_key(table.name)
        arrays = [raw.get(f"{table.name}.{name}") for name in key]
        if kind != "key_hash" or any(array is None or array.null_count for array in arrays):
            raise NotVectorizableError(f"ids of {table.name} are made of whole rows")
        rows = zip(*(array.to_pylist() for array in arrays if array is not None))
        return from_texts(get_row_hash(dict(zip(key, row)), subset=key) for row in rows)

    def settled(self, root: str) -> bool:
        """Whether a root table has nothing that needs a look at each row."""
        return self.check_table(root, root=True)

    def has_links(self, table: FlatTable, propagate: bool) -> bool:
        """Whether the schema has the table and the columns that link it."""
        links = self.names.of(root=table.parent is None, propagate=propagate)
        for name in links:
            column = self.column(table.name, name)
            if column is None:
                return False
            if column["data_type"] != ("bigint" if name == self.names.list_idx else "text"):
                raise NotVectorizableError(f"{table.name}.{name} is taken")
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
            table = FlatTable(root, (), (root,), 0, 0, ())
            tables = [table]
            for own in lists:
                path = table.path + table.own
                name = self.table_name((*path, *own))
                table = FlatTable(name, path, own, 0, 0, (), table)
                tables.append(table)
            if self.column(table.name, column) or not self._evolves_freely(table):
                continue
            for each in tables[:-1]:  # dlt wants each table on the way
                if each.name not in self.schema.tables:
                    self._apply(_partial(each, []), update)
            hint = {"name": column, "data_type": "double", "nullable": True}
            self._apply(_partial(table, [hint]), update)

    def _key_hashes(self, table: FlatTable) -> Ids:
        key = self.normalizer._get_primary_key(table.name)
        leaves = [table.leaves.get(name) for name in key]
        if self.marked or any(leaf is None or leaf.index is not None for leaf in leaves):
            raise NotVectorizableError(f"a key of {table.name} is missing or not plain")
        rows = zip(*(leaf.values for leaf in leaves if leaf is not None))
        return from_texts(get_row_hash(dict(zip(key, row)), subset=key) for row in rows)

    def evolve(
        self, tables: Sequence[TypedTable], update: dict[str, list[Any]], propagate: bool
    ) -> None:
        """Bring the schema to what the batch needs, by dlt's own inference on those rows.

        Raises:
            NotVectorizableError: a contract has a say, or dlt came to other columns than the
                engine did. Then
                nothing is written yet, and the schema has only what these rows add in any case.
        """
        for one in tables:
            table = one.table
            if not self.has_links(table, propagate):
                one.schema_evolving_rows.add(0)
            if (one.schema_evolving_rows or one.overflows) and not self._evolves_freely(table):
                raise NotVectorizableError(f"a contract decides on new columns of {table.name}")
        for one in tables:
            if not one.schema_evolving_rows and not one.overflows:
                continue
            table = one.table
            for at in sorted(one.schema_evolving_rows):
                self._show(table, at, update, propagate)
            for name, column in one.overflows.items():
                if self.column(table.name, name) is None:
                    partial = copy(self.schema._schema_tables[table.name])
                    partial["columns"] = {name: column}
                    self._apply(partial, update)
            for name, column in one.new.items():
                if self.column(table.name, name) != column:
                    raise NotVectorizableError(f"{table.name}.{name} turned out different")
            self._note_key_paths(table, one.new, update)
        if propagate != self.propagates(tables[0].table.name):
            raise NotVectorizableError("links changed")
        if not all(self.has_links(one.table, propagate) for one in tables):
            raise NotVectorizableError("links are missing")

    def _note_key_paths(
        self, table: FlatTable, columns: Iterable[str], update: dict[str, list[Any]]
    ) -> None:
        """Remember the keys of new columns whose names alone do not tell where they are nested.

        For a run of Millstream's, which compares schemas: else the schema stays as dlt makes it.
        """
        if self.owner._watch is None:
            return
        found = {}
        for name in columns:
            path, key = table.claims.get(name, ((), ""))
            keys = (*path, self.column_name((*table.path, *table.own), path, key)[1])
            if any(SEPARATOR in each for each in keys) and SEPARATOR.join(keys) == name:
                found[name] = {**(self.column(table.name, name) or {}), KEY_PATH: [*keys]}
        is_list = table.parent is not None and any(SEPARATOR in each for each in table.own)
        partial: Any = copy(self.schema._schema_tables[table.name])
        if not found and (not is_list or KEY_PATH in partial):
            return
        partial["columns"] = found
        if is_list:
            partial[KEY_PATH] = [*table.own]
        self._apply(partial, update)

    def _evolves_freely(self, table: FlatTable) -> bool:
        watch = self.owner._watch
        if watch is not None and watch.gate is not None:
            return False
        ancestor: FlatTable | None = table
        while ancestor is not None and ancestor.name not in self.schema.tables:
            ancestor = ancestor.parent
        name = table.name if ancestor is None else ancestor.name
        settings = self.schema.resolve_contract_settings_for_table(name)
        return bool(settings == DEFAULT_SCHEMA_CONTRACT_MODE)

    def _show(
        self, table: FlatTable, at: int, update: dict[str, list[Any]], propagate: bool
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


def _partial(table: FlatTable, columns: list[Any]) -> Any:
    parent: Any = table.parent.name if table.parent is not None else None
    return new_table(table.name, parent, columns=columns)
