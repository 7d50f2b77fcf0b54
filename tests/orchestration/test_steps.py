"""Which streams a step of a run loads, and what that means to a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import duckdb
import pytest

import millstream
from millstream.config import parse_pipeline
from millstream.errors import ConfigError

from . import shop
from .conftest import key, loaded, shop_config
from .test_component import SHOP, load, sandbox  # noqa: F401 - a fixture


@dg.asset(deps=[key("orders")])
def report() -> None:
    """What is downstream of a stream."""


@dg.asset(deps=[key("orders__archive")])
def audit() -> None:
    """What is downstream of another one."""


def files(folder: Path, count: int, **attributes):
    """A pipeline of so many files."""
    streams = {f"s{n}": {"path": f"s{n}.jsonl"} for n in range(count)}
    return parse_pipeline(
        {"name": "lake", "source": {"type": "files", "streams": streams}, **attributes},
        where="a test",
        project=folder,
    )


def steps(config):
    return {
        each.op.name: sorted(key.path[-1] for key in each.keys)
        for each in millstream.step_assets(config)
    }


def test_a_stream_and_its_children_are_a_step(known):
    assert {each.op.name: {key.path[-1] for key in each.keys} for each in known} == {
        "load_shop__orders": {"orders", "orders__items", "orders__items__tags"},
        "load_shop__orders__archive": {"orders__archive"},
        "load_shop__empty": {"empty"},
    }
    assert {each.op.pool for each in known} == {"millstream_duckdb"}


def test_several_streams_a_step_or_all(tmp_path):
    assert steps(files(tmp_path, 3, steps=2)) == {
        "load_lake__1": ["s0", "s1"],
        "load_lake__2": ["s2"],
    }
    assert steps(files(tmp_path, 3, steps="pipeline")) == {"load_lake": ["s0", "s1", "s2"]}
    (one,) = millstream.step_assets(files(tmp_path, 2, steps=5, pool="lake"))
    assert one.op.description == "Loads 2 streams: s0, s1."
    assert one.op.pool == "lake"


def test_many_streams_share_steps_by_default(tmp_path):
    assert len(steps(files(tmp_path, 16))) == 16
    shared = steps(files(tmp_path, 50))
    assert [len(streams) for streams in shared.values()] == [4] * 12 + [2]
    assert len(steps(files(tmp_path, 50, steps="stream"))) == 50


@pytest.mark.parametrize("steps", ["streams", 0, 2.5, True])
def test_no_other_steps_are_known(tmp_path, steps):
    with pytest.raises(ConfigError, match=r"steps: "):
        files(tmp_path, 1, steps=steps)


def test_assets_and_jobs_are_the_same_whatever_the_steps(tmp_path):
    def shape(steps):
        defs = millstream.definitions(shop_config(tmp_path, steps=steps, stream_jobs=True))
        names = {job.name for job in defs.get_repository_def().get_all_jobs()}
        return names, {spec.key: spec for spec in defs.resolve_all_asset_specs()}

    assert shape("stream") == shape("pipeline") == shape(2)


def test_what_is_downstream_of_a_healthy_stream_runs(known):
    shop.faults["orders__archive"] = OSError("gone")

    result = dg.materialize([*known, report, audit], raise_on_error=False)

    assert not result.success
    assert "report" in loaded(result)
    assert "audit" not in loaded(result)
    assert [e.step_key for e in result.all_events if e.is_step_failure] == [
        "load_shop__orders__archive"
    ]


def test_a_tag_of_the_run_refreshes_all_its_streams(known):
    shop.rows["orders"] = [{"id": 9, "who": "di", "n": 1, "items": []}]
    shop.rows["orders__archive"] = [{"id": 8}]

    result = dg.materialize(known, tags={"millstream/full_refresh": "true"})

    found = loaded(result)
    assert found["orders"]["dagster/row_count"] == 1
    assert found["orders__archive"]["dagster/row_count"] == 1
    with pytest.raises(ConfigError, match="the tag millstream/full_refresh is 'yes'"):
        dg.materialize(known, tags={"millstream/full_refresh": "yes"})


def test_a_stream_without_partitions_has_no_backfill_policy(tmp_path):
    days = {"type": "time", "every": "day", "start": "2024-01-01", "cursor": "at"}
    config = shop_config(tmp_path, partitions={**days, "streams": ["orders"]})

    policies = {each.op.name: each.backfill_policy for each in millstream.step_assets(config)}

    assert policies["load_shop__orders"] == dg.BackfillPolicy.multi_run(1)
    assert policies["load_shop__empty"] is None


def test_yaml_says_how_many(sandbox):  # noqa: F811
    _, defs = load(sandbox, {**SHOP, "steps": "pipeline"})
    (job,) = [job for job in defs.get_repository_def().get_all_jobs() if job.name == "shop"]
    assert [node.name for node in job.nodes] == ["load_shop"]


DEFINITIONS = """
import dagster as dg
import millstream

