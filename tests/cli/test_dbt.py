"""`millstream dbt`: dbt itself builds on what is written, and finds what is wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from millstream.cli import main
from services import environments
from services.places import Place

PACKAGES = ["dbt-core==1.10.23", "dbt-duckdb==1.11.1", "dbt-postgres==1.11.0", "duckdb==2.0.0"]
DAGSTER_DBT = ["dagster-dbt==0.29.27", "dagster==1.13.27", *PACKAGES[:2]]
ROOT = Path(__file__).parents[2]
DEFINITIONS = """
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets

import millstream
from millstream.config import read_pipeline

project = DbtProject(project_dir=Path("warehouse"))
project.preparer.prepare(project)


@dbt_assets(manifest=project.manifest_path)
def models(context: dg.AssetExecutionContext, dbt: DbtCliResource):
    yield from dbt.cli(["build"], context=context).stream()


assets = [*millstream.step_assets(read_pipeline(Path())), models]
resources = {"dbt": DbtCliResource(project_dir=project)}
graph = dg.Definitions(assets=assets, resources=resources).resolve_asset_graph()
for key in graph.get_all_asset_keys():
    for above in graph.get(key).parent_keys:
        print("edge", above.to_user_string(), key.to_user_string())
done = dg.materialize(assets, resources=resources)
for event in done.get_asset_materialization_events():
    print("made", event.asset_key.to_user_string())
