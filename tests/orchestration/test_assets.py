from __future__ import annotations

from types import ModuleType

import dagster as dg
import duckdb
import pytest

import millstream
from millstream.config import PipelineConfig
from millstream.errors import ConfigError, SourceUnavailableError

from . import shop
from .conftest import key, loaded, log_lines, shop_config, specs_of

ALL = {"orders", "orders__items", "orders__items__tags", "orders__archive", "empty"}


def test_each_stream_is_an_asset_before_the_first_run(config):
    assets = millstream.step_assets(config)

    assert specs_of(assets).keys() == {key("orders"), key("orders__archive"), key("empty")}
    assert all(each.can_subset for each in assets)
    spec = specs_of(assets)[key("orders")]
    assert spec.group_name == "shop"
    assert spec.kinds == {"dlt", "duckdb", "table"}
    assert not list(spec.deps)
    assert shop.pulls == []


def test_group_owners_and_tags_come_from_the_configuration(tmp_path):
    config = shop_config(
        tmp_path, group="sales", owners=["ann@shop.example", "team:data"], tags={"tier": "1"}
    )

    spec = specs_of(millstream.step_assets(config))[key("orders")]

    assert spec.group_name == "sales"
    assert list(spec.owners) == ["ann@shop.example", "team:data"]
    assert spec.tags["tier"] == "1"


def test_child_tables_become_assets_after_a_reload(known):
    deps = {
        spec.key.path[-1]: [dep.asset_key.path[-1] for dep in spec.deps]
        for spec in specs_of(known).values()
    }

    # by the table's parent, not by its name: the archive is a stream of its own
    assert deps == {
        "orders": [],
        "orders__items": ["orders"],
        "orders__items__tags": ["orders__items"],
        "orders__archive": [],
        "empty": [],
    }


def test_a_run_materializes_every_table_with_its_rows(config):
    result = dg.materialize(millstream.step_assets(config))

    found = loaded(result)
    assert {name: metadata["rows_loaded"] for name, metadata in found.items()} == {
        "orders": 2,
        "orders__items": 2,
        "orders__items__tags": 1,
        "orders__archive": 1,
        "empty": 0,
    }
    (file,) = config.project.glob("*.duckdb")
    with duckdb.connect(str(file), read_only=True) as db:
        for name, metadata in found.items():
            if name == "empty":  # nothing has made its table yet
                continue
            count = db.execute(f"select count(*) from {metadata['dagster/table_name']}")
            assert count.fetchone() == (metadata["dagster/row_count"],)


def test_a_second_materialization_in_one_process_works(known):
    shop.rows["orders"] = [{"id": 3, "who": "cy", "n": 3, "items": [{"sku": "c"}]}]

    found = loaded(dg.materialize(known))

    assert found.keys() == ALL
    assert found["orders"]["rows_loaded"] == 1
    assert found["orders"]["dagster/row_count"] == 3
    assert found["orders"]["schema_changes_count"] == 0
    assert "schema_changes_explained" not in found["orders"]


def test_table_names_equal_those_of_the_definitions(known):
    found = loaded(dg.materialize(known))

    for spec in specs_of(known).values():
        name = spec.key.path[-1]
        if name != "empty":
            assert spec.metadata["dagster/table_name"] == found[name]["dagster/table_name"]
    orders = specs_of(known)[key("orders")]
    assert orders.metadata["dagster/table_name"] == "shop_db.shop.orders"
    assert orders.metadata["dagster/storage_kind"] == "duckdb"


def test_the_accepted_schema_is_there_at_definition_time(known):
    columns = {
        column.name: column
        for column in specs_of(known)[key("orders")].metadata["dagster/column_schema"].columns
    }

    assert columns["id"].type == "bigint"
    assert columns["id"].constraints.unique
    assert not columns["id"].constraints.nullable
    assert columns["who"].type == "text"


def test_only_streams_with_a_selected_asset_run(known):
    result = dg.materialize(known, selection=[key("orders__archive")])

    assert shop.pulls == ["orders__archive"]
    assert loaded(result).keys() == {"orders__archive"}


