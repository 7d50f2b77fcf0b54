"""The checks `schema` and `profile`, through Dagster itself."""

from __future__ import annotations

import shutil
from types import ModuleType
from typing import Any

import dagster as dg
import pytest

import millstream
from alerts.fake_alert_servers import slack
from millstream.cli import main
from millstream.model import Drift
from millstream.orchestration.checks import profile_result

from . import shop
from .conftest import key, loaded, log_lines, shop_config
from .test_retries import FROM_FAILURE, reexecute

BREAKING = [{"id": 3, "who": {"login": "cid"}, "n": 3, "items": []}]
SCHEMA = dg.AssetCheckKey(key("orders"), "schema")
PROFILE = dg.AssetCheckKey(key("orders"), "profile")
ACCEPT = "millstream schema accept --stream orders"
HELD = f"1 change must be accepted first; nothing is loaded, 1 row waits: {ACCEPT}"
WHO = "1 column unlike the last 4 loads: who"
NOT_EVALUATED = (False, "WARN", "not evaluated: the run was held, and nothing was loaded")


ONE = {"type": "dlt", "path": "orchestration.shop:shop", "streams": ["orders"]}


@pytest.fixture
def orders(loaded_shop, config, tmp_path):
    """The stream `orders` alone, after a first run and a reload."""
    for file in loaded_shop.iterdir():
        if file.is_file():
            shutil.copy(file, config.project)
    return millstream.step_assets(shop_config(tmp_path, source=ONE))


def said(result: Any) -> dict[str, tuple[bool, str, str]]:
    """Passed, severity and description of each evaluated check, as `stream.check`."""
    found: dict[str, tuple[bool, str, str]] = {}
    for event in result.get_asset_check_evaluations():
        name = f"{event.asset_key.path[-1]}.{event.check_name}"
        assert name not in found, f"{name} was evaluated twice"
        found[name] = (event.passed, event.severity.value, event.description)
    return found


def metadata(result: Any, name: str) -> dict[str, Any]:
    (found,) = [
        event
        for event in result.get_asset_check_evaluations()
        if f"{event.asset_key.path[-1]}.{event.check_name}" == name
    ]
    return {name: value.value for name, value in found.metadata.items()}


