"""`millstream audit --source` of MongoDB's collections."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from bson import Decimal128, ObjectId

from millstream.runs.audit import audit_loads
from millstream.runs.runner import run
from millstream.runs.source_audit import SourceAudit, audit_source
from sources.mongodb_kit import Shop

pytestmark = pytest.mark.xdist_group("mongodb")


def differences(audit: SourceAudit) -> dict[str, tuple[int, int]]:
    (table,) = audit.tables
    kinds = {name: getattr(table, name) for name in ("missing", "extra", "changed", "doubled")}
    return {name: (each.rows, each.due) for name, each in kinds.items() if each.rows}


@pytest.mark.parametrize(
    "settings",
    [
        {"deletes": "soft"},
        *(pytest.param(each, marks=pytest.mark.nightly) for each in ({"deletes": "hard"}, {})),
    ],
)
def test_documents(settings: dict[str, Any], shop: Shop) -> None:
    """Of a change stream, and of a full load."""
    images = {"changeStreamPreAndPostImages": {"enabled": True}}  # `deletes: soft` needs them
    things = shop.db.create_collection("things", **images)
    things.insert_many([{"_id": n, "name": f"n{n}", "tags": [n]} for n in range(20)])
    found = shop.config(collections=["things"], changes=bool(settings), **settings)
    run(found, "things")
    things.delete_one({"_id": 3})
    things.update_one({"_id": 4}, {"$set": {"name": "other"}})
    things.insert_one({"_id": 50, "name": "new", "tags": []})
    before = audit_source(found, "things")
    assert differences(before) == {"missing": (1, 1), "extra": (1, 1), "changed": (1, 1)}
    assert before.is_settled
    run(found, "things")
    assert differences(audit_source(found, "things")) == {}


def test_documents_with_maps(shop: Shop) -> None:
    """Which are handed on as dlt keeps them, each value with the mark of its type."""
    values = {"at": datetime(2026, 1, 2, 3, 4, 5, 678000), "price": Decimal128("10.50")}
    values |= {"by": ObjectId("6b0ce16ab094b2c020511100"), "data": b"\0\xff", "is": True}
    for n in range(5):
        texts = {"name": f"\uf026n{n}", "other": "\uf02et"}
        shop.db.things.insert_one({"_id": n, "sizes": {f"k{n}": values}, **texts, **values})
    found = shop.config(collections=["things"])
    found = found.model_copy(update={"maps": {"things": ("sizes",)}})
    for how in ("sample", "all"):
        found = found.model_copy(update={"receipts": how})
        (receipt, *_) = run(found, "things").receipts
        assert (receipt.problems, receipt.unchecked, receipt.checked) == ((), "", 5)
    assert differences(audit_source(found, "things")) == {}
    shop.db.things.update_one({"_id": 2}, {"$set": {"sizes.k2.price": Decimal128("10.51")}})
    audit = audit_source(found, "things")
    assert differences(audit) == {"changed": (1, 1)}
    assert audit.tables[0].columns == {("things__sizes", "price"): 1}


def test_documents_that_a_cursor_passed_over(shop: Shop) -> None:
    things = shop.db.things
    things.insert_many([{"_id": n, "at": n, "name": f"n{n}"} for n in range(20)])
    found = shop.config(collections=["things"], settings={"things": {"cursor": "at"}})
    run(found, "things")
    things.delete_one({"_id": 3})
    things.update_one({"_id": 4}, {"$set": {"name": "other"}})
    things.update_one({"_id": 5}, {"$set": {"name": "told", "at": 30}})
    things.insert_many([{"_id": 50, "at": 1}, {"_id": 51, "at": 31}])
    audit = audit_source(found, "things")
    assert differences(audit) == {"missing": (2, 1), "extra": (1, 0), "changed": (2, 1)}
    assert not audit.is_settled
    run(found, "things")
    audit = audit_source(found, "things")
    assert differences(audit) == {"missing": (1, 0), "extra": (1, 0), "changed": (1, 0)}


@pytest.mark.parametrize("deletes", ["hard", "soft"])
def test_receipts_of_changes(deletes: str, shop: Shop) -> None:
    images = {"changeStreamPreAndPostImages": {"enabled": True}}
    things = shop.db.create_collection("things", **images)
    things.insert_many([{"_id": n, "name": f"n{n}", "tags": [{"n": n}]} for n in range(20)])
    found = shop.config(collections=["things"], changes=True, deletes=deletes)
    found = found.model_copy(update={"receipts": "sample"})
    checked = []
    for number in range(3):
        report = run(found, "things")
        receipts = report.receipts
        assert [(each.table, each.problems, each.unchecked) for each in receipts] == [
            ("things", (), ""),
            ("things__tags", (), ""),
        ]
        checked.append(receipts[0].checked)
        things.delete_one({"_id": 3 + number})
        things.update_one({"_id": 10}, {"$set": {"name": f"m{number}", "tags": []}})
        things.insert_one({"_id": 50 + number, "at": datetime(2026, 1, 2), "tags": [{"n": 1}]})
        things.replace_one({"_id": 50}, {"price": Decimal128("1.5"), "by": ObjectId()})
    assert checked[0] == 20
    assert min(checked) >= 2
    shop.query("UPDATE shop.things SET name = 'broken' WHERE _id = 10")
    (load,) = audit_loads(found, ["things"], find=True)
    assert load.receipts[0].problems == ("column `name` differs",)
    assert load.found == ("_id = 10: differs",)