def test_unselected_tables_are_recorded_too(known):
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(known, selection=[key("orders__items")], instance=instance)

        assert shop.pulls == ["orders"]
        # a selected asset is a result of the step, the others are recorded beside it
        assert loaded(result).keys() == {"orders", "orders__items", "orders__items__tags"}
        assert [
            e.step_output_data.output_name
            for e in result.filter_events(lambda event: event.is_successful_output)
        ] == ["shop__orders__items"]


def test_new_tables_are_recorded_and_logged(config):
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(millstream.step_assets(config), instance=instance)

        assert instance.get_latest_materialization_event(key("orders__items__tags"))
        (line,) = [x for x in log_lines(instance, result.run_id) if "new tables" in x]
    assert "orders__items, orders__items__tags" in line
    assert "reloaded" in line


def test_a_stream_that_fails_does_not_take_the_others_with_it(known):
    shop.faults["orders"] = SourceUnavailableError(
        "the shop is closed: postgresql://ann:hunter22@shop/db", hint="come back at nine"
    )

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(known, instance=instance, raise_on_error=False)

        assert not result.success
        assert loaded(result).keys() == {"orders__archive", "empty"}
        (failure,) = [e for e in result.all_events if e.is_step_failure]
        said = failure.step_failure_data.user_failure_data
        assert said.description.startswith("the stream 'orders' of 'shop' failed\n")
        assert "the shop is closed" in said.description
        assert "hint: come back at nine" in said.description
        assert failure.step_key == "load_shop__orders"
        everything = "\n".join(str(entry) for entry in instance.all_logs(result.run_id))
        assert "orders: the shop is closed" in everything
        assert "hunter22" not in everything


def test_an_unexpected_error_of_one_stream_is_kept_apart_as_well(known):
    shop.faults["orders__archive"] = ZeroDivisionError("what the source said")

    result = dg.materialize(known, raise_on_error=False)

    assert loaded(result).keys() == ALL - {"orders__archive"}
    (failure,) = [e for e in result.all_events if e.is_step_failure]
    description = failure.step_failure_data.user_failure_data.description
    assert "ZeroDivisionError: what the source said" in description


def test_schema_changes_by_stream_and_by_table(known):
    shop.rows["orders"] = [
        {"id": 3, "n": "three", "paid": True, "items": [{"sku": "c", "tags": [], "price": 2.5}]},
    ]

    found = loaded(dg.materialize(known))

    changes = {
        (r.data["table"], r.data["column"], r.data["change"])
        for r in found["orders"]["schema_changes"].records
    }
    assert changes >= {
        ("orders", "n__v_text", "variant added"),
        ("orders", "paid", "column added"),
        ("orders__items", "price", "column added"),
    }
    assert found["orders"]["schema_changes_count"] == len(found["orders"]["schema_changes"].records)
    text = found["orders"]["schema_changes_explained"]
    assert text.index("**orders**") < text.index("**orders__items**")
    assert "`price`" in text
    of_items = found["orders__items"]["schema_changes"].records
    assert {r.data["table"] for r in of_items} == {"orders__items"}
    assert "`paid`" not in found["orders__items"]["schema_changes_explained"]


def test_a_full_refresh_is_a_setting_of_the_run(known):
    shop.rows["orders"] = [{"id": 9, "who": "di", "n": 1, "items": [{"sku": "z"}]}]

    result = dg.materialize(
        known,
        selection=[key("orders")],
        run_config={"ops": {"load_shop__orders": {"config": {"full_refresh": True}}}},
    )

    assert loaded(result)["orders"]["dagster/row_count"] == 1
    assert loaded(result)["orders__items__tags"]["dagster/row_count"] == 0


