"""`millstream adopt` as people meet it: what it says, writes and refuses."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import dlt
import duckdb
import pytest

from millstream.cli import main

SCRIPT = """\
import dlt

@dlt.resource(primary_key="id", write_disposition="merge")
def orders(at=dlt.sources.incremental("at", initial_value=0)):
    yield [{"id": n, "at": n, "lines": [{"n": n}]} for n in range(int(dlt.config["rows"]))]

@dlt.resource(write_disposition="replace")
def refunds():
    yield [{"id": 1}]

@dlt.resource(write_disposition="append")
def visits(at=dlt.sources.incremental("at", initial_value=0)):
    yield [{"at": n} for n in range(int(dlt.config["rows"]))]

@dlt.source
def shop():
    return orders, refunds, visits
"""
DAGSTER = """\
import dagster as dg
import dlt
from dagster_dlt import DagsterDltResource, dlt_assets
from shop_script import shop

@dlt_assets(
    dlt_source=shop(),
    dlt_pipeline=dlt.pipeline("shop_script", destination="duckdb", dataset_name="shop_data"),
)
def loads(context: dg.AssetExecutionContext, dlt_resource: DagsterDltResource):
    yield from dlt_resource.run(context=context)

defs = dg.Definitions(assets=[loads], resources={"dlt_resource": DagsterDltResource()})
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a dlt script, and what it has loaded so far in `shop_script.duckdb`."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shop_script.py").write_text(SCRIPT)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in ("shop_script", "loads"):
        sys.modules.pop(name, None)


@pytest.fixture
def load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run the script, with so many orders."""

    def load(rows: int, *resources: str, **options: Any) -> None:
        from importlib import import_module

        monkeypatch.setenv("ROWS", str(rows))
        source = import_module("shop_script").shop()
        pipeline = dlt.pipeline("shop_script", destination="duckdb", dataset_name="shop_data")
        pipeline.run(source.with_resources(*(resources or ("orders", "refunds"))), **options)
        pipeline.deactivate()

    return load


def count(folder: Path, table: str) -> int:
    with duckdb.connect(str(folder / "shop_script.duckdb"), read_only=True) as connection:
        found = connection.execute(f"SELECT count(*) FROM shop_data.{table}").fetchone()
    assert found is not None
    return int(found[0])


ADOPT = ("adopt", "shop_script", "--source", "shop_script:shop")


def test_a_dry_run_writes_nothing(
    folder: Path, load: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    load(3, "orders")
    before = sorted(folder.iterdir())

    assert main([*ADOPT, "--dry-run"]) == 0

    shown = capsys.readouterr()
    assert "orders: orders and 1 more table  3 rows  orders.at = 2" in shown.out
    assert "refunds: dlt has loaded no table of it: it is read from its start" in shown.out
    assert "database: shop_script.duckdb" in shown.err
    assert [each for each in sorted(folder.iterdir()) if "locks" not in each.name] == before


def test_the_pipeline_is_written_and_goes_on(
    folder: Path,
    load: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load(3)
    assert main(list(ADOPT)) == 0
    assert {"defs.yaml", "defs.schema.json", "schema.yaml"} <= {f.name for f in folder.iterdir()}
    monkeypatch.setenv("ROWS", "5")
    assert main(["run"]) == 0
    assert "orders: extract: orders 2" in capsys.readouterr().err  # the hash of the last is known
    assert (count(folder, "orders"), count(folder, "orders__lines")) == (5, 5)
    # a second time there is nothing to do
    assert main(["adopt", "shop_script", "--json"]) == 0
    problems = [each["problem"] for each in json.loads(capsys.readouterr().out)["streams"]]
    assert all("goes on from its own cursor" in problem for problem in problems)
    assert count(folder, "orders") == 5


def test_a_second_pipeline_takes_nothing_over(
    folder: Path, load: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    load(3)
    assert main(list(ADOPT)) == 0
    text = (folder / "defs.yaml").read_text()
    (folder / "other").mkdir()
    file = folder / "other" / "defs.yaml"
    file.write_text(
        text.replace("name: shop_script", "name: other").replace(
            "database: shop_script.duckdb", "database: ../shop_script.duckdb"
        )
    )
    capsys.readouterr()
    assert main(["adopt", "shop_script", str(file)]) == 0
    said = capsys.readouterr().out
    assert "orders: not taken over: the table `orders` is loaded by `shop_script__orders`" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"table_name": "purchases"}, "dlt was told to load it into `purchases`"),
        ({"write_disposition": "append"}, "says `merge`, and dlt was told `append`"),
    ],
)
def test_what_run_was_told_must_be_the_resources(
    folder: Path,
    load: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    options: dict[str, str],
    says: str,
) -> None:
    load(3, "orders", **options)
    assert main(list(ADOPT)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert says in shown
    assert "goes on from where" not in shown


def test_packages_that_dlt_has_not_loaded_are_named(
    folder: Path, load: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    load(3)
    pipeline = dlt.attach("shop_script")
    pipeline.extract([{"id": 1}], table_name="refunds")
    pipeline.deactivate()
    before = sorted(folder.iterdir())
    assert main(list(ADOPT)) == 1
    assert "has packages that it has not loaded" in capsys.readouterr().err
    assert [each for each in sorted(folder.iterdir()) if "locks" not in each.name] == before
    # once they are loaded, the same command adopts
    load(3)
    assert main(list(ADOPT)) == 0
    capsys.readouterr()
    assert main([*ADOPT, "--dry-run"]) == 1
    assert "defs.yaml: already there" in capsys.readouterr().err


def test_a_pipeline_that_is_not_there_is_named(
    folder: Path, load: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    load(3)
    assert main(["adopt", "shop_scrpt", "--source", "shop_script:shop"]) == 1
    assert "there is not on this machine the working folder" in capsys.readouterr().err
    assert main(list(ADOPT)) == 0
    capsys.readouterr()
    assert main(["adopt", "shop_scrpt"]) == 1
    assert "has nothing of a dlt pipeline 'shop_scrpt'" in capsys.readouterr().err


def load_unstored(load: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """By a dlt that leaves its state in its working folder alone."""
    monkeypatch.setenv("RESTORE_FROM_DESTINATION", "false")
    load(3)
    monkeypatch.delenv("RESTORE_FROM_DESTINATION")


def test_state_of_the_working_folder_alone_is_taken(
    folder: Path,
    load: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load_unstored(load, monkeypatch)
    assert main(list(ADOPT)) == 0
    shown = capsys.readouterr().out
    assert "orders.at = 2" in shown
    assert "`--undo` can't move its cursors back" in shown
    monkeypatch.setenv("ROWS", "5")
    assert main(["run", "--stream", "orders"]) == 0
    assert "orders: extract: orders 2" in capsys.readouterr().err


def test_what_dlt_never_loaded_is_handed_back_too(
    folder: Path,
    load: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load(3, "orders")
    assert main(list(ADOPT)) == 0
    monkeypatch.setenv("ROWS", "5")
    assert main(["run", "--stream", "orders", "--stream", "visits"]) == 0
    capsys.readouterr()
    assert main(["adopt", "shop_script", "--undo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["handed_back"] == ["orders", "visits"]
    load(6, "orders", "visits")
    assert (count(folder, "orders"), count(folder, "visits")) == (6, 6)  # from its cursor
    assert main(["adopt", "shop_script"]) == 0
    monkeypatch.setenv("ROWS", "7")
    assert main(["run", "--stream", "visits"]) == 0
    assert count(folder, "visits") == 7


DEFS = """\
type: millstream.Pipeline
attributes:
  name: shop
  source: {type: dlt, path: "shop_script:shop"}
  destination: {type: duckdb, database: NAME.duckdb, dataset: shop_data}
