"""Dagster's check `delivered`."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import duckdb

import millstream
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


def test_a_load_by_dagster_is_checked(tmp_path: Path) -> None:
    rows = [{"id": n, "lines": [{"n": n}]} for n in range(5)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    config = PipelineConfig.model_validate(
        {
            "name": "shop",
            "source": {"type": "files", "streams": {"orders": {"path": "*.jsonl"}}},
            "destination": {"database": "w.duckdb"},
            "project": tmp_path,
            "receipts": "sample",
        }
    )
    assets = millstream.step_assets(config)
    (loaded,) = [
        each
        for each in dg.materialize(assets).get_asset_check_evaluations()
        if each.check_name == "delivered"
    ]
    assert (loaded.passed, loaded.description) == (True, "no difference in 5 checked rows")
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("DELETE FROM shop.orders__lines WHERE n = 3")
    key = dg.AssetCheckKey(loaded.asset_key, "delivered")
    (now,) = dg.materialize(
        assets, selection=dg.AssetSelection.checks(key)
    ).get_asset_check_evaluations()
    assert (now.passed, now.description) == (False, "orders__lines: 1 row missing")
