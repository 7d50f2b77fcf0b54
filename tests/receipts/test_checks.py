"""Dagster's check `delivered`."""

from __future__ import annotations

import dagster as dg

from millstream.config import DltConfig, PipelineConfig
from millstream.model import Receipt
from millstream.orchestration.checks import check_specs, delivered_result

ROOT = dg.AssetKey(["shop", "orders"])


def test_the_check_is_there_where_receipts_are_asked_for() -> None:
    source = DltConfig(path="behaviour.feed:orders")
    names = {
        how: {spec.name for spec in check_specs(config, [ROOT])}
        for how in ("none", "sample")
        for config in [PipelineConfig(name="shop", source=source, receipts=how)]
    }
    assert names["sample"] - names["none"] == {"delivered"}


def test_it_fails_where_anything_differs() -> None:
    good = Receipt("orders", 5, 5, checked=5)
    bad = Receipt("orders__lines", 9, 8, checked=5, problems=("1 row missing",))
    assert delivered_result(ROOT, [good]).passed
    failed = delivered_result(ROOT, [good, bad])
    assert not failed.passed
    assert failed.description == "orders__lines: 1 row missing"
    assert failed.severity is dg.AssetCheckSeverity.ERROR
