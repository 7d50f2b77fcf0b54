"""Bytes for the BSON reader, changed as its branches ask for it: `python -m tests.fuzz.guided`.

Arguments are libFuzzer's. A process of its own: atheris instruments modules when they are imported,
and ends the process when it is done.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["millstream.engine.bson"]):
    from millstream.engine.bson import documents, plan, reader, walk  # noqa: F401

import bson
from tests.parity.test_bson import Fields, users

from millstream.errors import SourceDataError


def seed(folder: Path) -> None:
    """Documents as they should be, to begin with."""
    made = [bson.encode(row) for row in users(12)]
    for number, each in enumerate([*made, b"".join(made)]):
        (folder / str(number)).write_bytes(each)


def target(data: bytes) -> None:
    """Either an error of ours, or read in columns but for what is marked as bad."""
    if not data:
        return  # no part of a file is
    try:
        found = documents.Documents(data)
    except SourceDataError:
        return
    Fields().walk(found)


if __name__ == "__main__":
    seed(Path(sys.argv[-1]))
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
