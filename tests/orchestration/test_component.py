from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

import millstream
from millstream.config import read_pipeline
from millstream.errors import ConfigError
from millstream.orchestration.component import PipelineAttributes

from .conftest import key, loaded

SHOP = {
    "name": "shop",
    "source": {"type": "dlt", "path": "orchestration.shop:shop", "streams": ["orders"]},
}


@pytest.fixture
def sandbox():
    """A Dagster project in a temporary folder."""
    with create_defs_folder_sandbox() as made:
        (made.project_root / "pyproject.toml").touch()
        yield made


def load(sandbox, attributes):
    """The definitions of a `defs.yaml` with these attributes, and the component."""
    path = sandbox.scaffold_component(
        component_cls=millstream.Pipeline,
        defs_yaml_contents={"type": "millstream.Pipeline", "attributes": attributes},
        defs_path="shop",
    )
    with sandbox.load_component_and_build_defs(defs_path=path) as (component, defs):
        return component, defs


def test_defs_yaml_becomes_assets_a_job_and_a_schedule(sandbox):
    component, defs = load(sandbox, {**SHOP, "schedule": "0 6 * * *"})

    assert isinstance(component, millstream.Pipeline)
    assert {spec.key for spec in defs.resolve_all_asset_specs()} == {key("orders")}
    assert defs.resolve_schedule_def("shop_schedule").job_name == "shop"
    result = defs.resolve_job_def("shop").execute_in_process()
    assert loaded(result).keys() == {"orders", "orders__items", "orders__items__tags"}


def test_the_file_is_read_as_millstream_run_reads_it(sandbox):
    attributes = {**SHOP, "group": "sales", "destination": {"type": "duckdb", "database": "a.db"}}

    component, _ = load(sandbox, attributes)

    assert component.config == read_pipeline(sandbox.defs_folder_path / "shop" / "defs.yaml")
    assert component.config.project == sandbox.project_root.resolve()
    assert component.config.folder == sandbox.defs_folder_path / "shop"


def test_a_date_in_a_filter_is_one_for_dagster_too(sandbox):
    path = sandbox.scaffold_component(
        component_cls=millstream.Pipeline,
        defs_yaml_contents={"type": "millstream.Pipeline", "attributes": SHOP},
        defs_path="shop",
    )
    file = path / "defs.yaml"
    file.write_text(
        """
        type: millstream.Pipeline
        attributes:
          name: shop
          source:
            type: mongodb
            databases: [shop]
            collections: [a, b]
            settings:
              a: {filter: {at: {$gte: 2024-01-04}, of: {$date: 2024-01-04}}}
              b: {filter: {at: {$gte: "2024-01-04"}}, cursor: at}
        """
    )

    with sandbox.load_component_and_build_defs(defs_path=path) as (component, _):
        settings = component.config.source.settings

    assert component.config == read_pipeline(file)
    day = {"$date": "2024-01-04T00:00:00.000Z"}
    assert settings["a"].filter == {"at": {"$gte": day}, "of": day}
    assert settings["b"].filter == {"at": {"$gte": "2024-01-04"}}


def test_a_key_twice_is_named(sandbox):
    path = sandbox.scaffold_component(
        component_cls=millstream.Pipeline,
        defs_yaml_contents={"type": "millstream.Pipeline", "attributes": SHOP},
        defs_path="shop",
    )
    file = path / "defs.yaml"
    file.write_text(file.read_text().replace("  name: shop", "  name: shop\n  name: shop2"))

    with (
        pytest.raises(Exception) as caught,
        sandbox.load_component_and_build_defs(defs_path=path),
    ):
        pass

    error = caught.value
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__ or error.__context__
    assert "defs.yaml:" in error.message
    assert "duplicate key `name`" in error.message


def test_templates_are_filled_in(sandbox, monkeypatch):
    monkeypatch.setenv("TEAM", "team:sales")

    component, _ = load(sandbox, {**SHOP, "owners": ["{{ env.TEAM }}"]})

    assert component.config.owners == ("team:sales",)


