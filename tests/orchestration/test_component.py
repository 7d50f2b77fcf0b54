from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

import millstream
from millstream.config import read_pipeline
from millstream.errors import ConfigError
from millstream.orchestration.component import PipelineAttributes
from millstream.orchestration.external_loads import report_loads

from .conftest import key, loaded, shop_config

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


def test_a_variable_that_is_not_set_loads_nothing(sandbox, monkeypatch):
    """Dagster reads it as None: that would be the pipeline's own dataset, or `None` in a path."""
    destination = {"type": "duckdb", "database": "a.db", "dataset": "{{ env.PLACE }}"}
    _, defs = load(sandbox, {**SHOP, "destination": destination})
    result = defs.resolve_job_def("shop").execute_in_process(raise_on_error=False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    said = failure.step_failure_data.error.cause.message
    assert "defs.yaml: not set in the environment: PLACE" in said
    assert not (sandbox.project_root / "a.db").exists()

    with pytest.raises(Exception) as caught:
        load(sandbox, {**SHOP, "history": "{{ env.KEPT }}"})
    error = caught.value
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__ or error.__context__
    assert "not set in the environment: KEPT" in error.message

    (sandbox.project_root / ".env").write_text("PLACE=there\n")
    monkeypatch.setenv("PLACE", "")  # so that what `.env` sets goes with the test
    monkeypatch.delenv("PLACE")
    component, _ = load(sandbox, {**SHOP, "destination": destination})
    assert component.config.dataset == "there"


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


@pytest.mark.nightly
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


def test_translation_and_assets_say_more_of_assets(sandbox, loaded_shop):
    condition = "{{ dg.AutomationCondition.on_cron('0 6 * * *') }}"
    attributes = {
        **SHOP,
        "source_asset": True,
        "translation": {
            "key_prefix": ["{{ env('REGION', 'eu') }}"],
            "description": "{{ table.name }} of {{ stream.name }}",
            "group_name": "raw",
            "metadata": {"parent": "{{ table.parent }}"},
        },
        "assets": {
            "orders": {
                "deps": ["crm/export"],
                "automation_condition": condition,
                "kinds": ["api"],
                "tags": {"pii": True},
                "group_name": "sales",
                "description": "What was bought.",
            }
        },
    }
    with knowing(loaded_shop, sandbox):
        _, defs = load(sandbox, attributes)
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}

    orders, items = specs["eu/shop/orders"], specs["eu/shop/orders__items"]
    deps = {dep.asset_key.to_user_string() for dep in orders.deps}
    assert deps == {"crm/export", "sources/shop"}
    assert [dep.asset_key for dep in items.deps] == [orders.key]
    assert orders.automation_condition == dg.AutomationCondition.on_cron("0 6 * * *")
    assert items.automation_condition is None
    assert (orders.description, items.description) == (
        "What was bought.",
        "orders__items of orders",
    )
    assert orders.group_name == items.group_name == "sales"
    assert orders.kinds == items.kinds == {"api"}
    assert orders.tags["pii"] == items.tags["pii"] == "true"
    assert (orders.metadata["parent"], items.metadata["parent"]) == (None, "orders")
    assert orders.metadata["dagster/table_name"] == "shop_db.shop.orders"

    result = defs.resolve_job_def("shop").execute_in_process()

    keys = {e.asset_key.to_user_string() for e in result.get_asset_materialization_events()}
    assert keys == specs.keys() - {"sources/shop", "crm/export"}
    assert {e.asset_key for e in result.get_asset_check_evaluations()} == {orders.key}


def test_a_key_of_a_stream_is_where_its_children_begin(sandbox, loaded_shop):
    with knowing(loaded_shop, sandbox):
        _, defs = load(sandbox, {**SHOP, "assets": {"orders": {"key": "raw/bought"}}})
    assert {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()} == {
        "raw/bought",
        "raw/bought__items",
        "raw/bought__items__tags",
    }


@contextmanager
def knowing(loaded_shop, sandbox):
    """The accepted schema of a first run lies where the component will be."""
    folder = sandbox.defs_folder_path / "shop"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(loaded_shop / "schema.yaml", folder)
    yield


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"assets": {"order": {}}}, "assets: pipeline 'shop' has no stream 'order'"),
        ({"translation": {"group": "raw"}}, "translation.group: there is no such attribute"),
        ({"translation": {"key": "one"}}, "have the key 'one'"),
        ({"translation": {"description": "{{ rows }}"}}, "translation, of shop/orders: "),
        ({"assets": {"orders": {"partitions_def": "x"}}}, "there is no such attribute"),
    ],
)
def test_a_wrong_translation_is_named(tmp_path, loaded_shop, more, said):
    shutil.copy(loaded_shop / "schema.yaml", tmp_path)
    with pytest.raises(ConfigError) as caught:
        millstream.definitions(shop_config(tmp_path, source=SHOP["source"], **more))
    assert said in str(caught.value)


class Renamed(millstream.Pipeline):
    """As a project has it: its own keys, and something said before each load."""

    def get_asset_spec(self, data: millstream.TableData) -> dg.AssetSpec:
        spec = super().get_asset_spec(data)
        return spec.replace_attributes(key=["lake", data.table.name], metadata={"own": 1})

    def execute(self, context, config):
        context.log.info("before the load")
        for result in super().execute(context, config):
            if isinstance(result, dg.MaterializeResult):
                result = result._replace(metadata={**result.metadata, "seen": True})
            yield result


def test_a_subclass_names_assets_and_steps_its_way(sandbox):
    path = sandbox.scaffold_component(
        component_cls=Renamed,
        defs_yaml_contents={
            "type": "orchestration.test_component.Renamed",
            "attributes": {**SHOP, "translation": {"group_name": "raw"}},
        },
        defs_path="shop",
    )
    with sandbox.load_component_and_build_defs(defs_path=path) as (component, defs):
        (spec,) = defs.resolve_all_asset_specs()
        assert isinstance(component, Renamed)
        assert (spec.key.path, spec.group_name) == (["lake", "orders"], "raw")
        result = defs.resolve_job_def("shop").execute_in_process()
    found = {
        tuple(e.asset_key.path): {n: v.value for n, v in e.materialization.metadata.items()}
        for e in result.get_asset_materialization_events()
    }
    assert found.keys() == {
        ("lake", name) for name in ("orders", "orders__items", "orders__items__tags")
    }
    assert found["lake", "orders"]["seen"]
    assert found["lake", "orders"]["rows_loaded"] == 2
    config = read_pipeline(path)  # as `millstream run` does, which reports its loads to Dagster
    assert config.name == "shop"
    report = millstream.run(config, "orders")
    with dg.instance_for_test() as instance:
        assert report_loads(config, [report], {}) == "3 assets materialized"
        assert instance.get_latest_materialization_event(dg.AssetKey(["lake", "orders"]))


@pytest.mark.parametrize("status", ["stopped", "running"])
def test_a_schedule_says_whether_it_is_switched_on(tmp_path, status):
    config = shop_config(tmp_path, schedule="0 6 * * *", schedule_status=status)
    schedule = millstream.definitions(config).resolve_schedule_def("shop_schedule")
    assert schedule.default_status.value == status.upper()
    assert ("Switched off until" in schedule.description) is (status == "stopped")
