"""`millstream audit --source` of MongoDB's collections."""

from __future__ import annotations

from typing import Any

import pytest

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