def test_dagsters_own_post_processing_applies(sandbox):
    path = sandbox.scaffold_component(
        component_cls=millstream.Pipeline,
        defs_yaml_contents={
            "type": "millstream.Pipeline",
            "attributes": SHOP,
            "post_processing": {"assets": [{"target": "*", "attributes": {"tags": {"a": "b"}}}]},
        },
        defs_path="shop",
    )

    with sandbox.load_component_and_build_defs(defs_path=path) as (_, defs):
        (spec,) = defs.resolve_all_asset_specs()
        assert spec.tags["a"] == "b"
        assert loaded(defs.resolve_job_def("shop").execute_in_process())["orders"]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({**SHOP, "shedule": "0 6 * * *"}, "shedule: there is no such attribute"),
        ({"source": SHOP["source"]}, "name: is missing"),
        ({**SHOP, "source": {"type": "github"}}, "name at least one of `repositories`"),
        ({}, "name: is missing"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong_in_it(sandbox, attributes, said):
    with pytest.raises(Exception) as caught:
        load(sandbox, attributes)

    errors = []
    error = caught.value
    while error is not None:
        errors.append(error)
        error = error.__cause__
    (ours,) = [error for error in errors if isinstance(error, ConfigError)]
    assert "defs.yaml: " in str(ours)
    assert said in str(ours)


def test_the_schema_is_the_models_and_leaves_room_for_templates():
    jsonschema = pytest.importorskip("jsonschema")
    schema = PipelineAttributes.model_json_schema()

    def complaints(attributes):
        return [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(attributes)]

    assert complaints(SHOP) == []
    assert complaints({**SHOP, "owners": "{{ env.OWNERS }}"}) == []
    # what may be written shorter is no mistake to `dg check` either
    rule = {"action": "hold", "change": "risky"}
    file = {"path": "*.jsonl", "primary_key": "id"}
    assert complaints({**SHOP, "schema_policy": "strict"}) == []
    assert complaints({**SHOP, "schema_policy": {"rules": [rule]}}) == []
    assert complaints({**SHOP, "source": {"type": "files", "streams": {"a": file}}}) == []
    assert complaints({**SHOP, "schema_policy": "strickt"})
    assert complaints({**SHOP, "owners": 3})
    assert complaints({**SHOP, "owners": "ann"})
    # of several kinds of sources only the one that was meant complains
    assert complaints({**SHOP, "source": {"type": "dlt"}}) == ["'path' is a required property"]
    assert complaints({**SHOP, "source": {"type": "gitub"}})
    assert "folder" not in schema["properties"]
    assert "project" not in schema["properties"]
    assert json.dumps(schema)


PYPROJECT = """
[project]
name = "trial"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "trial"
"""
DEFINITIONS = """
from pathlib import Path
import dagster as dg

@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project as `dg` wants it."""
    folder = tmp_path / "trial"
    (folder / "src" / "trial" / "defs").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "src" / "trial" / "__init__.py").touch()
    (folder / "src" / "trial" / "defs" / "__init__.py").touch()
    (folder / "src" / "trial" / "definitions.py").write_text(DEFINITIONS)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder / "src"))
    return folder


def dg_command(*arguments):
    command = Path(sys.executable).with_name("dg")
    if not command.exists():
        from services import missing

        missing("the command dg (dagster-dg-cli) is not installed")
    done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.nightly
def test_dg_lists_the_component_and_finds_wrong_attributes(project):
    code, output = dg_command("list", "components", "--json")
    assert code == 0, output
    assert "millstream.Pipeline" in output

    path = project / "src/trial/defs/wrong/defs.yaml"
    path.parent.mkdir()
    path.write_text(
        "type: millstream.Pipeline\nattributes:\n  name: wrong\n"
        "  source: {type: github, repositories: [3]}\n"
    )
    code, output = dg_command("check", "yaml")
    assert code != 0
    assert "source.repositories" in output


