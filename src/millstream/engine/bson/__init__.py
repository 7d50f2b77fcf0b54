"""BSON to tables without a Python object per document.

    documents   a block of documents as one buffer, read at many positions at once
    plan        what keys there are, and which column each goes to
    walk        all documents of a block in lockstep: where the values are
    values      the values at these positions -> Arrow arrays
    reader      blocks -> tables, and lines for what does not fit

It never evolves a schema and never guesses. A document that has anything new or odd is left to
the source's own reader, whose rows take the way through Python; the columns that those rows add
are known from then on.
"""