"""


def test_a_folder_whose_tables_are_elsewhere_is_refused(
    folder: Path,
    load: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    load_unstored(load, monkeypatch)
    (folder / "defs.yaml").write_text(DEFS.replace("NAME", "elsewhere"))
    there = set(folder.iterdir())
    assert main(["adopt", "shop_script", "--dry-run"]) == 1
    assert "elsewhere.duckdb: not there, so the dlt pipeline" in capsys.readouterr().err
    assert set(folder.iterdir()) == there
    duckdb.connect(str(folder / "elsewhere.duckdb")).close()
    assert main(["adopt", "shop_script"]) == 1
    refusal = capsys.readouterr().err
    assert "'shop_data' has none of the tables that" in refusal
    assert "where there is no defs.yaml yet, write one" in refusal
    assert not (folder / "schema.yaml").exists()
    (folder / "defs.yaml").write_text(DEFS.replace("NAME", "shop_script"))
    assert main(["adopt", "shop_script"]) == 0


def test_a_destination_has_a_name_of_its_own(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from importlib import import_module

    monkeypatch.setenv("ROWS", "3")
    warehouse = dlt.destinations.duckdb("shop_script.duckdb", destination_name="warehouse")
    pipeline = dlt.pipeline("shop_script", destination=warehouse, dataset_name="shop_data")
    pipeline.run(import_module("shop_script").shop())
    pipeline.extract([{"id": 1}], table_name="refunds")
    pipeline.deactivate()
    (folder / "defs.yaml").write_text(DEFS.replace("NAME", "shop_script"))
    # its working folder is looked at: the package that waits there is seen
    assert main(["adopt", "shop_script"]) == 1
    assert "has packages that it has not loaded" in capsys.readouterr().err


@pytest.mark.nightly
def test_a_project_of_dagster_dlt_keeps_its_keys(
    folder: Path, load: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import import_module

    if importlib.util.find_spec("dagster_dlt") is None:
        pytest.skip("dagster-dlt is not installed: CONTRIBUTING.md")
    (folder / "loads.py").write_text(DAGSTER)
    (folder / "pyproject.toml").write_text('[tool.dg.project]\nroot_module = "warehouse"\n')
    (folder / "warehouse" / "defs").mkdir(parents=True)
    monkeypatch.setenv("ROWS", "3")
    old: dg.Definitions = import_module("loads").defs
    assert old.resolve_implicit_global_asset_job_def().execute_in_process().success

    assert main([*ADOPT, "--dagster-dlt-keys"]) == 0

    file = folder / "warehouse" / "defs" / "shop_script" / "defs.yaml"
    assert file.is_file()
    new = dg.load_from_defs_folder(path_within_project=folder)
    keys = new.resolve_asset_graph().get_all_asset_keys()
    theirs = {key for key in old.resolve_asset_graph().get_all_asset_keys() if len(key.path) == 1}
    assert {key.to_user_string() for key in theirs} >= {"dlt_shop_orders", "dlt_shop_refunds"}
    assert {dg.AssetKey("dlt_shop_orders"), dg.AssetKey("dlt_shop_refunds")} <= keys
    monkeypatch.setenv("ROWS", "5")
    assert new.resolve_job_def("shop_script").execute_in_process().success
    assert count(folder, "orders") == 5
