"""The schema ledger: what changed, is it accepted, who is told.

Importing this package imports neither dlt nor Dagster.
"""

from __future__ import annotations

from millstream.ledger import baseline
from millstream.ledger.diff import apply, canonical, diff
from millstream.ledger.snapshot import snapshot

__all__ = ["apply", "baseline", "canonical", "diff", "snapshot"]
