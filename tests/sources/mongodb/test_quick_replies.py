from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import Timestamp
from pymongo.errors import OperationFailure

from millstream.sources.mongodb import quick_replies
from millstream.sources.mongodb.quick_replies import quick, reply
from sources.mongodb_kit import Shop

pytestmark = pytest.mark.xdist_group("mongodb")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No reply came to this process before."""
    monkeypatch.setattr(quick_replies, "_fits", None)


@pytest.mark.parametrize("how", ["some", "none", "long", "deep"])
def test_batches_are_those_of_the_driver(shop: Shop, how: str) -> None:
    given: dict[str, list[dict[str, Any]]] = {
        "some": [{"_id": n, "firstBatch": [n], "t": Timestamp(n, 1)} for n in range(2_500)],
        "none": [],
        "long": [{"_id": n, "text": "x" * 3_000_000} for n in range(12)],
        "deep": [{"_id": 1, "cursor": {"nextBatch": [{"a": []}], "id": 5}}, {"_id": 2}],
    }
    if given[how]:
        shop.db.things.insert_many(given[how])
    for options in ({"batch_size": 700}, {"limit": 2}, {"sort": [("_id", -1)]}):
        # what the driver needs beside the documents is there too: it asks for the next batch
        assert list(quick(shop.db.things.find_raw_batches({}, **options))) == list(
            shop.db.things.find_raw_batches({}, **options)
        )
    assert quick_replies._fits is True


def test_errors_are_those_of_the_driver(shop: Shop) -> None:
    shop.db.things.insert_many([{"_id": n} for n in range(300)])
    with pytest.raises(OperationFailure, match="top level operator"):
        list(quick(shop.db.things.find_raw_batches({"$nothing": 1})))
    cursor = quick(shop.db.things.find_raw_batches({}, batch_size=100))
    next(cursor)
    shop.db.command("killCursors", "things", cursors=[cursor.cursor_id])
    with pytest.raises(OperationFailure, match="cursor id"):
        next(cursor)


def test_a_driver_that_makes_something_else_reads_replies_itself(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.db.things.insert_many([{"_id": n} for n in range(300)])
    whole = type(shop.db.things.find_raw_batches({}))._unpack_response
    asked = []

    def other(self: Any, *arguments: Any, **named: Any) -> Any:
        (found,) = whole(self, *arguments, **named)
        asked.append(found)
        return [{**found, "new": 1}]

    monkeypatch.setattr(type(shop.db.things.find_raw_batches({})), "_unpack_response", other)
    batches = list(quick(shop.db.things.find_raw_batches({}, batch_size=100)))
    assert sum(len(bson.decode_all(batch)) for batch in batches) == 300
    assert len(asked) == len(batches) + 1  # the last one is empty
    assert quick_replies._fits is False


def test_other_replies_are_left_to_the_driver() -> None:
    cursor = {"id": 0, "ns": "a.b", "firstBatch": [{"_id": 1}]}
    assert reply(bson.encode({"cursor": cursor, "ok": 1.0})) is not None
    odd = {**cursor, "id": 1.5}
    for other in ({"ok": 0.0}, {"cursor": 5}, {"cursor": {"id": 0}}, {"cursor": odd, "ok": 1.0}):
        assert reply(bson.encode(other)) is None
    assert reply(None) is None
