"""Rows that can't be loaded: kept in the destination, with the reason, until they can.

rules       what a normalizer must know to put rows aside; travels to worker processes
entry       one row quarantined, as a row of the table `_millstream_quarantine`
redaction   secrets taken out of it, by their JSON paths
envelope    how a row that is no row, or that comes again, travels through an extracted file
limits      how much is too much
store       what waits in the destination

The table is part of the stream's own dlt schema, and its rows are part of the package of the load
that put them aside: they land exactly once, with that load, or not at all. Rows are only appended:
what happens to one later is a further row with the same `id`.
"""

from __future__ import annotations
