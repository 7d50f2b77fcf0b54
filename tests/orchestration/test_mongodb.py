"""MongoDB's collections as assets: known from a file, loaded from a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
import yaml

import millstream
from millstream.cli import main
from millstream.config import parse_pipeline, read_pipeline
from services import free_port, missing
from services.mongod import Mongod

pytestmark = pytest.mark.xdist_group("mongodb")

PYPROJECT = """
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{name}"
"""


@pytest.fixture
def databases(mongodb_server: Mongod, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Two databases with a collection that both have, and one that holds a list of lists."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server.url())
    with mongodb_server.client() as client:
        made = [client[f"test_{uuid4().hex[:8]}"] for _ in range(2)]
        for database in made:
            database.orders.insert_many(
                [{"_id": n, "items": [{"sku": "a", "sizes": [1, 2]}]} for n in range(3)]
            )
        made[0].userProfiles.insert_one({"_id": 1, "address": {"phones": ["1", "2"]}})
        yield made
        for database in made:
            client.drop_database(database)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, databases: list[Any]) -> Path:
    """A project as `dg` wants it, with a pipeline of both databases; nothing is discovered yet."""
    name = f"trial_{tmp_path.name}"  # Python keeps what it has imported under a name
    folder = tmp_path / "src" / name / "defs" / "shop"
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.format(name=name))
    for package in (folder.parents[1], folder.parent):
        (package / "__init__.py").touch()
    source = {"type": "mongodb", "databases": [database.name for database in databases]}
    attributes = {"name": "shop", "source": source, "schema_policy": "anything"}
    (folder / "defs.yaml").write_text(
        yaml.safe_dump({"type": "millstream.Pipeline", "attributes": attributes})
    )
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    return tmp_path


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`millstream ...`, as typed."""

    def run(*arguments: str) -> Done:
        capsys.readouterr()
        return Done(main(arguments), *capsys.readouterr())

    return run


def definitions(project: Path) -> dg.Definitions:
    (defs,) = project.glob("src/*/defs/shop")
    return dg.load_from_defs_folder(path_within_project=defs)


def keys(defs: dg.Definitions) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    """The assets, each with those that it depends on."""
    return {
        tuple(spec.key.path): {tuple(dep.asset_key.path) for dep in spec.deps}
        for spec in defs.resolve_all_asset_specs()
    }


def expected(one: str, two: str) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    found: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for database in (one, two):
        place = ("shop", database)
        found[(*place, "orders")] = set()
        found[(*place, "orders__items")] = {(*place, "orders")}
        found[(*place, "orders__items__sizes")] = {(*place, "orders__items")}
    found["shop", one, "userProfiles"] = set()
    found["shop", one, "userProfiles__address__phones"] = {("shop", one, "userProfiles")}
    return found


@contextmanager
def no_server() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONGODB_URI", f"mongodb://127.0.0.1:{free_port()}/")
        yield


