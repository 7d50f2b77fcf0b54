"""Collections with objects whose keys are data: `maps` makes rows of the keys, values unchanged."""

from __future__ import annotations

import math
from datetime import datetime

import pytest
from bson import Decimal128, ObjectId

from sources.mongodb_project import Project

pytestmark = pytest.mark.xdist_group("mongodb")

WHEN = datetime(2024, 5, 1, 10, 30)
ENTRIES = {
    "0df0": {"tier": "gold", "since": WHEN, "perks": ["a", {"b": 1}], "rate": 1.5},
    "3f1a": {"tier": "silver", "since": WHEN, "perks": [], "rate": math.nan},
}


def test_a_map_of_documents_is_a_table_with_every_value(duckdb_project: Project) -> None:
    shop = duckdb_project
    shop.db.customers.insert_many(
        [
            {"_id": 1, "at": {"tiers": ENTRIES}, "sizes": {"s": 1, "m": 2}},
            {"_id": 2, "at": {"tiers": {}}, "sizes": None},
            {"_id": 3, "sizes": {"l": 3}, "owner": ObjectId("5ca4bbcea2dd94ee58162a68")},
            {"_id": 4, "at": {"tiers": {"ffff": {"price": Decimal128("1.10")}}}},
        ]
    )
    shop.define("collections: [customers]")
    path = shop.place.project / "defs.yaml"
    text = path.read_text()
    maps = "  maps: {customers: [at.tiers, sizes]}\n"
    path.write_text(
        text.replace("  schema_policy: anything\n", "  schema_policy: anything\n" + maps)
    )
    shop.run()
    tiers = shop.rows("customers__at__tiers", "key", "tier", "since", "rate")
    times = [(k, tier, since and since.replace(tzinfo=None)) for k, tier, since, _ in tiers]
    assert sorted(times, key=str) == [
        ("0df0", "gold", WHEN),
        ("3f1a", "silver", WHEN),
        ("ffff", None, None),
    ]
    rates = {key: rate for key, _, _, rate in tiers}
    assert rates["0df0"] == 1.5
    assert math.isnan(rates["3f1a"])
    assert rates["ffff"] is None
    assert sorted(shop.rows("customers__sizes", "key", "value")) == [("l", 3), ("m", 2), ("s", 1)]
    assert len(shop.rows("customers__at__tiers__perks", "value")) == 2
    assert sorted(shop.rows("customers", "_id")) == [(1,), (2,), (3,), (4,)]
    # read again as a whole, once another object is a map
    path.write_text(path.read_text().replace("[at.tiers, sizes]", "[at.tiers]"))
    shop.run()
    assert sorted(shop.rows("customers", "sizes__s", "_id"), key=str)[0] == (1, 1)


def test_documents_keyed_by_ids_are_held_first(duckdb_project: Project) -> None:
    shop = duckdb_project
    keys = {f"{n:08x}": {"tier": "x", "perks": ["a"]} for n in range(60)}
    shop.db.customers.insert_one({"_id": 1, "tiers": keys})
    shop.define("collections: [customers]")
    path = shop.place.project / "defs.yaml"
    path.write_text(path.read_text().replace("  schema_policy: anything\n", ""))
    said = shop.run(fails=True)
    assert "make 60 columns and 60 tables" in said
    assert "`maps: {customers: [tiers]}` in defs.yaml" in said
    path.write_text(path.read_text() + "  maps: {customers: [tiers]}\n")
    shop.run()
    assert len(shop.rows("customers__tiers", "key")) == 60
