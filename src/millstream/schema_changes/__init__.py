"""Schema changes: what changed, whether it is accepted, and its history.

snapshot        a dlt schema as a SchemaVersion
diff            the changes between two versions
data_changes    changes that only the data shows; renames, drift, significance, map_detection
shapes          whether a field is a scalar, an object or a list
policy          the action for a change; evaluate: for all changes of a run; row_policy: for a row
accepted_store  where the accepted schema is kept; accepted_file: `schema.yaml` beside `defs.yaml`
held_packages   files beside a package that waits for acceptance
history         tables beside the data; open_loads: entries that are written before their load
profile, sketch what columns hold
messages        how changes are written

Importing this package imports neither dlt nor Dagster.
"""

from __future__ import annotations

from millstream.schema_changes import accepted_file, held_packages, history, open_loads
from millstream.schema_changes.accepted_store import AcceptedSchemaStore, FileStore
from millstream.schema_changes.diff import DATA_ALONE, apply, canonical, diff
from millstream.schema_changes.drift import jumps
from millstream.schema_changes.evaluate import accepted_ahead, fingerprint, govern, is_in_schema
from millstream.schema_changes.map_detection import describe_maps, is_map_at
from millstream.schema_changes.policy import comes_and_goes, decided_by, is_kept_out
from millstream.schema_changes.profile import (
    LoadProfile,
    attach,
    columns_of,
    comparable,
    complete,
    explained,
    is_agreed,
    most_rows,
    pool,
    profile_of,
    settled,
)
from millstream.schema_changes.row_policy import gate
from millstream.schema_changes.snapshot import snapshot

__all__ = [
    "DATA_ALONE",
    "AcceptedSchemaStore",
    "FileStore",
    "LoadProfile",
    "accepted_ahead",
    "accepted_file",
    "apply",
    "attach",
    "canonical",
    "columns_of",
    "comes_and_goes",
    "comparable",
    "complete",
    "decided_by",
    "describe_maps",
    "diff",
    "explained",
    "fingerprint",
    "gate",
    "govern",
    "held_packages",
    "history",
    "is_agreed",
    "is_in_schema",
    "is_kept_out",
    "is_map_at",
    "jumps",
    "most_rows",
    "open_loads",
    "pool",
    "profile_of",
    "settled",
    "snapshot",
]
