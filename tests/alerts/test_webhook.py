"""A message as JSON: a form that programs may rely on."""

from __future__ import annotations

import json

from millstream.alerts.message import SHOWN
from millstream.alerts.webhook import payload
from millstream.schema_changes.evaluate import fingerprint

from .messages import message


def test_the_form_of_a_message() -> None:
    said = message("user", links={"Run": "https://dagster/1"}, downstream=["dbt/users"])
    found = json.loads(json.dumps(payload(said)))
    changes = found.pop("changes")
    assert found == {
        "version": 1,
        "event": "schema_changes",
        "pipeline": "shop",
        "stream": "orders",
        "partition": None,
        "outcome": "held",
        "severity": "breaking",
        "title": "shop.orders: held: 2 schema changes, breaking",
        "accept": "millstream schema accept --stream orders",
        "rows": {"orders": 1200},
        "downstream": ["dbt/users"],
        "links": {"Run": "https://dagster/1"},
    }
    assert [(each["kind"], each["action"], each["column"]) for each in changes] == [
        ("became_object", "hold", "user"),
        ("column_added", "allow", "user__x"),
    ]
    assert changes[0].keys() == {
        "id", "kind", "table", "column", "old", "new", "severity", "message", "action", "reason",
    }  # fmt: skip


def test_no_change_is_left_out() -> None:
    said = message(*(f"c{number}" for number in range(SHOWN)))
    found = payload(said)["changes"]
    assert len(found) == 2 * SHOWN
    assert [each["id"] for each in found] == [fingerprint(d.change) for d in said.decisions]
    assert len({each["id"] for each in found}) == len(found)
