"""A table's full name: before the first run, without a connection, and at run time.

The name goes into Dagster's `dagster/table_name`, where dbt and others find the table by it, so it
is made of the identifiers as they are in the destination.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from millstream.config import TargetConfig
from millstream.destinations.duckdb_file import duckdb_catalog, duckdb_file
from millstream.destinations.factory import bucket_url, build
from millstream.formats.key_names import natural_name

if TYPE_CHECKING:
    import dlt
    from dlt.common.normalizers.naming import NamingConvention

# What every naming convention of dlt leaves as it is; `__` stands between a parent and its list.
_PLAIN_TABLE = re.compile(r"[a-z][a-z0-9]*(_{1,2}[a-z0-9]+)*")
_PLAIN_DATASET = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# the shortest limit among destinations: PostgreSQL's 63 bytes
_SHORT = 63

# these fold what is not quoted to upper case, and dlt follows
_UPPER_CASE = frozenset({"snowflake"})

# dlt's client knows the database but leaves it out of the names that it makes
_DATABASE_APART = frozenset({"postgres", "redshift", "mssql", "synapse", "fabric"})


def table_name(config: TargetConfig, table: str) -> str:
    """A table's full name as far as the configuration tells; connects to nothing.

    DuckDB: `FILE_STEM.DATASET.TABLE`. BigQuery: `PROJECT.DATASET.TABLE` where the options have
    `project_id`. Filesystem: `BUCKET_URL/DATASET/TABLE`. Others, whose database only the
    credentials know: `DATASET.TABLE`.

    Args:
        table: the name of a stream, or of a table as dlt has normalized it.
    """
    kind = config.destination.type.rsplit(".", 1)[-1]
    dataset, name = _normalized(config, table)
    if kind in _UPPER_CASE:
        dataset, name = dataset.upper(), name.upper()
    if kind == "filesystem":
        return _path(bucket_url(config), dataset, name)
    if kind == "duckdb":
        return f"{duckdb_catalog(duckdb_file(config))}.{dataset}.{name}"
    project = config.destination.options.get("project_id") if kind == "bigquery" else None
    return f"{project}.{dataset}.{name}" if project else f"{dataset}.{name}"


def nested_table(config: TargetConfig, root: str, keys: Sequence[str]) -> str:
    """The table of the list that these keys lead to, below the root table of a stream.

    >>> from millstream.config import DestinationConfig
    >>> nested_table(TargetConfig(name="shop"), "orders", ["address", "phones"])
    'orders__address__phones'
    """
    names = [root, *keys]
    path = "__".join(names)
    if all(_PLAIN_DATASET.fullmatch(name) for name in names) and len(path) <= _SHORT:
        return path
    naming = _naming(config)
    normalize = naming.normalize_table_identifier
    return naming.shorten_fragments(
        naming.normalize_tables_path(root), *(natural_name(key, normalize) for key in keys)
    )


def full_names(
    pipeline: dlt.Pipeline, config: TargetConfig, tables: Iterable[str]
) -> dict[str, str]:
    """The full names of tables as the pipeline's connection knows them, the database included.

    Args:
        tables: their names in the pipeline's schema.
    """
    kind = config.destination.type.rsplit(".", 1)[-1]
    if kind == "filesystem":
        client: Any = pipeline.destination_client()
        bucket = str(client.config.bucket_url)
        return {table: _path(bucket, client.dataset_name, table) for table in tables}
    sql = pipeline.sql_client()
    if kind == "duckdb":
        database = duckdb_catalog(duckdb_file(config))
        return {table: f"{database}.{sql.dataset_name}.{table}" for table in tables}
    before = [sql.database_name] if kind in _DATABASE_APART and sql.database_name else []
    return {
        table: ".".join([*before, *sql.make_qualified_table_name_path(table, quote=False)])
        for table in tables
    }


def dataset_name(config: TargetConfig) -> str:
    """What the dataset is called in the destination, where dlt normalizes its name.

    >>> from millstream.config import DestinationConfig
    >>> dataset_name(TargetConfig(name="shop", destination=DestinationConfig(dataset="My-Data")))
    'my_data'
    """
    return _normalized(config, "t")[0]


def _normalized(config: TargetConfig, table: str) -> tuple[str, str]:
    dataset = config.dataset
    if (
        _PLAIN_DATASET.fullmatch(dataset)
        and _PLAIN_TABLE.fullmatch(table)
        and max(len(dataset), len(table)) <= _SHORT
    ):
        return dataset, table
    naming = _naming(config)
    if config.destination.options.get("enable_dataset_name_normalization", True):
        dataset = naming.normalize_table_identifier(dataset)
    return dataset, naming.normalize_tables_path(table)


def _naming(config: TargetConfig) -> NamingConvention:
    """dlt's own, for names that are not plain: rare, since dlt takes a second to import."""
    import dlt

    destination = build(config)
    naming = dlt.Schema(config.name).naming
    capabilities = destination.capabilities(naming=naming)
    naming.max_length = capabilities.max_identifier_length
    return naming


def _path(bucket: str | None, dataset: str, table: str) -> str:
    if bucket is None:
        return f"{dataset}/{table}"
    return f"{bucket.removeprefix('file://').rstrip('/')}/{dataset}/{table}"
