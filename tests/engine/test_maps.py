"""Objects keyed by data as child tables, on real data and by the rules."""

from __future__ import annotations

import json
from pathlib import Path

import dlt
import orjson
import pytest
from tests.engine.test_patch import _engine_off_again, content, load  # noqa: F401

from millstream import engine
from millstream.engine.maps import apply
from millstream.errors import ConfigError
from millstream.formats.object_maps import as_lists

CUSTOMERS = Path(__file__).parents[2].parent / "shared" / "data" / "mongodb_customers.jsonl"


def test_paths_lead_through_objects_and_lists() -> None:
    row = {"a": [{"m": {"x": 1, "y": {"n": 2}}}, {"m": None}, {"m": {}}, {"o": 1}, 5]}
    found = as_lists(row, [("a", "m"), ("nothing",)])
    assert found == {
        "a": [
            {"m": [{"key": "x", "value": 1}, {"key": "y", "n": 2}]},
            {"m": None}, {"m": {}}, {"o": 1}, 5,
        ]
    }  # fmt: skip
    assert row["a"][0] == {"m": {"x": 1, "y": {"n": 2}}}


def test_a_path_may_be_spelt_as_its_column() -> None:
    row = {"userTiers": {"x": 1}, "user_tier": {"y": 1}}
    assert as_lists(row, [("user_tiers",)]) == {**row, "userTiers": [{"key": "x", "value": 1}]}
    both = {"userTiers": {"x": 1}, "user_tiers": {"y": 1}}
    assert as_lists(both, [("user_tiers",)])["userTiers"] == {"x": 1}


def test_a_key_of_its_own_is_not_overwritten() -> None:
    row = as_lists({"m": {"x": {"key": 1, "n": 2}, "y": 3}}, [("m",)])
    assert row == {"m": [{"key": "x", "key_xa62f22": 1, "n": 2}, {"key": "y", "value": 3}]}


def test_a_path_has_names() -> None:
    with pytest.raises(ConfigError, match="paths"):
        apply(dlt.resource([], name="r"), ["a..b"])


@pytest.mark.skipif(not CUSTOMERS.exists(), reason="the MongoDB sample customers are not at hand")
def test_real_customers_get_one_table_instead_of_columns(tmp_path: Path) -> None:
    lines = CUSTOMERS.read_bytes().splitlines()
    rows = [json.loads(line) for line in lines]
    engine.enable()
    few = rows[:20]
    exploded = load(tmp_path, "exploded", few)
    keys = {key for row in few for key in row.get("tier_and_details", {})}
    columns = exploded.default_schema.tables["items"]["columns"]
    assert sum(name.startswith("tier_and_details__") for name in columns) >= 2 * len(keys)
    for name, data in (("dicts", rows), ("texts", [orjson.Fragment(line) for line in lines])):
        resource = apply(dlt.resource(data, name="items"), ["tier_and_details"])
        pipeline = load(tmp_path, name, resource)
        tables = pipeline.default_schema.tables
        assert len(tables["items"]["columns"]) < 20
        assert "key" in tables["items__tier_and_details"]["columns"]
        ((count,),) = content(pipeline, "items__tier_and_details", "count(*)")
        assert count == sum(len(row.get("tier_and_details", {})) for row in rows)
