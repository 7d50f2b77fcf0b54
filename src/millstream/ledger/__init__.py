"""The schema ledger: what changed, is it accepted, who is told.

snapshot    a dlt schema as a SchemaVersion
diff        what changed between two versions; observe: what only the data tells
baseline    the accepted schema, `schema.yaml` beside `defs.yaml`; keeper: it, or another place
policy      what to do about a change; govern: what is news, and what to do about it
gate        the same, asked row by row, for what is to be quarantined
jumps       shares that left the range of recent loads
held        what a run that waits for someone keeps beside its package
store       the history, in tables beside the data; open_loads: written before a load, settled after

Importing this package imports neither dlt nor Dagster.
"""

from __future__ import annotations

from millstream.ledger import baseline, held, open_loads, store
from millstream.ledger.diff import DATA_ALONE, apply, canonical, diff
from millstream.ledger.explosion import is_map_at
from millstream.ledger.gate import gate
from millstream.ledger.govern import fingerprint, govern, is_in_schema
from millstream.ledger.jumps import jumps
from millstream.ledger.keeper import InFile, Keeper
from millstream.ledger.policy import comes_and_goes
from millstream.ledger.profile import (
    Seen,
    attach,
    columns_of,
    comparable,
    complete,
    explained,
    is_agreed,
    pool,
    profile_of,
    settled,
)
from millstream.ledger.snapshot import snapshot

__all__ = [
    "DATA_ALONE",
    "InFile",
    "Keeper",
    "Seen",
    "apply",
    "attach",
    "baseline",
    "canonical",
    "columns_of",
    "comes_and_goes",
    "comparable",
    "complete",
    "diff",
    "explained",
    "fingerprint",
    "gate",
    "govern",
    "held",
    "is_agreed",
    "is_in_schema",
    "is_map_at",
    "jumps",
    "open_loads",
    "pool",
    "profile_of",
    "settled",
    "snapshot",
    "store",
]
