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
from dagster._core.workspace.context import LoadingContextForTest

import millstream

from . import shop
from .conftest import key, loaded, shop_config
from .test_component import SHOP, load, sandbox  # noqa: F401 - a fixture

DAY = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=24), warn_window=timedelta(hours=12)
)


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


def test_streams_that_are_missing_are_loaded_once(config, instance):
    loads = millstream.assets(config).map_asset_specs(
        lambda spec: spec.replace_attributes(
            automation_condition=dg.AutomationCondition.on_missing()
        )
    )
    names, cursor = requested([loads], instance)
    names, cursor = (names, cursor) if names else requested([loads], instance, cursor)
    assert names == {"orders", "orders__archive", "empty"}

    selection = [key(name) for name in sorted(names)]
    assert dg.materialize([loads], selection=selection, instance=instance).success

    assert requested([loads], instance, cursor)[0] == set()


def test_a_stream_is_loaded_by_a_cron_and_what_is_downstream_follows(config, instance):
    loads = millstream.assets(config).map_asset_specs(
        lambda spec: spec.replace_attributes(
            automation_condition=dg.AutomationCondition.on_cron("0 6 * * *")
        )
        if spec.key == key("orders")
        else spec
    )
    both = [loads, report]
    evening = datetime(2024, 1, 1, 20, tzinfo=timezone.utc)
    names, cursor = requested(both, instance, at=evening)
    assert "orders" not in names
    names, cursor = requested(both, instance, cursor, evening + timedelta(hours=11))
    assert names == {"orders"}

    result = dg.materialize(both, selection=[key("orders")], instance=instance)

    assert shop.pulls == ["orders"]
    assert "orders" in loaded(result)
    names, cursor = requested(both, instance, cursor, evening + timedelta(hours=12))
    assert names == {"report"}


def test_a_partition_is_loaded_when_its_window_has_ended(tmp_path, instance):
    days = {"type": "time", "every": "day", "start": "2024-01-01", "cursor": "at"}
    shop.rows["orders"] = [{"id": 1, "at": "2024-01-02T12:00:00Z"}]
    config = shop_config(tmp_path, partitions={**days, "streams": ["orders"]})
    loads = millstream.assets(config).map_asset_specs(
        lambda spec: spec.replace_attributes(
            automation_condition=dg.AutomationCondition.on_missing()
        )
        if spec.key == key("orders")
        else spec
    )

    def partitions(hour, cursor=None):
        found = dg.evaluate_automation_conditions(
            defs=[loads],
            instance=instance,
            cursor=cursor,
            evaluation_time=datetime(2024, 1, 2, hour, tzinfo=timezone.utc) + timedelta(days=1),
        )
        return found.get_requested_partitions(key("orders")), found.cursor

    _, cursor = partitions(0)
    asked, cursor = partitions(1, cursor)
    assert asked <= {"2024-01-01", "2024-01-02"}
    result = dg.materialize(
        [loads], selection=[key("orders")], partition_key="2024-01-02", instance=instance
    )
    assert loaded(result)["orders"]["rows_loaded"] == 1
    assert instance.get_materialized_partitions(key("orders")) == {"2024-01-02"}


def freshness(defs, instance):
    node = defs.resolve_asset_graph().get(key("orders"))
    context = LoadingContextForTest(instance)
    return asyncio.run(TimeWindowFreshnessPolicyEvaluator().evaluate_freshness(context, node))


def test_a_freshness_policy_passes_after_a_load_and_not_before(config, instance, monkeypatch):
    defs = dg.Definitions(assets=[millstream.assets(config)]).map_resolved_asset_specs(
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


def test_a_freshness_check_passes_after_a_load(config, instance):
    loads = millstream.assets(config)
    checks = dg.build_last_update_freshness_checks(
        assets=[key("orders")], lower_bound_delta=timedelta(hours=1)
    )
    result = dg.materialize([loads, *checks], instance=instance)
    (found,) = [
        each for each in result.get_asset_check_evaluations() if "freshness" in each.check_name
    ]
    assert found.passed


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
                        "attributes": {
                            "automation_condition": "{{ automation_condition.on_cron('0 6 * * *') }}"
                        },
                    }
                ]
            },
        },
        defs_path="shop",
    )
    with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
        (spec,) = defs.resolve_all_asset_specs()
    assert spec.automation_condition == dg.AutomationCondition.on_cron("0 6 * * *")