def test_dg_scaffolds_a_file_that_loads_as_it_is(project):
    code, output = dg_command("scaffold", "defs", "millstream.Pipeline", "my_pipeline")
    assert code == 0, output
    path = project / "src/trial/defs/my_pipeline/defs.yaml"
    config = read_pipeline(path)
    assert config.name == "my_pipeline"
    assert config.source.type == "github"
    assert config.destination.type == "duckdb"

    code, output = dg_command("check", "defs")  # checks the YAML against the schema, too
    assert code == 0, output


@pytest.mark.parametrize("scaffold_format", ["yaml", "python"])
def test_a_scaffolded_dlt_source_loads_and_runs(tmp_path, monkeypatch, scaffold_format):
    from dagster.components import ScaffoldRequest

    from millstream.orchestration.scaffolder import PipelineParams, PipelineScaffolder

    package = f"scaffolded_{scaffold_format}"
    folder = tmp_path / "src" / package / "defs" / "rows"
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace("trial", package))
    monkeypatch.syspath_prepend(str(tmp_path / "src"))

    PipelineScaffolder().scaffold(
        ScaffoldRequest(
            "millstream.Pipeline",
            folder,
            scaffold_format,
            tmp_path,
            PipelineParams(source="dlt", destination="duckdb"),
        )
    )

    defs = dg.load_from_defs_folder(path_within_project=folder)
    found = loaded(defs.resolve_job_def("rows").execute_in_process())
    assert {name: metadata["rows_loaded"] for name, metadata in found.items()} == {
        "orders": 3,
        "orders__items": 3,
    }
    assert (folder / "schema.yaml").is_file()


@pytest.mark.parametrize("source", ["github", "mongodb", "sql_database", "files", "dlt"])
def test_each_source_is_scaffolded_as_it_is_read(tmp_path, source):
    from dagster.components import ScaffoldRequest

    from millstream.orchestration.scaffolder import PipelineParams, PipelineScaffolder

    folder = tmp_path / "orders"
    folder.mkdir()
    request = ScaffoldRequest(
        "millstream.Pipeline", folder, "yaml", tmp_path, PipelineParams(source=source)
    )
    PipelineScaffolder().scaffold(request)
    assert read_pipeline(folder / "defs.yaml").source.type == source


def test_a_second_pipeline_is_appended_to_a_file(tmp_path):
    from dagster.components import ScaffoldRequest

    from millstream.orchestration.scaffolder import PipelineParams, PipelineScaffolder

    path = tmp_path / "Two Pipes" / "defs.yaml"
    path.parent.mkdir()
    for target, append in ((path.parent, False), (path, True)):
        PipelineScaffolder().scaffold(
            ScaffoldRequest(
                "millstream.Pipeline",
                target,
                "yaml",
                tmp_path,
                PipelineParams(destination="postgres"),
                append,
            )
        )

    documents = list(yaml.safe_load_all(path.read_text()))
    assert [d["attributes"]["name"] for d in documents] == ["two_pipes", "two_pipes_2"]


def test_a_folder_that_python_cannot_import_from_is_refused(tmp_path):
    from dagster.components import ScaffoldRequest

    from millstream.orchestration.scaffolder import PipelineParams, PipelineScaffolder

    folder = tmp_path / "my-rows"
    folder.mkdir()
    request = ScaffoldRequest(
        "millstream.Pipeline", folder, "yaml", tmp_path, PipelineParams(source="dlt")
    )

    with pytest.raises(ConfigError, match="Python can't import") as caught:
        PipelineScaffolder().scaffold(request)
    assert caught.value.hint == "name the folder 'my_rows'"
    assert list(folder.iterdir()) == []


def test_the_source_is_an_asset_upstream_where_that_is_wanted(sandbox):
    _, defs = load(sandbox, {**SHOP, "source_asset": True})
    specs = {spec.key: spec for spec in defs.resolve_all_asset_specs()}
    source = dg.AssetKey(["sources", "shop"])
    assert specs.keys() == {source, key("orders")}
    assert [dep.asset_key for dep in specs[key("orders")].deps] == [source]
    assert "The dlt source `" in specs[source].description
    result = defs.resolve_job_def("shop").execute_in_process()
    assert result.success
    assert source.path[-1] not in loaded(result)
