"""What Dagster knows of loads that `millstream run` made."""

from __future__ import annotations

import subprocess
from pathlib import Path

import dagster as dg
import pytest

from services.processes import millstream

DEFS = """\
type: millstream.Pipeline
attributes:
  name: shop
  source: {type: files, streams: {orders: {path: "data/*.jsonl", primary_key: [id]}}}
  destination: {type: duckdb, database: warehouse.duckdb}
  source_asset: true
"""
ORDERS = dg.AssetKey(["shop", "orders"])
LINES = dg.AssetKey(["shop", "orders__lines"])
SOURCE = dg.AssetKey(["sources", "shop"])


COMES_FROM = {
    ORDERS: {"id": (SOURCE, "orders.id"), "title": (SOURCE, "orders.title")},
    LINES: {
        "line_no": (SOURCE, "orders.Lines[].lineNo"),
        "_dlt_parent_id": (ORDERS, "_dlt_id"),
        "_dlt_root_id": (ORDERS, "_dlt_id"),
    },
}


def lineage(load: dg.AssetMaterialization) -> dict[str, tuple[dg.AssetKey, str]]:
    """Where the columns of an asset come from, by column."""
    found = load.metadata["dagster/column_lineage"].value.deps_by_column
    return {name: (dep.asset_key, dep.column_name) for name, (dep,) in found.items()}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (folder / "pyproject.toml").touch()
    (folder / "defs.yaml").write_text(DEFS)
    (folder / "data" / "a.jsonl").write_text('{"id": 1, "title": "a", "Lines": [{"lineNo": 1}]}\n')
    return folder


def run(project: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    home = {"DAGSTER_HOME": str(project.parent / "home")}
    return millstream(project, "run", *options, environment={**home, **environment})


def test_what_run_loaded_is_materialized_in_dagster(project: Path) -> None:
    first = run(project)
    assert first.returncode == 0, first.stderr
    assert "reported to Dagster: 2 assets materialized" in first.stderr
    (project / "data" / "b.jsonl").write_text('{"id": 2, "title": {"text": "b"}}\n')
    held = run(project)
    assert held.returncode == 1

    with dg.DagsterInstance.from_config(str(project.parent / "home")) as instance:
        for key, rows in ((ORDERS, 1), (LINES, 1)):
            event = instance.get_latest_materialization_event(key)
            assert event is not None
            assert event.asset_materialization is not None
            assert event.asset_materialization.metadata["rows_loaded"].value == rows
            assert lineage(event.asset_materialization) == COMES_FROM[key]
        (record,) = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(ORDERS, "schema"), limit=1
        )
    evaluation = record.event.dagster_event.asset_check_evaluation_data
    assert not evaluation.passed
    assert evaluation.description.endswith(": millstream schema accept --stream orders")


@pytest.mark.parametrize(
    "partitions", ["", "  partitions: {type: static, field: region, values: [eu]}\n"]
)
def test_what_a_replay_loaded_is_told_to_dagster(project: Path, partitions: str) -> None:
    """Rows of several partitions are no materialization of one."""
    (project / "defs.yaml").write_text(DEFS + partitions)
    row = '{"id": 1, "region": "eu", "Lines": [{"lineNo": 1}]}\n'
    (project / "data" / "a.jsonl").write_text(row + row.replace("1", "null", 1))
    loaded = run(project, *(["--partition", "eu"] if partitions else []))
    assert loaded.returncode == 0, loaded.stderr
    home = {"DAGSTER_HOME": str(project.parent / "home")}
    listed = millstream(project, "quarantine", "list").stdout
    fixed = row.replace("1", "2", 1)
    replay = ["quarantine", "replay", "--id", listed.split()[0], "--row", fixed]
    replayed = millstream(project, *replay, environment=home)
    assert replayed.returncode == 0, replayed.stderr
    said = "observed" if partitions else "materialized"
    assert f"reported to Dagster: 2 assets {said}" in replayed.stderr
    with dg.DagsterInstance.from_config(str(project.parent / "home")) as instance:
        fetch = instance.fetch_observations if partitions else instance.fetch_materializations
        for key in (ORDERS, LINES):
            newest = fetch(key, limit=1).records[0]
            event = newest.asset_observation if partitions else newest.asset_materialization
            assert event is not None
            assert event.metadata["rows_loaded"].value == 1


def test_a_dagster_that_cannot_be_told_costs_no_load(project: Path) -> None:
    done = run(project, DAGSTER_HOME=str(project / "nowhere"))
    assert done.returncode == 0
    assert "warning: Dagster was not told of these loads: " in done.stderr
    assert "Traceback" not in done.stderr
