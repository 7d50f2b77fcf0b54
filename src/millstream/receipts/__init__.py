"""Delivery receipts: did what the source gave arrive, and unchanged?

capture     counts rows as they are handed to dlt, and keeps a sample of them as they came
row_forms   a kept row as Python has it
source_rows what was kept, as the rows of tables that it makes, in numbers
layout      which table and column the value of a key must land in, as the schema says
canonical   a number for a value, the same for equal values of any type that holds them
figures     checksums of rows: by column, by row with its child rows, by parent
delivered   the rows of one load, read back from the destination
verdict     both sides compared
store       the receipts in the destination, `_millstream_receipts`
audit       a stored receipt compared with what the destination holds now
source_now  what a source has, read from its beginning, compared with what the destination holds

Nothing here uses the engine or a source: what it checks it reads another way.
"""

from __future__ import annotations
