"""Dagster's automation conditions and freshness policies on these assets, as its documentation has
them: set in Python, or below `post_processing` in YAML.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.definitions.freshness_evaluator import TimeWindowFreshnessPolicyEvaluator
from dagster._core.loader import LoadingContextForTest

import millstream

from . import shop
from .conftest import key, loaded, shop_config
from .test_component import SHOP, load, sandbox  # noqa: F401 - a fixture

DAY = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=24), warn_window=timedelta(hours=12)
)
MISSING = dg.AutomationCondition.in_latest_time_window() & dg.AutomationCondition.missing()
CRON = "{{ dg.AutomationCondition.on_cron('0 6 * * *') }}"


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@dg.asset(deps=[key("orders")], automation_condition=dg.AutomationCondition.eager())
def report() -> None:
    """Downstream of a stream."""


def requested(defs, instance, cursor=None, at=None):
    """What a tick asks for, and its cursor."""
    found = dg.evaluate_automation_conditions(
        defs=defs, instance=instance, cursor=cursor, evaluation_time=at
    )
    names = {each.key.path[-1] for each in found.results if each.true_subset.size}
    return names, found.cursor


def conditioned(config, condition):
    """The assets of streams, with an automation condition; those of child tables without."""
    streams = [key("orders"), key("orders__archive"), key("empty")]
    return [
        each.map_asset_specs(
            lambda spec: (
                spec.replace_attributes(automation_condition=condition)
                if spec.key in streams
                else spec
            )
        )
        for each in millstream.step_assets(config)
    ]


def test_streams_that_are_missing_are_loaded_once(config, instance):
    loads = conditioned(config, MISSING)
    names, cursor = requested(loads, instance)
    assert names == {"orders", "orders__archive", "empty"}

    selection = [key(name) for name in sorted(names)]
    assert dg.materialize(loads, selection=selection, instance=instance).success

    assert requested(loads, instance, cursor)[0] == set()


def test_downstream_assets_follow_a_cron(config, instance):
    both = [*conditioned(config, dg.AutomationCondition.on_cron("0 6 * * *")), report]
    evening = datetime(2024, 1, 1, 20, tzinfo=timezone.utc)
    names, cursor = requested(both, instance, at=evening)
    assert "orders" not in names
    names, cursor = requested(both, instance, cursor, evening + timedelta(hours=11))
    assert names == {"orders", "orders__archive", "empty", "report"}

    result = dg.materialize(
        both, selection=[key("orders"), dg.AssetKey("report")], instance=instance
    )

    assert shop.pulls == ["orders"]
    assert loaded(result).keys() >= {"orders", "report"}
    names, cursor = requested(both, instance, cursor, evening + timedelta(hours=12))
    assert names == set()


def test_a_partition_is_loaded_when_its_window_has_ended(tmp_path, instance):
    days = {"type": "time", "every": "day", "start": "2024-01-01", "cursor": "at"}
    shop.rows["orders"] = [{"id": n, "at": f"2024-01-0{n}T12:00:00Z"} for n in (1, 2)]
    config = shop_config(tmp_path, partitions={**days, "streams": ["orders"]})
    loads = conditioned(config, MISSING)
    found = dg.evaluate_automation_conditions(
        defs=loads,
        instance=instance,
        evaluation_time=datetime(2024, 1, 3, 1, tzinfo=timezone.utc),
    )
    (day,) = found.get_requested_partitions(key("orders"))
    assert day == "2024-01-02"

    result = dg.materialize(loads, selection=[key("orders")], partition_key=day, instance=instance)

    assert loaded(result)["orders"]["rows_loaded"] == 1
    assert instance.get_materialized_partitions(key("orders")) == {day}


def freshness(defs, instance):
    node = defs.resolve_asset_graph().get(key("orders"))
    context = LoadingContextForTest(instance)
    return asyncio.run(TimeWindowFreshnessPolicyEvaluator().evaluate_freshness(context, node))


def test_a_freshness_policy_passes_after_a_load_and_not_before(config, instance, monkeypatch):
    defs = dg.Definitions(assets=millstream.step_assets(config)).map_resolved_asset_specs(
        func=lambda spec: dg.apply_freshness_policy(spec, DAY)
    )
    assert freshness(defs, instance) == FreshnessState.UNKNOWN

    assert defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)

    assert freshness(defs, instance) == FreshnessState.PASS
    clock = "dagster._core.definitions.freshness_evaluator.get_current_timestamp"
    now = datetime.now(timezone.utc)
    for hours, state in ((13, FreshnessState.WARN), (25, FreshnessState.FAIL)):
        later = (now + timedelta(hours=hours)).timestamp()
        monkeypatch.setattr(clock, lambda later=later: later)
        assert freshness(defs, instance) == state


def test_yaml_sets_both(sandbox):  # noqa: F811
    path = sandbox.scaffold_component(
        component_cls=millstream.Pipeline,
        defs_yaml_contents={
            "type": "millstream.Pipeline",
            "attributes": SHOP,
            "post_processing": {
                "assets": [
                    {
                        "target": "*",
                        "attributes": {"automation_condition": CRON},
                    }
                ]
            },
        },
        defs_path="shop",
    )
    with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
        (spec,) = defs.resolve_all_asset_specs()
    assert spec.automation_condition == dg.AutomationCondition.on_cron("0 6 * * *")
