"""Where the tables go: a dlt destination from configuration, checked before anything is extracted.

factory     configuration -> dlt destination, loader file format, storage kind
duckdb_file where DuckDB's file is, and what DuckDB calls it
duckdb_bulk how it is opened: small row groups, bounded memory
preflight_checks  reachable, allowed, there: before the source is asked for anything
driver_errors  what a driver said -> which error, with the fix and without the secrets
table_names a table's full name, with and without a connection
table_counts  the rows that tables hold now
fallbacks   what dlt does instead where a destination can't do what was asked
table_formats  Delta and Iceberg: which tables are, and what can't be done with them
open_tables the filesystem destination with these: read, and kept exact
migrations  columns that tables with rows come to need, filled from what is there
added_columns  how these are added, and filled
removed_tables  tables, columns and folders that somebody took out, made again
altered_columns  columns that somebody gave another type in the destination
nul_characters  characters that a destination can't store
driver_prints  what psycopg2 prints of a lost connection, and hides then
driver_warnings  what drivers warn of in vain
copy_job    PostgreSQL, able to load what the engine writes for COPY
write_lock  who may write or read now, and what was written last
restore     cursors and schema, as the last load left them
run_lock    one run of a stream at a time, on whichever machine
partition_rows  a partition's rows, replaced as one
existing_tables  tables that the stream did not make, refused or taken over
concurrent_loads  loads that arrived while a partition was read
accepted_table  the accepted schema, where it is kept beside the data
full_refresh  a full refresh takes nothing out before its load is complete
rollback    take out what an interrupted load had appended
row_updates what a source corrects of rows that are loaded
upserts     rows marked as deleted are not inserted
"""

from __future__ import annotations

from millstream.common.redact import redact_foreign as redact
from millstream.destinations.accepted_table import accepted_store
from millstream.destinations.altered_columns import refuse_altered, too_narrow
from millstream.destinations.column_types import forget_sizes
from millstream.destinations.column_types import keep as keep_types
from millstream.destinations.concurrent_loads import load_ids, may_overwrite
from millstream.destinations.driver_errors import (
    error_text,
    in_use,
    root_error,
    violated_check,
)
from millstream.destinations.existing_tables import (
    in_storage,
    owners_of,
    refuse_existing,
    schema_of_tables,
    take_over,
)
from millstream.destinations.factory import (
    bucket_url,
    build,
    built_once,
    loader_file_format,
    server,
    storage_kind,
)
from millstream.destinations.fallbacks import can_merge, fallbacks
from millstream.destinations.full_refresh import (
    drop_staging_tables,
    forget_dropped,
    is_swept,
    prepare,
    remake_dropped,
    replace_through_staging,
    sweep,
)
from millstream.destinations.migrations import (
    add_root_ids,
    free_former_keys,
    migrate,
    refuse_unmergeable,
)
from millstream.destinations.nul_characters import replaced
from millstream.destinations.partition_rows import (
    clear,
    forget_scopes,
    merge_schemas,
    refuse_partitioned,
    refuse_unpartitioned,
    scope_to_partition,
    stored_schema,
)
from millstream.destinations.preflight_checks import address, ensure_ready, preflight
from millstream.destinations.removed_tables import remake
from millstream.destinations.restore import loaded_schema, restore, statement_that_lists
from millstream.destinations.rollback import undo
from millstream.destinations.row_updates import update_rows
from millstream.destinations.run_lock import excludes_others, turn
from millstream.destinations.table_counts import key_values, row_counts
from millstream.destinations.table_formats import choose_format, is_open
from millstream.destinations.table_names import dataset_name, full_names, nested_table, table_name
from millstream.destinations.write_lock import Loads, loads, reader, writer

__all__ = [
    "Loads",
    "accepted_store",
    "add_root_ids",
    "address",
    "bucket_url",
    "build",
    "built_once",
    "can_merge",
    "choose_format",
    "clear",
    "dataset_name",
    "drop_staging_tables",
    "ensure_ready",
    "error_text",
    "excludes_others",
    "fallbacks",
    "forget_dropped",
    "forget_scopes",
    "forget_sizes",
    "free_former_keys",
    "full_names",
    "in_storage",
    "in_use",
    "is_open",
    "is_swept",
    "keep_types",
    "key_values",
    "load_ids",
    "loaded_schema",
    "loader_file_format",
    "loads",
    "may_overwrite",
    "merge_schemas",
    "migrate",
    "nested_table",
    "owners_of",
    "preflight",
    "prepare",
    "reader",
    "redact",
    "refuse_altered",
    "refuse_existing",
    "refuse_partitioned",
    "refuse_unmergeable",
    "refuse_unpartitioned",
    "remake",
    "remake_dropped",
    "replace_through_staging",
    "replaced",
    "restore",
    "root_error",
    "row_counts",
    "schema_of_tables",
    "scope_to_partition",
    "server",
    "statement_that_lists",
    "storage_kind",
    "stored_schema",
    "sweep",
    "table_name",
    "take_over",
    "too_narrow",
    "turn",
    "undo",
    "update_rows",
    "violated_check",
    "writer",
]