def rows(first: int, count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": n, "who": "ann", "n": n, **more} for n in range(first, first + count)]


@dg.asset(deps=[key("orders")])
def report() -> None:
    """What is downstream of a stream."""


def accept(config: Any, *words: str) -> None:
    """As a person does, at the command line."""
    import yaml

    attributes = config.model_dump(mode="json", exclude_none=True)
    defs = {"type": "millstream.Pipeline", "attributes": attributes}
    (config.folder / "defs.yaml").write_text(yaml.safe_dump(defs))
    assert main(["schema", "accept", str(config.folder), *words]) == 0


def test_checks_are_known_before_the_first_run(config):
    assets = millstream.step_assets(config)

    specs = {spec.key: spec for each in assets for spec in each.check_specs}
    assert {key.to_user_string() for key in specs} == {
        f"shop/{stream}:{check}"
        for stream in ("orders", "orders__archive", "empty")
        for check in ("schema", "profile")
    }
    assert specs[SCHEMA].blocking
    assert not specs[PROFILE].blocking
    assert shop.pulls == []


def test_blocking_is_a_choice_and_profile_needs_history(tmp_path):
    chosen = {"schema_check": {"blocking": False}, "profile_check": {"blocking": True}}
    assets = millstream.step_assets(shop_config(tmp_path, **chosen))
    specs = {spec.key: spec for each in assets for spec in each.check_specs}
    assert not specs[SCHEMA].blocking
    assert specs[PROFILE].blocking

    assets = millstream.step_assets(shop_config(tmp_path, history=False))
    assert {spec.name for each in assets for spec in each.check_specs} == {"schema"}


def test_a_run_evaluates_all_of_them(config):
    found = said(dg.materialize(millstream.step_assets(config)))

    assert found["orders.schema"] == (True, "WARN", "3 changes, allowed or accepted")
    assert found["orders.profile"] == (
        True,
        "WARN",
        "the first load that was counted: nothing to compare it with yet",
    )
    assert found["empty.schema"] == (True, "WARN", "as accepted")
    assert found["empty.profile"][2].startswith("nothing to compare: no rows came")
    assert len(found) == 6


def test_red_until_accepted(known, config):
    shop.rows["orders"] = BREAKING
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            result = dg.materialize([*known, report], instance=instance, raise_on_error=False)

            assert not result.success
            assert loaded(result).keys() == {"orders__archive", "empty"}
            found = said(result)
            assert found["orders.schema"] == (False, "ERROR", HELD)
            assert found["orders__archive.schema"][0]
            assert found["orders.profile"] == NOT_EVALUATED

        evaluation = metadata(result, "orders.schema")
        assert "millstream schema accept --stream orders" in evaluation["accept"]
        assert evaluation["rows_waiting"] == {"orders": 1}
        changes = {r.data["column"]: r.data for r in evaluation["changes"].records}
        assert changes["who"]["decision"] == "hold"
        assert changes["who"]["severity"] == "breaking"
        assert changes["who__login"]["decision"] == "allow"
        assert "`who` was text, now it is also an object" in evaluation["explained"]

        accept(config, "--change", changes["who"]["id"])
        result = dg.materialize([*known, report], instance=instance)

    assert said(result)["orders.schema"] == (True, "WARN", "as accepted")
    assert "report" in loaded(result)


def test_what_was_loaded_before_a_run_was_held_is_judged(known, config):
    """The package that waited is loaded; what is read after it is held."""
    shop.rows["orders"] = BREAKING
    with dg.DagsterInstance.ephemeral() as instance:
        assert not dg.materialize(known, instance=instance, raise_on_error=False).success
        accept(config)
        shop.rows["orders"] = [{"id": 4, "who": "dan", "n": {"of": 4}, "items": []}]
        result = dg.materialize(known, instance=instance, raise_on_error=False)
        found = said(result)
        lines = log_lines(instance, result.run_id)
    assert found["orders.schema"] == (False, "ERROR", HELD.replace("is loaded", "more was loaded"))
    assert found["orders.profile"][2] == "judged from 3 earlier loads on; there is 1"
    assert "orders: loaded before it failed: 1 row, 2 schema changes" in lines


def test_a_warning_is_gone_in_the_next_run(orders):
    shop.rows["orders"] = [{"id": 3, "n": "three"}]

    first = dg.materialize(orders)
    again = dg.materialize(orders)

    assert said(first)["orders.schema"] == (False, "WARN", "loaded, with 1 change to look at")
    assert "now also text" in metadata(first, "orders.schema")["explained"]
    assert said(again)["orders.schema"] == (True, "WARN", "as accepted")


def test_no_retry_is_asked_for_where_only_an_acceptance_helps(known, config):
    shop.rows["orders"] = BREAKING
    job = dg.Definitions(
        assets=known,
        jobs=[dg.define_asset_job("all", op_retry_policy=dg.RetryPolicy(max_retries=2))],
        executor=dg.in_process_executor,
    ).resolve_job_def("all")

    held = job.execute_in_process(raise_on_error=False)
    assert not [e for e in held.all_events if e.is_step_up_for_retry]
    assert "the stream 'orders' of 'shop' failed" in _description(held)

    shop.faults["orders__archive"] = OSError("gone for a moment")
    both = job.execute_in_process(raise_on_error=False)
    assert len([e for e in both.all_events if e.is_step_up_for_retry]) == 2


def _description(result: Any) -> str:
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    return str(failure.step_failure_data.user_failure_data.description)


@pytest.mark.parametrize("blocking", [False, True])
def test_a_column_that_stops_being_filled(tmp_path, blocking):
    config = shop_config(tmp_path, source=ONE, profile_check={"blocking": blocking})
    assets = millstream.step_assets(config)
    with dg.DagsterInstance.ephemeral() as instance:
        for start in (100, 200, 300):
            shop.rows["orders"] = rows(start, 60, note="x")
            assert dg.materialize([*assets, report], instance=instance).success
        shop.rows["orders"] = rows(400, 60, note=None)
        result = dg.materialize([*assets, report], instance=instance, raise_on_error=False)

    severity = "ERROR" if blocking else "WARN"
    assert said(result)["orders.profile"] == (
        False,
        severity,
        "1 column unlike the last 3 loads: note",
    )
    evaluation = metadata(result, "orders.profile")
    (record,) = evaluation["columns"].records
    assert record.data == {
        "table": "orders",
        "column": "note",
        "share": "null share",
        "now": 1.0,
        "lowest": 0.0,
        "highest": 0.0,
        "rows": 60,
    }
    assert "`note` is null in 100% of 60 rows, in 3 earlier loads in 0%" in evaluation["explained"]
    assert "orders" in loaded(result), "the rows are in, whatever the check says"
    assert result.success is not blocking
    assert ("report" in loaded(result)) is not blocking
    # shares come and go: they are the other check's
    assert said(result)["orders.schema"] == (True, "WARN", "as accepted")
    assert "changes" not in metadata(result, "orders.schema")


def test_what_a_rule_keeps_out_is_not_called_accepted(tmp_path):
    policy = {"rules": [{"action": "quarantine", "change": "variant_added"}]}
    assets = millstream.step_assets(shop_config(tmp_path, source=ONE, schema_policy=policy))
    with dg.DagsterInstance.ephemeral() as instance:
        shop.rows["orders"] = rows(1, 5)
        assert dg.materialize(assets, instance=instance).success
        shop.rows["orders"] = [*rows(6, 5), {"id": 99, "who": "bob", "n": "many"}]
        ahead = dg.materialize(
            assets, instance=instance, selection=dg.AssetSelection.checks(SCHEMA)
        )
        result = dg.materialize(assets, instance=instance)
    kept_out = "as accepted; 1 change kept out, with the rows that need it"
    assert said(ahead)["orders.schema"] == (True, "WARN", kept_out)
    assert said(result)["orders.schema"] == (True, "WARN", kept_out)
    explained = metadata(result, "orders.schema")["explained"]
    assert explained.startswith("Kept out, with the rows that need it:\n\n**orders**")


def test_an_object_of_rare_fields_that_stops_arriving(tmp_path):
    """Both checks tell of the object; no field of it was in more than one row of twenty."""
    assets = millstream.step_assets(shop_config(tmp_path, source=ONE))
    with dg.DagsterInstance.ephemeral() as instance:
        for start in (100, 200, 300):
            shop.rows["orders"] = [
                {**row, "more": {f"f{row['id'] % 20}": "x"}} for row in rows(start, 60)
            ]
            assert dg.materialize(assets, instance=instance).success
        shop.rows["orders"] = rows(400, 60)
        result = dg.materialize(assets, instance=instance)
    found = said(result)
    assert found["orders.schema"][2] == "loaded, with 1 change to look at"
    assert found["orders.profile"][2] == "1 column unlike the last 3 loads: more"


@pytest.mark.parametrize(
    ("names", "loads", "description"),
    [
        ("ab", 1, "2 columns unlike the last load: a, b"),
        ("abcdefg", 3, "7 columns unlike the last 3 loads: a, b, c, d, e and 2 more"),
    ],
)
def test_the_columns_that_jumped_are_named(config, names, loads, description):
    jumps = [Drift("orders", name, "presence", 1.0, 0.0, 0.0, 60, "") for name in names]
    assert profile_result(config, key("orders"), jumps, loads, 60).description == description
    below = [Drift("orders__items", "sku", "presence", 1.0, 0.0, 0.0, 60, "")]
    said = profile_result(config, key("orders"), below, loads, 60).description
    assert said.endswith(": orders__items.sku")


def test_a_load_of_few_rows_is_not_said_to_be_like_the_others(config):
    for rows, description in (
        (19, "not judged: 19 rows, of at least 20 (`min_rows`)"),
        (20, "as in the last 4 loads"),
    ):
        assert profile_result(config, key("orders"), (), 4, rows).description == description


@dg.asset(deps=[key("orders__items")])
def items_report() -> None:
    """What is downstream of a child table."""


def job(name):
    from pathlib import Path

    return dg.Definitions(
        assets=[
            *millstream.step_assets(
                shop_config(Path.cwd(), source=ONE, profile_check={"blocking": True})
            ),
            report,
            items_report,
        ],
        jobs=[
            dg.define_asset_job("everything"),
            dg.define_asset_job("child", dg.AssetSelection.assets(items_report).upstream(1)),
        ],
        executor=dg.in_process_executor,
    ).resolve_job_def(name)


def everything():
    return job("everything")


def child_alone():
    return job("child")


def test_a_reexecution_does_not_slip_past_a_blocking_check(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for start in (100, 200, 300):
            shop.rows["orders"] = rows(start, 60, note="x", items=[{"sku": "a"}])
            assert dg.execute_job(dg.reconstructable(everything), instance=instance).success
        shop.rows["orders"] = rows(400, 60, items=[{"sku": "a"}])
        result = dg.execute_job(dg.reconstructable(everything), instance=instance)
        assert not result.success
        shop.pulls.clear()

        for _ in range(2):
            result = reexecute((instance, result.run_id), FROM_FAILURE, everything)
            assert not result.success
            assert said(result)["orders.profile"][:2] == (False, "ERROR")
            assert "report" not in loaded(result)
        assert shop.pulls == []

        # the check is the stream's own asset's, which this run does not select
        shop.rows["orders"] = rows(500, 60, who=None, items=[{"sku": "a"}])
        result = dg.execute_job(dg.reconstructable(child_alone), instance=instance)
        assert not result.success
        result = reexecute((instance, result.run_id), FROM_FAILURE, child_alone)
        assert said(result) == {"orders.profile": (False, "ERROR", WHO)}
        assert "items_report" not in loaded(result)


def test_selection_without_checks_or_without_the_root(orders):
    only_asset = dg.AssetSelection.assets(key("orders")).without_checks()
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(orders, selection=only_asset, instance=instance)
        assert loaded(result)["orders"]["rows_loaded"] == 2
        assert said(result)["orders.schema"][0], "recorded all the same"
        assert not [line for line in log_lines(instance, result.run_id) if "not selected" in line]

        child = [key("orders__items")]
        assert said(dg.materialize(orders, selection=child, instance=instance))["orders.schema"][0]
        shop.rows["orders"] = BREAKING
        held = dg.materialize(orders, selection=child, instance=instance, raise_on_error=False)
        assert not held.success
        assert said(held) == {
            "orders.schema": (False, "ERROR", HELD),
            "orders.profile": NOT_EVALUATED,
        }


def test_one_check_of_a_stream_can_be_selected(orders):
    shop.rows["orders"] = [{"id": 3, "n": "three"}]
    chosen = dg.AssetSelection.assets(key("orders")).without_checks() | dg.AssetSelection.checks(
        PROFILE
    )

    assert said(dg.materialize(orders, selection=chosen))["orders.profile"][0]


def test_a_check_alone_is_judged_without_loading(orders, config):
    checks = dg.AssetSelection.checks(SCHEMA, PROFILE)

    alone = dg.materialize(orders, selection=checks)
    assert said(alone)["orders.schema"] == (True, "WARN", "as accepted")
    assert said(alone)["orders.profile"][0]
    assert loaded(alone) == {}

    shop.rows["orders"] = [{"id": 3, "who": "cid", "n": "three", "items": []}]
    ahead = dg.materialize(orders, selection=checks)
    assert said(ahead)["orders.schema"] == (
        False,
        "WARN",
        "not loaded yet; the next run makes 1 change to look at",
    )

    shop.rows["orders"] = BREAKING
    ahead = dg.materialize(orders, selection=checks, raise_on_error=False)
    assert said(ahead)["orders.schema"] == (
        False,
        "ERROR",
        f"the next run will be held: 1 change must be accepted first: {ACCEPT} --from-source",
    )

    assert not dg.materialize(orders, raise_on_error=False).success
    shop.pulls.clear()
    waiting = dg.materialize(orders, selection=checks, raise_on_error=False)
    assert said(waiting)["orders.schema"] == (False, "ERROR", HELD)
    accept(config)
    assert said(dg.materialize(orders, selection=checks))["orders.schema"][0]
    assert shop.pulls == [], "what waits here says it; the source need not"


def test_a_check_alone_that_can_not_be_judged_fails(orders):
    shop.faults["orders"] = OSError("gone")

    result = dg.materialize(
        orders, selection=dg.AssetSelection.checks(SCHEMA), raise_on_error=False
    )

    assert "OSError: gone" in _description(result)
    assert said(result) == {}


def test_checks_move_with_their_assets(config):
    module = ModuleType("europe")
    module.loads = millstream.step_assets(config.model_copy(update={"history": False}))

    result = dg.materialize(dg.load_assets_from_modules([module], key_prefix="eu"))

    found = {evaluation.asset_key for evaluation in result.get_asset_check_evaluations()}
    assert dg.AssetKey(["eu", "shop", "orders"]) in found


def test_an_alert_names_the_pages_and_who_reads_the_tables(tmp_path, monkeypatch):
    @dg.asset(deps=[report])
    def board() -> None: ...

    @dg.asset(deps=[key("orders__archive")])
    def elsewhere() -> None: ...

    config = shop_config(tmp_path, source=ONE, alerts=[{"type": "slack"}])
    assets = millstream.step_assets(config)
    monkeypatch.setenv("MILLSTREAM_DAGSTER_URL", "https://dagster.example.org/")
    with slack() as office:
        monkeypatch.setenv("SLACK_WEBHOOK_URL", office.url)
        assert dg.materialize([*assets, report, board, elsewhere]).success
        shop.rows["orders"] = BREAKING
        defs = dg.Definitions(
            assets=[*assets, report, board, elsewhere], jobs=[dg.define_asset_job("all")]
        )
        job = defs.resolve_job_def("all")
        result = job.execute_in_process(raise_on_error=False)
        _, payload = office.taken  # of the first run, then of the one that was held

    text = "\n".join(block["text"]["text"] for block in payload["blocks"])
    assert "Downstream: board, report" in text
    assert f"<https://dagster.example.org/runs/{result.run_id}|Run>" in text
    assert "<https://dagster.example.org/assets/shop/orders?view=checks|Checks>" in text
    assert "elsewhere" not in text