@pytest.mark.parametrize("selected", ["orders", "orders__items"])
def test_a_child_is_never_older_than_its_parent(known, selected):
    """Or Dagster shows it as out of date after each run that selects its parent alone."""
    result = dg.materialize(known, selection=[key(selected)])
    names = [e.asset_key.path[-1] for e in result.get_asset_materialization_events()]
    assert names == ["orders", "orders__items", "orders__items__tags"]


@pytest.mark.parametrize("has_folder", [True, False])
def test_new_tables_become_assets_where_a_file_keeps_them(config, has_folder):
    config = config if has_folder else config.model_copy(update={"folder": None})
    with dg.instance_for_test() as instance:
        result = dg.materialize(millstream.step_assets(config), instance=instance)
        said = "\n".join(log_lines(instance, result.run_id))
    assert ("They become assets of their own" in said) is has_folder


def test_assets_keep_working_when_their_keys_are_changed(config):
    module = ModuleType("europe")
    module.loads = millstream.step_assets(config)
    moved = dg.load_assets_from_modules([module], key_prefix="eu")

    found = [e.asset_key for e in dg.materialize(moved).get_asset_materialization_events()]

    assert dg.AssetKey(["eu", "shop", "orders"]) in found
    assert dg.AssetKey(["eu", "shop", "orders__items"]) in found


def test_definitions_have_a_job_and_the_schedule(tmp_path):
    defs = millstream.definitions(shop_config(tmp_path, schedule="0 6 * * *"))

    job = defs.resolve_job_def("shop")
    schedule = defs.resolve_schedule_def("shop_schedule")
    assert schedule.cron_schedule == "0 6 * * *"
    assert schedule.job_name == "shop"
    assert loaded(job.execute_in_process()).keys() == ALL


def test_pipelines_of_one_project_stand_side_by_side(config, tmp_path):
    other = config.model_copy(update={"name": "warehouse", "folder": tmp_path / "other"})

    defs = dg.Definitions.merge(millstream.definitions(config), millstream.definitions(other))

    dg.Definitions.validate_loadable(defs)
    assert defs.resolve_job_def("warehouse")


def test_attributes_may_be_named_instead_of_a_configuration(tmp_path):
    assets = millstream.step_assets(
        name="shop", source={"type": "dlt", "path": "orchestration.shop:shop", "streams": ["empty"]}
    )

    assert loaded(dg.materialize(assets)).keys() == {"empty"}
    assert list(tmp_path.glob("*.duckdb"))


def test_a_wrong_attribute_is_named():
    with pytest.raises(ConfigError, match=r"(?s)millstream\.step_assets.*sorce") as caught:
        millstream.step_assets(name="shop", sorce={"type": "dlt", "path": "a:b"})
    # `source` is missing, too, and each of the two has a remedy of its own
    assert "sorce: there is no such attribute (did you mean `source`?)" in caught.value.message


def test_a_configuration_and_attributes_together_are_refused(config):
    with pytest.raises(ConfigError, match="a configuration and attributes: group"):
        millstream.step_assets(config, group="sales")


def test_a_schedule_that_is_no_cron_expression_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'every day' is not a cron expression"):
        millstream.definitions(shop_config(tmp_path, schedule="every day"))


def test_two_streams_that_load_one_table_are_refused(tmp_path):
    (tmp_path / "schema.yaml").write_text(
        "version: 1\nstreams:\n  orders:\n    orders:\n      columns: {id: bigint}\n"
        "    orders__archive:\n      parent: orders\n      columns: {id: bigint}\n"
    )

    with pytest.raises(ConfigError, match="'orders__archive' is loaded by more than one stream"):
        millstream.step_assets(shop_config(tmp_path))


def test_a_source_without_streams_is_refused(tmp_path):
    config = PipelineConfig.model_validate(
        {
            "name": "shop",
            "source": {"type": "dlt", "path": "orchestration.test_assets:nothing"},
            "project": tmp_path,
        }
    )

    with pytest.raises(ConfigError, match="offers no streams"):
        millstream.step_assets(config)


def nothing():
    import dlt

    @dlt.source
    def empty_source():
        return []

    return empty_source()
