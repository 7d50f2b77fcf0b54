"""What dlt says in a step becomes what people can act on."""

from __future__ import annotations

from dlt.common.schema.exceptions import UnboundColumnException

from millstream.failures import explain


def test_a_key_that_no_row_has():
    columns = [{"name": "nokey", "primary_key": True, "nullable": False}]
    error = UnboundColumnException("shop", "orders", columns)
    told = explain(error, "shop.orders", "orders", "normalize")
    assert told.message == (
        "shop.orders: normalize failed: no row has `nokey` of the key in the table `orders`"
    )
    assert "millstream pending drop --stream" in told.hint


def test_a_column_that_must_not_be_null_and_that_no_row_has():
    error = UnboundColumnException("shop", "orders", [{"name": "n", "nullable": False}])
    told = explain(error, "shop.orders", "orders", "normalize")
    assert "no row has `n`, which may not be null, in the table `orders`" in told.message
