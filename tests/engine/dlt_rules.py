"""The rules of a dlt schema, as production asks them, of a normalizer that has read nothing yet."""

from __future__ import annotations

from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.data_writers.writers import ParquetDataWriter
from dlt.common.schema import Schema
from dlt.common.storages.load_storage import LoadItemStorage
from dlt.normalize.configuration import NormalizeConfiguration

from millstream.engine.coercion_rules import Coercion
from millstream.engine.dlt.normalizer import ColumnarNormalizer
from millstream.engine.dlt.rules import DltRules
from millstream.formats.engine_mode import EngineMode, RowRules, current, replace

ROOT = "items"
ALL_LEVELS = 1000


def normalizer_of(
    columns: dict[str, Any] | None = None, *, exact: bool = False
) -> ColumnarNormalizer:
    """For DuckDB and a table with these columns; by dlt's coercion, or by Millstream's."""
    caps = dlt.destinations.duckdb().capabilities()
    caps.preferred_loader_file_format = "parquet"
    with Container().injectable_context(caps):
        schema = Schema("unit")
        if columns:
            schema.update_table(dlt.resource([], name=ROOT, columns=columns).compute_table_schema())
    mode, none = current(), None
    rules = RowRules(coercion=Coercion() if exact else None)
    replace(EngineMode("columnar", rules={"unit": rules}))
    try:
        storage: Any = LoadItemStorage(none, ParquetDataWriter.writer_spec())
        config = NormalizeConfiguration(destination_capabilities=caps)
        return ColumnarNormalizer(storage, none, none, schema, "1.5", config)
    finally:
        replace(mode)


def rules_of(columns: dict[str, Any] | None = None, *, exact: bool = False) -> DltRules:
    return normalizer_of(columns, exact=exact)._rules