"""
LINES = [
    {"id": 1, "user": {"name": "Ann"}, "items": [{"sku": "pen"}, {"sku": "ink"}], "order": 7},
    {"id": 2, "user": {"name": "Bob"}, "items": [], "order": 8},
]


@dataclass
class DbtProject:
    """A Millstream project with files, and a dbt project below it."""

    folder: Path
    place: Place

    @property
    def sources(self) -> Path:
        return self.folder / "warehouse" / "models" / "shop_sources.yml"

    def load(self, lines: Sequence[object]) -> None:
        (self.folder / "orders.jsonl").write_text("\n".join(map(json.dumps, lines)))
        assert main(["run", str(self.folder)]) == 0

    def write(self, *options: str) -> int:
        warehouse = self.folder / "warehouse"
        return main(["dbt", str(self.folder), "--project", str(warehouse), *options])

    def dbt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        python = environments.python_with("dbt-1.10.23", PACKAGES)
        return subprocess.run(
            [python.with_name("dbt"), *arguments, "--profiles-dir", "."],
            cwd=self.folder / "warehouse",
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": str(python.parent), "DO_NOT_TRACK": "1", "HOME": str(self.folder)},
        )


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path) -> DbtProject:
    kind = getattr(request, "param", "duckdb")
    place: Place = request.getfixturevalue(f"{kind}_place")
    folder = place.project
    warehouse = folder / "warehouse"
    (warehouse / "models").mkdir(parents=True)
    destination = dict(place.destination)
    output: dict[str, object] = {"type": "duckdb", "schema": "models"}
    if kind == "duckdb":
        destination["database"] = output["path"] = str(place.extra["file"])
    else:
        address = urlsplit(place.extra["server"].url(place.extra["database"]))
        output |= {
            "type": "postgres",
            "host": address.hostname,
            "port": address.port,
            "user": address.username,
            "password": unquote(address.password or ""),
            "dbname": place.extra["database"],
        }
    streams = {"orders": {"path": str(folder / "orders.jsonl"), "primary_key": "id"}}
    attributes = {
        "name": "shop",
        "source": {"type": "files", "streams": streams},
        "destination": destination,
    }
    (folder / "defs.yaml").write_text(
        json.dumps({"type": "millstream.Pipeline", "attributes": attributes})
    )
    (warehouse / "dbt_project.yml").write_text(
        json.dumps({"name": "warehouse", "profile": "test", "version": "1.0"})
    )
    (warehouse / "profiles.yml").write_text(
        json.dumps({"test": {"target": "dev", "outputs": {"dev": output}}})
    )
    return DbtProject(folder, place)


def test_dbt_builds_on_the_tables_and_notices_orphans(project: DbtProject) -> None:
    project.load(LINES)
    assert project.write("--staging", "--nested") == 0
    built = project.dbt("build")
    assert built.returncode == 0, built.stdout
    assert "Deprecat" not in built.stdout
    # three models; the key and the id of a row, the id of an item and its parent's
    assert "PASS=11" in built.stdout, built.stdout
    fresh = project.dbt("source", "freshness")
    assert fresh.returncode == 0, fresh.stdout
    assert "1 of 1 PASS freshness" in fresh.stdout

    import duckdb

    with duckdb.connect(str(project.place.extra["file"])) as connection:
        models = connection.sql(
            'SELECT o.id, o."order", i.sku FROM models.stg_shop__orders o '
            "JOIN models.stg_shop__orders__items i ON i._dlt_parent_id = o._dlt_id ORDER BY ALL"
        ).fetchall()
        assert models == [(1, 7, "ink"), (1, 7, "pen")]
        nested = connection.sql("SELECT id, items FROM models.nested_shop__orders ORDER BY id")
        assert nested.fetchall() == [(1, [{"sku": "pen"}, {"sku": "ink"}]), (2, [])]
        connection.sql("DELETE FROM shop.orders WHERE id = 1")
    broken = project.dbt("test")
    assert broken.returncode == 1
    assert "relationships" in broken.stdout


@pytest.mark.nightly
def test_dagster_dbt_joins_the_lineage(project: DbtProject) -> None:
    """From a child table's asset to the models below it, in one run, in that order."""
    project.load(LINES)
    assert project.write("--staging", "--nested") == 0
    python = environments.python_with(
        "dagster-dbt-0.29.27", [*DAGSTER_DBT, "-e", f"{ROOT}[dagster,dbt]"]
    )
    done = subprocess.run(
        [python, "-c", DEFINITIONS],
        cwd=project.folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": str(python.parent), "DO_NOT_TRACK": "1", "HOME": str(project.folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line.split() for line in done.stdout.splitlines()]
    assert {tuple(line[1:]) for line in said if line[:1] == ["edge"]} == {
        ("shop/orders", "shop/orders__items"),
        ("shop/orders", "stg_shop__orders"),
        ("shop/orders__items", "stg_shop__orders__items"),
        ("shop/orders", "nested_shop__orders"),
        ("shop/orders__items", "nested_shop__orders"),
    }
    made = [line[1] for line in said if line[:1] == ["made"]]
    assert sorted(made[:2]) == ["shop/orders", "shop/orders__items"]
    assert sorted(made[2:]) == [
        "nested_shop__orders",
        "stg_shop__orders",
        "stg_shop__orders__items",
    ]


@pytest.mark.nightly
@pytest.mark.parametrize("project", ["duckdb", "postgres"], indirect=True)
def test_names_of_lists_collide_with_nothing(project: DbtProject) -> None:
    documents = [
        {"id": 1, "tags": 5, "rows": [{"item": 1, "more": [2], "value": 3, "position": "p"}]},
        {"id": 2, "tags": ["x"], "rows": []},
    ]
    project.load(documents)
    assert project.write("--nested") == 0
    built = project.dbt("build")
    assert built.returncode == 0, built.stdout
    clause = project.place.from_clause("nested_shop__orders").replace("shop.", "models.", 1)
    found = project.place.query(f"SELECT id, tags, tags_list, rows FROM {clause} ORDER BY id")
    assert [tuple(row) for row in found] == [
        (1, 5, [], [{"item": 1, "more": [2], "value": 3, "position": "p"}]),
        (2, None, ["x"], []),
    ]


@pytest.mark.nightly
@pytest.mark.parametrize("project", ["duckdb", "postgres"], indirect=True)
def test_children_are_put_back_as_lists(project: DbtProject) -> None:
    documents = [
        {"id": 1, "tags": ["x", "y"], "items": [{"sku": "b", "sizes": [2, 1]}, {"sku": "a"}]},
        {"id": 2, "tags": [], "items": [{"sku": None, "sizes": []}]},
        {"id": 3},
    ]
    project.load(documents)
    assert project.write("--nested") == 0
    built = project.dbt("build")
    assert built.returncode == 0, built.stdout
    clause = project.place.from_clause("x").replace("shop.", "models.").replace("x", "{0}")
    found = project.place.query(
        f"SELECT id, tags, items FROM {clause.format('nested_shop__orders')} ORDER BY id"
    )
    assert [tuple(row) for row in found] == [
        (1, ["x", "y"], [{"sku": "b", "sizes": [2, 1]}, {"sku": "a", "sizes": []}]),
        (2, [], [{"sku": None, "sizes": []}]),
        (3, [], []),
    ]


def test_what_people_wrote_stays(project: DbtProject) -> None:
    project.load(LINES)
    assert project.write("--staging") == 0
    mine = project.sources.read_text()
    mine = mine.replace("      - name: orders\n", "      # ours\n      - name: orders\n", 1)
    description = yaml.safe_load(mine)["sources"][0]["tables"][1]["description"]
    mine = mine.replace(f"description: {description}", "description: Orders of the shop.")
    assert "          - unique" in mine
    mine = mine.replace("          - unique", "          # not ours: unique")
    model = project.sources.parent / "staging" / "shop" / "stg_shop__orders.sql"
    model.write_text("select 1")
    project.sources.write_text(mine)

    project.load([*LINES, {"id": 3, "note": "new", "tags": [{"t": 1}]}])
    assert project.write("--staging") == 0
    found = project.sources.read_text()
    assert "# ours" in found
    assert "- unique" not in found.partition("orders__tags")[0]
    tables = {each["name"]: each for each in yaml.safe_load(found)["sources"][0]["tables"]}
    assert tables["orders"]["description"] == "Orders of the shop."
    assert "note" in {column["name"] for column in tables["orders"]["columns"]}
    assert tables["orders__tags"]["meta"]["dagster"]["asset_key"] == ["shop", "orders__tags"]
    assert model.read_text() == "select 1"
    assert model.with_name("stg_shop__orders__tags.sql").is_file()
    before = project.sources.read_bytes()
    assert project.write() == 0
    assert project.sources.read_bytes() == before


def test_names_that_yaml_reads_as_something_else(project: DbtProject) -> None:
    """dbt reads YAML 1.1, where `no` and `on` are bools."""
    project.load([{"id": 1, "no": 5, "on": True, "off": [{"yes": 1}]}])
    assert project.write() == 0
    text = project.sources.read_text()
    names = {
        column["name"]
        for table in yaml.safe_load(text)["sources"][0]["tables"]
        for column in table.get("columns", ())
    }
    assert {"no", "on", "yes"} <= names
    assert False not in names

    # as it was written before
    project.sources.write_text(text.replace('"no"', "no # ours"))
    assert project.write() == 0
    assert project.sources.read_text() == text.replace('"no"', '"no" # ours')


def test_what_no_longer_holds_is_told(
    project: DbtProject, capsys: pytest.CaptureFixture[str]
) -> None:
    defs = project.folder / "defs.yaml"
    defs.write_text(defs.read_text().replace("orders.jsonl", "orders*.jsonl"))
    project.load(LINES)
    assert project.write("--nested") == 0
    assert "orders.id" not in capsys.readouterr().out
    defs.write_text(defs.read_text().replace(', "primary_key": "id"', ""))
    (project.folder / "orders_2.jsonl").write_text('{"id": 2, "sizes": [1]}\n')
    assert main(["run", str(project.folder)]) == 1
    assert main(["schema", "accept", str(project.folder)]) == 0
    assert main(["run", str(project.folder)]) == 0

    capsys.readouterr()
    assert project.write("--nested") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "orders.id: tested to be unique, and not the primary key" in said
    # nested models are not looked at by people: what has come since is missed in silence
    assert "nested_shop__orders.sql is not what would be written by now" in said
    model = project.sources.parent / "nested" / "shop" / "nested_shop__orders.sql"
    model.unlink()
    assert project.write("--nested") == 0
    assert "would be written by now" not in " ".join(capsys.readouterr().out.split())


def test_mistakes_are_named(project: DbtProject, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.write() == 1
    assert "no tables are accepted yet" in capsys.readouterr().err
    project.load(LINES)
    assert main(["dbt", str(project.folder), "--project", str(project.folder)]) == 1
    assert "no dbt_project.yml" in capsys.readouterr().err
    project.sources.write_text("sources: [")
    assert project.write() == 1
    assert "shop_sources.yml: not YAML" in capsys.readouterr().err
    project.sources.write_text("sources: {name: shop}")
    assert project.write() == 1
    assert "shop_sources.yml: not a file of dbt's: `sources` is not a list" in (
        capsys.readouterr().err
    )
    project.sources.write_bytes(b"\xff\xfe")
    assert project.write() == 1
    assert "shop_sources.yml: not in UTF-8" in capsys.readouterr().err


def test_a_list_that_was_left_empty_is_filled(project: DbtProject) -> None:
    project.load(LINES)
    for empty in ("sources:\n", "sources:\n  - name: shop\n    tables:\n"):
        project.sources.write_text(empty)
        assert project.write() == 0
        tables = yaml.safe_load(project.sources.read_text())["sources"][0]["tables"]
        assert [each["name"] for each in tables] == ["_dlt_loads", "orders", "orders__items"]
