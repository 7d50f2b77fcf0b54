"""A collection that was loaded whole is read by a cursor or a change stream from now on."""

from __future__ import annotations

from typing import Any

import pytest

from sources.mongodb_kit import Shop

pytestmark = pytest.mark.xdist_group("mongodb")


@pytest.mark.parametrize("how", [{"cursor": "at"}, {"changes": True}], ids=["cursor", "changes"])
def test_a_whole_load_becomes_incremental(shop: Shop, how: dict[str, Any]) -> None:
    shop.db.orders.insert_many(
        [{"_id": n, "at": n, "items": [{"sku": f"s{n}", "tags": [n, -n]}]} for n in range(50)]
    )
    shop.load("orders")
    shop.load("orders", settings={"orders": how})
    shop.db.orders.update_one({"_id": 7}, {"$set": {"items": [], "at": 100}})
    shop.db.orders.insert_one({"_id": 60, "at": 101, "items": [{"sku": "s60", "tags": [60]}]})
    shop.load("orders", settings={"orders": how})
    found = shop.query(
        'SELECT o."_id", i.sku, t.value FROM shop.orders__items__tags AS t '
        "JOIN shop.orders__items AS i ON t._dlt_parent_id = i._dlt_id "
        "JOIN shop.orders AS o ON o._dlt_id = i._dlt_parent_id AND o._dlt_id = t._dlt_root_id "
        "ORDER BY 1, 3"
    )
    left = [(n, f"s{n}", value) for n in range(50) if n != 7 for value in sorted({n, -n})]
    left.insert(0, (0, "s0", 0))  # -0 is 0
    assert found == [*left, (60, "s60", 60)]
    assert shop.query("SELECT count(*) FROM shop.orders__items__tags") == [(len(found),)]
