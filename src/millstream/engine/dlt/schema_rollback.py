"""dlt normalizes on trial: into a buffer, and what it made of its schema can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from dlt.normalize.items_normalizers import JsonLItemsNormalizer


class Buffer:
    """Stands for dlt's item storage while rows are tried."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Any]] = {}
        self.columns: dict[str, Any] = {}

    def write_data_item(
        self, load_id: str, schema_name: str, table: str, item: Any, columns: Any
    ) -> None:
        self.rows.setdefault(table, []).append(item)
        self.columns[table] = columns


@contextmanager
def rollback_on_error(
    normalizer: JsonLItemsNormalizer,
    *,
    discarded: Callable[[str, Mapping[str, Any]], None],
    changed: Callable[[Mapping[str, Any], Mapping[str, Any]], None],
) -> Iterator[Buffer]:
    """Let a normalizer write into a buffer; an error puts its schema back as it was.

    Args:
        discarded: called with a table that a contract has just discarded, and the row.
        changed: called with the part of a table that is about to be added, and the row.
    """
    owner: Any = normalizer
    schema: Any = owner.schema
    storage, buffer = owner.item_storage, Buffer()
    saved: list[Any] = []
    update_table, apply_contract = schema.update_table, schema.apply_schema_contract

    def update(*args: Any, **kwargs: Any) -> Any:
        if not saved:
            saved.extend(deepcopy((schema._schema_tables, schema._normalizers_config)))
        return update_table(*args, **kwargs)

    def apply(*args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("data_item") or {}
        partial, filters = apply_contract(*args, **kwargs)
        for entity, name, _ in filters:
            if entity == "tables":
                discarded(name, row)
        if partial is not None:
            changed(partial, row)
        return partial, filters

    owner.item_storage = buffer
    schema.update_table, schema.apply_schema_contract = update, apply
    try:
        yield buffer
    except Exception:
        if saved:
            # in place: where dlt uses no workers, its own schema holds the same tables
            _restore(schema._schema_tables, saved[0])
            _restore(schema._normalizers_config, saved[1])
            owner._column_schemas.clear()  # parts of the schema as it was
            schema.data_item_normalizer._reset()  # it caches what it asked the schema
        raise
    finally:
        del schema.update_table, schema.apply_schema_contract
        owner.item_storage = storage


def _restore(live: dict[str, Any], saved: Mapping[str, Any]) -> None:
    for name in live.keys() - saved.keys():
        del live[name]
    for name, value in saved.items():
        if isinstance(value, dict) and isinstance(live.get(name), dict):
            live[name].clear()
            live[name].update(value)
        else:
            live[name] = value
