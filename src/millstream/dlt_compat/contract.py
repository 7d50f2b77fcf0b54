"""Every private name of dlt that Millstream uses, and what it relies on.

One entry of `CONTRACT` for each use. It is checked when it is first needed, on real objects: that a
class, or an object of it, has the name, and that a function takes the parameters that it took, as
these stand for what it means. What a name does is checked by the tests of those who use it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from millstream.errors import MillstreamError

SUPPORTED = (1, 31)
"""The release of dlt that this was written for."""


@dataclass(frozen=True, slots=True)
class Name:
    """A name of a class, or of its objects.

    Attributes:
        relied_on: what it is, or does.
        parameters: of a function, separated by spaces; None where they do not matter.
    """

    name: str
    relied_on: str
    parameters: str | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """A class or a module of dlt.

    Attributes:
        path: `package.module:Class`, or a module alone.
        example: makes an object of the class, where names are those of objects.
    """

    path: str
    names: tuple[Name, ...]
    example: Callable[[Any], Any] | None = None

    @property
    def title(self) -> str:
        return self.path.rpartition(":")[2]

    def problem(self) -> str | None:
        """What is not as expected of the installed dlt; None where all is."""
        module, _, attribute = self.path.partition(":")
        try:
            owner: Any = import_module(module)
            owner = getattr(owner, attribute) if attribute else owner
            example = self.example(owner) if self.example else owner
        except Exception as error:  # whatever a changed class raises
            return f"{self.title} has changed: {type(error).__name__}: {error}"
        for each in self.names:
            # a function of the class has `self`, as those have that are put in its place
            found = getattr(owner, each.name, None) if each.parameters is not None else example
            if found is None or not hasattr(example, each.name):
                return f"{self.title}.{each.name} is missing"
            if each.parameters is not None:
                parameters = tuple(inspect.signature(found).parameters)
                if parameters != tuple(each.parameters.split()):
                    return f"{self.title}.{each.name} has changed"
        return None


def _schema(owner: Any) -> Any:
    return owner("contract")


def _relational(owner: Any) -> Any:
    from dlt.common.schema import Schema

    return owner(Schema("contract"))


def _items(owner: Any) -> Any:
    from dlt.common.schema import Schema

    return owner(None, None, None, Schema("contract"), "", None)


def _writer(owner: Any) -> Any:
    return owner(None)


def _resource(owner: Any) -> Any:
    return owner.from_data([], name="contract")


def _load_job(owner: Any) -> Any:
    job = type("Job", (owner,), {"run": lambda self: None})
    return job("folder/contract.0123456789.0.csv")


def _pool(owner: Any) -> Any:
    from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

    # not by a connection string: reading one imports SQLAlchemy where it is installed
    credentials = DuckDbCredentials()
    credentials.database = ":memory:"
    return owner(credentials)


CONTRACT: Mapping[str, tuple[Owner, ...]] = {
    "engine": (
        Owner(
            "dlt.normalize.worker",
            (
                Name("JsonLItemsNormalizer", "workers look their normalizer of rows up here"),
                Name("ArrowItemsNormalizer", "the same for Arrow tables"),
            ),
        ),
        Owner(
            "dlt.normalize.items_normalizers:ArrowItemsNormalizer",
            (
                Name(
                    "_collect_null_columns_from_arrow_metadata",
                    "notes columns of which nothing but null came",
                    "self arrow_schema root_table_name",
                ),
            ),
        ),
        Owner(
            "dlt.normalize.items_normalizers:JsonLItemsNormalizer",
            (
                Name(
                    "__call__",
                    "normalizes one extracted file, and returns the updates of its schema",
                    "self extracted_items_file root_table_name",
                ),
                Name(
                    "_normalize_chunk",
                    "normalizes and writes the rows of one line",
                    "self root_table_name items may_have_pua skip_write",
                ),
                Name(
                    "_coerce_row",
                    "types one flat row, and infers its new columns",
                    "self table_name parent_table row",
                ),
                Name(
                    "_coerce_non_null_value",
                    "types one value: the name and type of its column, and the value in it",
                    "self table_columns table_name col_name v is_variant",
                ),
                Name("_infer_column", "a new column", "self k v data_type is_variant table_name"),
                Name(
                    "_infer_column_type",
                    "the type of a new column",
                    "self v col_name skip_preferred",
                ),
                Name(
                    "_filter_columns",
                    "drops what a contract discards of a row",
                    "self filtered_columns row",
                ),
                Name("_report_progress", "counts rows", "self table_name items_count"),
                Name("_maybe_cancel", "raises where dlt is to end", "self"),
                Name("_type_map", "from a Python type to dlt's"),
                Name("_can_coerce_type", "whether a type is coerced; taken from the schema's own"),
                Name("_coerce_type", "coerces a value; taken from the schema's own"),
                Name("_shorten_fragments", "joins the parts of a name"),
                Name("_timezone_override", "whether the destination has time zones"),
                Name("_column_schemas", "columns by table, as rows are written with them"),
                Name("_filtered_tables", "tables that contracts discard"),
                Name("_filtered_tables_columns", "columns that contracts discard, by table"),
                Name("_null_only_columns", "columns of which only nulls were seen, by table"),
            ),
            _items,
        ),
        Owner(
            "dlt.common.schema:Schema",
            (
                Name(
                    "update_table",
                    "adds a part of a table",
                    "self partial_table normalize_identifiers merge_compound_props",
                ),
                Name(
                    "apply_schema_contract",
                    "what of a part of a table a contract lets in",
                    "self schema_contract partial_table data_item raise_on_freeze",
                ),
                Name("_infer_hint", "whether a name has a hint", "self hint_type col_name"),
                Name("_schema_tables", "the tables, changed in place"),
                Name("_normalizers_config", "changed in place, with the columns that are passed"),
                Name("_compiled_excludes", "patterns of rows that are left out"),
                Name("_dlt_tables_prefix", "what the names of dlt's own tables begin with"),
            ),
            _schema,
        ),
        Owner(
            "dlt.common.normalizers.json.relational:DataItemNormalizer",
            (
                Name("_reset", "forgets what it asked the schema", "self"),
                Name(
                    "_flatten", "a row without its objects and lists", "self table dict_row _r_lvl"
                ),
                Name(
                    "_normalize_row",
                    "a row and those of its lists",
                    "self dict_row extend ident_path parent_path parent_row_id pos _r_lvl is_root",
                ),
                Name("coerce_type", "coerces a value", "self to_type from_type value"),
                Name("can_coerce_type", "whether a type is coerced", "self to_type from_type"),
                Name("EMPTY_KEY_IDENTIFIER", "what an empty key is called"),
                Name("c_value", "the column of rows that are not objects"),
                Name("_load_id", "written into root rows"),
                Name("_normalize_identifier", "the name of a key"),
                Name("_normalize_table_identifier", "the name of a key whose list is a table"),
                Name("_shorten_fragments", "joins the parts of a name"),
                Name("_is_nested_type", "whether an object or a list is one column"),
                Name("_should_be_nested", "whether a table may have rows of lists"),
                Name("_get_table_nesting_level", "how many levels of a table are taken apart"),
                Name("_get_root_row_id_type", "what ids of rows are made of"),
                Name("_get_primary_key", "the columns of the key"),
                Name("_get_propagation_mapping", "columns that rows hand on to those below"),
            ),
            _relational,
        ),
        Owner(
            "dlt.common.data_writers.writers:ParquetDataWriter",
            (
                Name("write_data", "writes dicts and Arrow tables", "self items"),
                Name("_create_writer", "opens Arrow's writer on `_f`", "self schema"),
            ),
        ),
        Owner(
            "dlt.common.data_writers.writers:ArrowToJsonlWriter",
            (Name("write_data", "writes Arrow tables as JSON lines", "self items"),),
        ),
        Owner(
            "dlt.common.data_writers.buffered:BufferedDataWriter",
            (
                Name(
                    "__init__",
                    "takes `writer_cls` from what it is told to write",
                    "self writer_spec file_name_template buffer_max_items file_max_items "
                    "file_max_bytes disable_compression _caps",
                ),
                Name(
                    "write_data_item", "buffers rows, and writes full buffers", "self item columns"
                ),
            ),
        ),
        Owner(
            "dlt.common.data_writers.writers:DataWriter",
            (Name("writer_class_from_spec", "the writer of a format", "spec"),),
        ),
        Owner(
            "dlt.common.storages.data_item_storage:DataItemStorage",
            (Name("_get_writer", "of a table", "self load_id schema_name table_name"),),
        ),
    ),
    "writers": (
        Owner(
            "dlt.common.data_writers.writers:TypedJsonlListWriter",
            (
                Name("write_data", "writes one line of rows", "self items"),
                Name("_f", "the file that is written"),
                Name("_caps", "of the destination"),
            ),
            _writer,
        ),
    ),
    "resources": (
        Owner(
            "dlt.extract.resource:DltResource",
            (
                Name(
                    "_pipe",
                    "its generator, `gen`, the steps behind, which `len` counts, and its `parent`",
                ),
            ),
            _resource,
        ),
    ),
    "clock": (
        Owner(
            "dlt.common.time",
            (Name("increasing_precise_time", "its `_last` is the last time that it told"),),
        ),
    ),
    "progress": (
        Owner(
            "dlt.common.runtime.collector:Collector",
            (
                Name("_start", "a step begins", "self step"),
                Name("_stop", "a step has ended", "self"),
            ),
        ),
    ),
    "duckdb": (
        Owner(
            "dlt.destinations.impl.duckdb.configuration:DuckDbCredentials",
            (
                Name("_conn_str", "where connections are made to", "self"),
                Name("statements", "executed once, when the first connection is made"),
            ),
        ),
        Owner(
            "dlt.destinations.impl.duckdb.configuration:DuckDbConnectionPool",
            (
                Name(
                    "borrow_conn",
                    "opens the database, or duplicates a connection",
                    "self global_config local_config pragmas",
                ),
                Name("_conn", "the connection that others are duplicates of; None before"),
                Name("_conn_lock", "held while connections are made and returned"),
            ),
            _pool,
        ),
    ),
    "postgres": (
        Owner(
            "dlt.destinations:postgres",
            (Name("_raw_capabilities", "what the destination can do", "self"),),
        ),
        Owner(
            "dlt.destinations.impl.postgres.sql_client:Psycopg2SqlClient",
            (Name("_make_database_exception", "dlt's error for one of the driver"),),
        ),
        Owner(
            "dlt.common.destination.client:RunnableLoadJob",
            (Name("_file_path", "the file to load"),),
            _load_job,
        ),
    ),
    "upsert": (
        Owner(
            "dlt.destinations.sql_jobs:SqlMergeFollowupJob",
            (
                Name(
                    "gen_upsert_merge_sql",
                    "the MERGE statements of a table; `insert_cond` limits what is inserted",
                    "root_table_name staging_root_table_name primary_keys root_table_column_names "
                    "hard_delete_col deleted_cond insert_only not_deleted_cond changed_cond "
                    "insert_cond source_filter",
                ),
                Name(
                    "gen_upsert_sql",
                    "the statements that merge a table and those below it, by `upsert` and "
                    "`insert-only`",
                    "table_chain sql_client insert_only delete_absent skip_unchanged",
                ),
            ),
        ),
    ),
    "open_tables": (
        Owner(
            "dlt.destinations.impl.filesystem.filesystem:FilesystemClient",
            (
                Name(
                    "get_reference_followup_job_class",
                    "the class of the job that writes a Delta or an Iceberg table",
                    "table",
                ),
                Name("complete_load", "the load becomes one", "self load_id"),
                Name(
                    "load_open_table",
                    "a table as its package has it",
                    "self table_format table_name kwargs",
                ),
            ),
        ),
    ),
    "open_table_jobs": (
        Owner(
            "dlt.destinations.impl.filesystem.filesystem:DeltaLoadFilesystemJob",
            (
                Name("run", "loads the files of one table", "self"),
                Name("_partition_columns", "the columns that the table is split by"),
            ),
        ),
        Owner(
            "dlt.destinations.impl.filesystem.filesystem:IcebergLoadFilesystemJob",
            (
                Name("run", "loads the files of one table", "self"),
                Name("arrow_dataset", "what it loads"),
            ),
        ),
        Owner(
            "dlt.common.destination.client:RunnableLoadJob",
            (Name("_load_table", "the table, with what the destination does for it"),),
            _load_job,
        ),
    ),
    "open_table_views": (
        Owner(
            "dlt.destinations.impl.filesystem.sql_client:FilesystemSqlClient",
            (
                Name(
                    "create_view_select",
                    "where a table is, and the query that a view of it is made of",
                    "self table_schema schema",
                ),
                Name(
                    "should_replace_view",
                    "whether a view is made anew",
                    "self view_name table_schema",
                ),
                Name(
                    "create_secret",
                    "lets DuckDB read a bucket, once it is connected",
                    "self scope credentials secret_name persist_secrets",
                ),
                Name(
                    "_register_filesystem",
                    "lets DuckDB read by fsspec",
                    "self fs scheme",
                ),
            ),
        ),
    ),
    "schemas": (
        Owner(
            "dlt.common.storages.live_schema_storage:LiveSchemaStorage",
            (
                Name(
                    "__getitem__", "reads a schema, if nothing of it waits to be saved", "self name"
                ),
                Name("NAMED_SCHEMA_FILE_PATTERN", "the name of a schema's file"),
            ),
        ),
        Owner(
            "dlt.common.schema:Schema",
            (Name("is_modified", "whether it is other than what was read or saved"),),
        ),
    ),
    "validation": (
        Owner(
            "dlt.common.validation",
            (
                Name(
                    "validate_dict",
                    "asks for the types of a dictionary, by its class and the names of its module",
                    "spec doc path filter_f validator_f",
                ),
                Name("get_type_hints", "evaluates them; what it returns is only read"),
            ),
        ),
    ),
    "filesystem": (
        Owner(
            "dlt.destinations.impl.filesystem.filesystem:FilesystemClient",
            (
                Name(
                    "_iter_stored_schema_files",
                    "the path and the parts of the name of each schema that lies in a file",
                    "self",
                ),
            ),
        ),
    ),
}


def problem(need: str) -> str | None:
    """What the installed dlt lacks of one part of the contract, or None."""
    return next(filter(None, (owner.problem() for owner in CONTRACT[need])), None)


@cache
def require(need: str) -> None:
    """Check a part of the contract, once.

    Raises:
        MillstreamError: the installed dlt has something else.
    """
    if found := problem(need):
        import dlt

        release = ".".join(map(str, SUPPORTED))
        raise MillstreamError(
            f"millstream does not work with dlt {dlt.__version__}: {found}",
            hint=f"install dlt {release}: pip install 'dlt~={release}.0'",
        )
