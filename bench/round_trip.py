"""Documents through the real server into DuckDB, and back: compared value by value.

The sample collections beside the repository, and a generated one with every BSON type: plain, in an
object, and in objects of a list.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

SAMPLES = Path(__file__).parents[2] / "shared" / "data"
GENERATED = 2000
SLICES = {"customers": 50}
"""Customers have objects keyed by ids, each with tables of its own: thousands take dlt minutes."""

_PLACES = ("", "o", "l")
"""Where a value lies: the document itself, an object in it, objects of a list in it."""

Expected = Mapping[str, Mapping[str, Any]]
"""By place, the columns and what they must hold."""


def check(server: Any) -> tuple[dict[str, int], list[str]]:
    """How many documents of each collection came back as they were, and what is not here.

    Raises:
        AssertionError: a value did.
    """
    found, missing = {}, []
    with tempfile.TemporaryDirectory() as folder, server.client() as client:
        os.environ["MONGODB_URI"] = server.url()
        os.environ["MILLSTREAM_HOME"] = f"{folder}/home"
        for name in ("accounts", "theaters", "customers"):
            file = SAMPLES / f"mongodb_{name}.jsonl"
            if file.is_file():
                found[name] = _sample(server, client.samples, name, file, Path(folder))
            else:
                missing.append(f"round trip of {file.name}: not beside the repository")
        found["every type"] = _every_type(server, client.samples, Path(folder))
    return found, missing


def _sample(server: Any, database: Any, name: str, file: Path, folder: Path) -> int:
    from bson import json_util

    from sources.mongodb_kit import Shop
    from sources.mongodb_tree import Tree

    documents = [json_util.loads(line) for line in file.read_text().splitlines()]
    shop = Shop(server, database, folder)
    for start in range(0, len(documents), SLICES.get(name, len(documents))):
        some = documents[start : start + SLICES.get(name, len(documents))]
        table = f"{name}_{start}"
        database[table].insert_many(some)
        shop.load(table)
        true = {str(document["_id"]): document for document in database[table].find()}
        tree = Tree(shop, table)
        rows = tree.tables[table][""]
        assert len(rows) == len(some)
        assert {row["_id"] for row in rows} == true.keys()
        for row in rows:
            tree.check(table, row, true[row["_id"]])
    return len(documents)


def generated(count: int) -> Iterator[tuple[Any, Expected]]:
    """Documents with some of all values that the tests know, and what must become of each."""
    import bson

    from sources.mongodb_kit import raw
    from sources.test_mongodb_values import CASES

    chance = random.Random(11)
    cases = list(enumerate(CASES.values()))

    def element(number: int, value: Any) -> bytes:
        key = f"c{number}"
        if isinstance(value, bytes) and value[1:3] == b"v\0":  # as no driver would write it
            return value[:1] + key.encode() + value[2:]
        return bson.encode({key: value})[4:-1]

    def holder(kind: int, key: bytes, body: bytes) -> bytes:
        return bytes([kind]) + key + b"\0" + (len(body) + 5).to_bytes(4, "little") + body + b"\0"

    for number in range(count):
        bodies: dict[str, bytes] = {}
        expected: dict[str, dict[str, Any]] = {}
        for place in _PLACES:
            some = chance.sample(cases, 12)
            bodies[place] = b"".join(element(at, value) for at, (value, _) in some)
            expected[place] = {
                f"c{at}{column[1:]}": value
                for at, (_, columns) in some
                for column, value in columns.items()
            }
        yield (
            raw(
                b"\x10_id\0" + number.to_bytes(4, "little"),
                bodies[""],
                holder(0x03, b"o", bodies["o"]),
                holder(0x04, b"l", holder(0x03, b"0", bodies["l"])),
            ),
            expected,
        )


def _every_type(server: Any, database: Any, folder: Path) -> int:
    from sources.mongodb_kit import Shop
    from sources.mongodb_tree import Tree, bits

    made = list(generated(GENERATED))
    database.every.insert_many([document for document, _ in made])
    shop = Shop(server, database, folder)
    shop.load("every")
    tree = Tree(shop, "every")
    rows = tree.tables["every"][""]
    assert [row["_id"] for row in rows] == list(range(len(made)))
    for row, (_, expected) in zip(rows, made):
        (below,) = tree.tables["every__l"][row["_dlt_id"]]
        found: dict[str, dict[str, Any]] = {"": {}, "o": {}, "l": {}}
        for place, columns in (("", row), ("l", below)):
            for column, value in columns.items():
                if column != "_id" and not column.startswith("_dlt") and value is not None:
                    inside = "o" if not place and column.startswith("o__") else place
                    found[inside][column.removeprefix("o__") if inside == "o" else column] = value
        for place in _PLACES:
            got = {name: bits(value) for name, value in found[place].items()}
            assert got == {name: bits(value) for name, value in expected[place].items()}, row["_id"]
    return len(rows)
