"""What is tried again of a step that several streams share, and of steps of one stream each."""

from __future__ import annotations

import dagster as dg
import pytest

import millstream
from millstream.orchestration import assets as _  # noqa: F401 - the job below is loaded by name

from . import shop
from .conftest import key, loaded, log_lines, shop_config


class OnceBroken(dict):
    """Faults that are gone when they were asked for once."""

    def __getitem__(self, name):
        return self.pop(name)


@dg.asset(deps=[key("orders"), key("empty")])
def report() -> None:
    """What is downstream of a stream that a retry does not load again."""


def job_of(config, **options):
    return dg.Definitions(
        assets=[*millstream.step_assets(config), report],
        jobs=[dg.define_asset_job("everything", **options)],
        executor=dg.in_process_executor,
    ).resolve_job_def("everything")


@pytest.mark.parametrize("steps", ["stream", "pipeline"])
def test_a_retry_within_the_run_loads_only_what_failed(tmp_path, monkeypatch, steps):
    monkeypatch.setattr(shop, "faults", OnceBroken(orders__archive=OSError("gone for a moment")))
    config = shop_config(tmp_path, steps=steps)

    result = job_of(config, op_retry_policy=dg.RetryPolicy(max_retries=2)).execute_in_process()

    assert result.success
    assert sorted(shop.pulls) == ["empty", "orders", "orders__archive", "orders__archive"]
    # nothing twice, nothing lost, and what is downstream of the first attempt ran
    assert loaded(result).keys() >= {"orders", "orders__archive", "empty", "report"}


def reexecute(parent, tags, job=None):
    instance, run = parent
    return dg.execute_job(
        dg.reconstructable(job or everything),
        instance=instance,
        reexecution_options=dg.ReexecutionOptions.from_failure(run, instance),
        tags=tags,
    )


def everything():
    from pathlib import Path

    return job_of(shop_config(Path.cwd(), steps="pipeline"))


def step_by_step():
    from pathlib import Path

    return job_of(shop_config(Path.cwd()))


@pytest.fixture
def failed(tmp_path):
    """A run, in an instance on disk, in which one stream of three failed."""
    shop.faults["orders__archive"] = OSError("gone for long")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        result = dg.execute_job(dg.reconstructable(everything), instance=instance)
        assert not result.success
        shop.pulls.clear()
        yield instance, result.run_id


FROM_FAILURE = {"dagster/is_resume_retry": "true"}  # what Dagster's own re-execution sets


def test_a_reexecution_from_failure_loads_only_what_failed(failed):
    shop.faults.clear()

    result = reexecute(failed, FROM_FAILURE)

    assert result.success
    assert shop.pulls == ["orders__archive"]
    found = loaded(result)
    # what waits for streams that were loaded before runs too; these say that nothing was loaded now
    assert found.keys() == {"orders", "orders__archive", "empty", "report"}
    assert found["orders"]["rows_loaded"] == 0
    assert found["orders"]["dagster/row_count"] == 2
    assert found["orders"]["loaded_in_run"] == failed[1]
    assert "schema_changes" not in found["orders"]
    lines = log_lines(failed[0], result.run_id)
    assert f"orders: loaded before, in run {failed[1]}; not loaded again" in lines


def test_a_reexecution_from_failure_starts_the_failed_step(tmp_path):
    shop.faults["orders"] = OSError("gone for long")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        first = dg.execute_job(dg.reconstructable(step_by_step), instance=instance)
        assert not first.success
        assert "report" not in loaded(first)
        shop.faults.clear()
        shop.pulls.clear()

        result = reexecute((instance, first.run_id), FROM_FAILURE, step_by_step)

        assert result.success
        assert {e.step_key for e in result.all_events if e.is_step_start} == {
            "load_shop__orders",
            "report",
        }
    assert shop.pulls == ["orders"]
    assert loaded(result).keys() == {"orders", "orders__items", "orders__items__tags", "report"}


def test_a_reexecution_carries_on_a_table_before_its_children(tmp_path, known):
    """In a step that several streams share; the order must not hang on how keys are hashed."""
    shop.faults["orders__archive"] = OSError("gone for long")
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        first = dg.execute_job(dg.reconstructable(everything), instance=instance)
        assert loaded(first).keys() == {"orders", "orders__items", "orders__items__tags", "empty"}
        shop.faults.clear()

        result = reexecute((instance, first.run_id), FROM_FAILURE)

        assert result.success
    assert list(loaded(result))[:3] == ["orders", "orders__items", "orders__items__tags"]


@pytest.mark.nightly
def test_a_second_reexecution_looks_back_to_the_first_run(failed):
    again = reexecute(failed, FROM_FAILURE)
    assert not again.success
    assert shop.pulls == ["orders__archive"]
    shop.faults.clear()

    result = reexecute((failed[0], again.run_id), FROM_FAILURE)

    assert result.success
    assert shop.pulls == ["orders__archive", "orders__archive"]


@pytest.mark.nightly
def test_a_reexecution_of_everything_loads_everything(failed):
    shop.faults.clear()

    result = reexecute(failed, {})

    assert result.success
    assert shop.pulls == ["orders", "orders__archive", "empty"]


@pytest.mark.nightly
def test_a_later_run_starts_afresh(failed):
    shop.faults.clear()

    dg.execute_job(dg.reconstructable(everything), instance=failed[0])

    assert shop.pulls == ["orders", "orders__archive", "empty"]
