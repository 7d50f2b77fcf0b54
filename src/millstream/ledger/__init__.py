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
from millstream.ledger.diff import apply, canonical, diff
from millstream.ledger.gate import gate
from millstream.ledger.govern import fingerprint, govern
from millstream.ledger.jumps import jumps
from millstream.ledger.keeper import InFile, Keeper
from millstream.ledger.policy import comes_and_goes
from millstream.ledger.profile import (
    Seen,
    attach,
    complete,
    measure,
    pool,
    profile_of,
    settled,
)
from millstream.ledger.snapshot import snapshot

__all__ = [
    "InFile",
    "Keeper",
    "Seen",
    "apply",
    "attach",
    "baseline",
    "canonical",
    "comes_and_goes",
    "complete",
    "diff",
    "fingerprint",
    "gate",
    "govern",
    "held",
    "jumps",
    "measure",
    "open_loads",
    "pool",
    "profile_of",
    "settled",
    "snapshot",
    "store",
]