def test_discovered_once_loaded_as_assets(
    project: Path, databases: list[Any], call: Callable[..., Done]
) -> None:
    one, two = (database.name for database in databases)
    with pytest.warns(UserWarning, match="millstream discover"):
        assert keys(definitions(project)) == {}

    done = call("discover", str(project), "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["new"] == [f"{one}.orders", f"{one}.userProfiles", f"{two}.orders"]
    assert Path(document["file"]).read_text().startswith("# Written by `millstream discover`")

    with no_server():
        defs = definitions(project)
    assert keys(defs) == expected(one, two)
    groups = {spec.key.path[1]: spec.group_name for spec in defs.resolve_all_asset_specs()}
    assert groups == {one: one, two: two}

    result = defs.resolve_job_def("shop").execute_in_process()

    found = {
        tuple(event.asset_key.path): event.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    assert found.keys() == expected(one, two).keys()  # what the sample promised is what came
    names = {tuple(spec.key.path): spec.metadata for spec in defs.resolve_all_asset_specs()}
    for key, metadata in found.items():
        assert metadata["dagster/table_name"].value == names[key]["dagster/table_name"], key
        assert metadata["rows_loaded"].value in (1, 2, 3, 6)
    assert keys(definitions(project)) == expected(one, two)  # from the accepted schema now


def test_the_command_tells_what_came_and_went(
    project: Path, databases: list[Any], call: Callable[..., Done]
) -> None:
    one, two = (database.name for database in databases)
    assert call("discover", str(project)).code == 0
    databases[0].drop_collection("userProfiles")
    databases[1].late.insert_one({"tags": ["a"]})

    done = call("discover", str(project))

    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert lines[f"{two}.late"].endswith("2 tables  new")
    assert lines[f"{one}.userProfiles"].endswith("gone")
    assert lines[f"{one}.orders"].endswith(f"MongoDB collection {one}.orders, 3 tables")


def test_the_command_says_what_is_wrong(
    project: Path, tmp_path: Path, call: Callable[..., Done]
) -> None:
    with no_server(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "millstream.sources.mongodb.connection.DEFAULTS", {"serverSelectionTimeoutMS": 200}
        )
        done = call("discover", str(project))
    assert done.code == 1
    assert "can't be reached" in done.err
    assert not list(project.rglob("collections.yaml"))
    other = tmp_path / "github" / "defs.yaml"
    other.parent.mkdir()
    other.write_text(
        "type: millstream.Pipeline\nattributes:\n  name: github\n"
        "  source: {type: github, repositories: [a/b]}\n"
    )
    done = call("discover", str(other))
    assert done.code == 1
    assert "github has nothing to discover" in done.err


def test_dagsters_own_command_refreshes_it(project: Path, databases: list[Any]) -> None:
    command = Path(sys.executable).with_name("dg")
    if not command.exists():
        missing("the command dg (dagster-dg-cli) is not installed")

    done = subprocess.run(
        [command, "utils", "refresh-defs-state"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(project / "src")},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert keys(definitions(project)) == expected(*(database.name for database in databases))
    assert read_pipeline(project).name == "shop"


def test_each_database_and_each_collection_has_a_job(
    project: Path, databases: list[Any], call: Callable[..., Done]
) -> None:
    one, two = (database.name for database in databases)
    call("discover", str(project))
    defs = definitions(project)
    repository = defs.get_repository_def()

    def selected(job: str) -> set[tuple[str, ...]]:
        keys = repository.get_job(job).asset_layer.selected_asset_keys
        return {tuple(key.path[1:]) for key in keys}

    everything = {key[1:] for key in expected(one, two)}
    assert {name for name in repository.job_names if not name.startswith("__")} == {
        "shop",
        f"shop__{one}",
        f"shop__{two}",
        f"shop__{one}__orders",
        f"shop__{one}__userProfiles",
        f"shop__{two}__orders",
    }
    assert selected("shop") == everything
    assert selected(f"shop__{one}") == {key for key in everything if key[0] == one}
    users = {(one, "userProfiles"), (one, "userProfiles__address__phones")}
    assert selected(f"shop__{one}__userProfiles") == users

    result = defs.resolve_job_def(f"shop__{one}__userProfiles").execute_in_process()

    loaded = {tuple(e.asset_key.path[1:]) for e in result.get_asset_materialization_events()}
    assert loaded == users


COLLECTIONS = 6


@pytest.fixture
def many(mongodb_server: Mongod, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A database of collections that all differ, one view that can't be read among them."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server.url())
    with mongodb_server.client() as client:
        database = client[f"test_{uuid4().hex[:8]}"]
        for number in range(COLLECTIONS):
            database[f"part_{number}"].insert_many(
                {
                    "_id": n,
                    f"own_{number}": f"{number}-{n}",
                    "ratio": 1 / (n + 1) if n % 3 else None,
                    "tags": [{"name": f"t{tag}", "of": [number, n]} for tag in range(n % 4)],
                }
                for n in range(300 + 40 * number)
            )
        broken = [{"$addFields": {"x": {"$divide": [1, 0]}}}]
        database.command("create", "broken", viewOn="part_0", pipeline=broken)
        yield database
        client.drop_database(database.name)


def contents(file: Path, dataset: str) -> dict[str, list[tuple[Any, ...]]]:
    """What the tables hold; of child tables with the `_id` of the document that it came from."""
    import duckdb

    found = {}
    with duckdb.connect(str(file)) as connection:
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = ?", [dataset]
            ).fetchall()
        ]
        for table in sorted(tables):
            if table.startswith("_"):
                continue
            columns = [
                row[0]
                for row in connection.execute(
                    "SELECT column_name FROM information_schema.columns "
                    "WHERE table_schema = ? AND table_name = ? AND column_name NOT LIKE '\\_dlt%' "
                    "ESCAPE '\\' ORDER BY 1",
                    [dataset, table],
                ).fetchall()
            ]
            source, at, own = f'"{dataset}"."{table}" AS t0', "t0", "t0"
            depth = table.count("__")
            for level in range(1, depth + 1):
                parent = "__".join(table.split("__")[: depth + 1 - level])
                source += (
                    f' JOIN "{dataset}"."{parent}" AS t{level} '
                    f"ON {at}._dlt_parent_id = t{level}._dlt_id"
                )
                at = f"t{level}"
            shown = ", ".join(f'{own}."{column}"' for column in columns)
            index = ", t0._dlt_list_idx" if depth else ""
            found[table] = connection.execute(
                f"SELECT {at}._id, {shown}{index} FROM {source} ORDER BY ALL"
            ).fetchall()
    return found


def load_all(
    folder: Path, database: Any, abreast: int
) -> tuple[Any, dict[str, list[tuple[Any, ...]]]]:
    folder.mkdir()
    config = parse_pipeline(
        {
            "name": "shop",
            "source": {
                "type": "mongodb",
                "databases": [database.name],
                "collections": [f"part_{n}" for n in range(COLLECTIONS)] + ["broken"],
            },
            "max_concurrent_streams": abreast,
            "steps": "pipeline",
        },
        where="a test",
        project=folder,
        folder=folder,
    )
    result = dg.materialize(millstream.step_assets(config), raise_on_error=False)
    return result, contents(folder / "shop_db.duckdb", "shop")


@pytest.mark.nightly
def test_streams_abreast_load_what_they_load_one_by_one(many: Any, tmp_path: Path) -> None:
    _, one_by_one = load_all(tmp_path / "one", many, 1)
    result, abreast = load_all(tmp_path / "all", many, COLLECTIONS + 1)

    assert len(one_by_one) == 3 * COLLECTIONS
    assert all(one_by_one.values())
    assert abreast == one_by_one
    loaded = {event.asset_key.path[-1] for event in result.get_asset_materialization_events()}
    assert loaded == abreast.keys()
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    said = failure.step_failure_data.user_failure_data
    assert said.description.startswith(f"1 of {COLLECTIONS + 1} streams of 'shop' failed: broken\n")
    accepted = (tmp_path / "all" / "schema.yaml").read_text()
    assert accepted == (tmp_path / "one" / "schema.yaml").read_text()