defs = dg.Definitions.merge(
    millstream.definitions(
        name="shop",
        source={"type": "files", "streams": {f"s{n}": {"path": f"s{n}.jsonl"} for n in range(6)}},
        folder=".",
    ),
    dg.Definitions(
        assets=[
            dg.asset(lambda: None, name=f"of_s{n}", deps=[dg.AssetKey(["shop", f"s{n}"])])
            for n in (0, 3)
        ],
        jobs=[dg.define_asset_job("everything")],
    ),
)
"""


@pytest.mark.nightly
def test_six_processes_load_into_one_file(tmp_path, monkeypatch):
    """As the daemon runs a job: a process for each step. One of six files is no JSON."""
    for number in range(6):
        rows = [{"id": n, "tags": [{"name": "a"}, {"name": "b"}]} for n in range(number + 1)]
        (tmp_path / f"s{number}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "s3.jsonl").unlink()
    (tmp_path / "shop.py").write_text(DEFINITIONS)
    (tmp_path / "home").mkdir()
    forked = {"forkserver": {"preload_modules": ["dagster", "millstream.runs.runner"]}}
    executor = {"multiprocess": {"max_concurrent": 3, "start_method": forked}}
    (tmp_path / "run.yaml").write_text(json.dumps({"execution": {"config": executor}}))

    command = [Path(sys.executable).with_name("dagster"), "job", "execute", "-j", "everything"]
    done = subprocess.run(
        [*command, "-f", "shop.py", "-c", "run.yaml"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path / "home")},
    )

    assert done.returncode != 0
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        (run,) = instance.get_runs()
        steps = {
            step.step_key: step.status.value for step in instance.get_run_step_stats(run.run_id)
        }
        assert steps["load_shop__s3"] == "FAILURE"
        assert [name for name, status in steps.items() if status != "SUCCESS"] == ["load_shop__s3"]
        assert "of_s0" in steps, done.stderr
        assert "of_s3" not in steps
    with duckdb.connect("shop_db.duckdb", read_only=True) as connection:
        for n in (0, 1, 2, 4, 5):
            counted = f"SELECT (SELECT count(*) FROM shop.s{n}), count(*) FROM shop.s{n}__tags"
            assert connection.execute(counted).fetchall() == [(n + 1, 2 * (n + 1))]
    accepted = Path("schema.yaml").read_text()
    assert [f"s{n}" for n in range(6) if f"\n  s{n}:" in accepted] == ["s0", "s1", "s2", "s4", "s5"]


def test_assets_are_one_definition_of_one_step(tmp_path):
    """As projects have it in their lists."""
    config = shop_config(tmp_path)
    one = millstream.assets(config)
    assert one.op.name == "load_shop"
    result = dg.materialize([one])
    assert result.success
    assert {"orders", "orders__items"} <= loaded(result).keys()
    with pytest.raises(ConfigError, match="is one step, and `steps` is 'stream'") as refused:
        millstream.assets(config.model_copy(update={"steps": "stream"}))
    assert "step_assets" in refused.value.hint
