from __future__ import annotations

import json

import dagster as dg
import dlt
import duckdb
import pytest

import millstream
from alerts.fake_alert_servers import slack
from millstream.errors import ConfigError, RunError, SchemaHeldError

from .conftest import log_lines

ISSUES = [{"id": 1, "title": "one", "labels": [{"name": "bug"}, {"name": "ui"}]}]


@dg.asset
def issues(millstream: millstream.MillstreamResource) -> dg.MaterializeResult:
    report = millstream.run(ISSUES, stream="issues")
    return millstream.materialize_result(report)


def test_an_asset_of_ones_own_loads_and_tells_what_it_did(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [issues],
            resources={"millstream": millstream.MillstreamResource(pipeline_name="github")},
            instance=instance,
        )
        lines = log_lines(instance, result.run_id)

    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["rows_loaded"].value == 1
    assert metadata["dagster/row_count"].value == 1
    assert {r.data["table"] for r in metadata["schema_changes"].value.records} == {
        "issues",
        "issues__labels",
    }
    assert any(line.startswith("issues: ") for line in lines), lines
    (file,) = tmp_path.glob("*.duckdb")
    with duckdb.connect(str(file), read_only=True) as db:
        assert db.execute("select name from github.issues__labels order by 1").fetchall() == [
            ("bug",),
            ("ui",),
        ]


def test_what_is_held_is_accepted_in_python(tmp_path):
    resource = millstream.MillstreamResource(pipeline_name="github")
    resource.run(ISSUES, stream="issues")
    changed = [{"id": 2, "title": {"text": "two"}}]
    with pytest.raises(SchemaHeldError, match=r"in Python `millstream\.accept`"):
        resource.run(changed, stream="issues")
    assert resource.accept("issues", changes=["00000000"]) == ()
    (told,) = [each for each in resource.accept("issues") if each["action"] == "hold"]
    assert told["message"] == "`title` was text, now it is also an object"
    assert resource.run([], stream="issues").rows == 1
    assert resource.accept("issues") == ()

    free = millstream.MillstreamResource(pipeline_name="github", schema_policy="anything")
    assert free.run([{"id": {"number": 3}}], stream="issues").rows == 1
    with pytest.raises(ConfigError, match="schema_policy"):
        millstream.MillstreamResource(pipeline_name="github", schema_policy="any").run([])


def test_child_tables_can_be_told_of_as_well():
    resource = millstream.MillstreamResource(pipeline_name="github", dataset="gh")
    report = resource.run(ISSUES, stream="issues")

    child = resource.materialize_result(
        report, table="issues__labels", asset_key=["gh", "issue_labels"]
    )

    assert child.metadata["rows_loaded"] == 2
    assert child.asset_key == dg.AssetKey(["gh", "issue_labels"])
    with pytest.raises(ConfigError, match="no table 'labels'") as caught:
        resource.materialize_result(report, table="labels")
    assert caught.value.hint == "it has issues, issues__labels"


def test_fields_that_make_no_pipeline_are_named():
    resource = millstream.MillstreamResource(pipeline_name="Git Hub")

    with pytest.raises(ConfigError, match="MillstreamResource: name: "):
        resource.run(ISSUES, stream="issues")


def test_an_error_reaches_the_asset_as_it_is():
    def broken():
        yield {"id": 1}
        raise ZeroDivisionError("what the source said")

    resource = millstream.MillstreamResource(pipeline_name="github")

    with pytest.raises(RunError, match="what the source said"):
        resource.run(broken(), stream="issues")


def test_credentials_from_the_environment_stay_hidden(tmp_path, monkeypatch):
    secret = f"{tmp_path}/secret-place.duckdb"
    monkeypatch.setenv("WAREHOUSE", secret)
    resource = millstream.MillstreamResource(
        pipeline_name="github", credentials=dg.EnvVar("WAREHOUSE")
    )

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([issues], resources={"millstream": resource}, instance=instance)
        entries = [str(entry) for entry in instance.all_logs(result.run_id)]
        run = instance.get_run_by_id(result.run_id)

    assert result.success
    assert (tmp_path / "secret-place.duckdb").exists()
    assert "secret-place" not in repr(resource)
    assert "secret-place" not in "".join(entries)
    assert "secret-place" not in json.dumps(dict(run.run_config))
    literal = millstream.MillstreamResource(pipeline_name="github", credentials=secret)
    assert "secret-place" not in repr(literal)
    # Dagster's UI blanks out the fields that it knows to be secret
    assert type(resource).to_config_schema().as_field().config_type.fields["credentials"].is_secret


@dlt.resource
def users():
    yield {"id": 1, "tags": ["a"]}


@dlt.resource(primary_key="id", write_disposition="merge")
def orders():
    yield {"id": 1, "total": 2}


def totals(report):
    return {table.name: table.rows_total for table in report.tables}


def test_running_twice_does_what_the_how_to_says():
    shop = millstream.MillstreamResource(pipeline_name="shop")
    rows = [{"id": 1, "lines": ["a", "b"]}, {"id": 2, "lines": []}]
    for expected in ({"log": 2, "log__lines": 2}, {"log": 4, "log__lines": 4}):
        assert totals(shop.run(rows, stream="log")) == expected
    for _ in range(2):
        merged = shop.run(rows, stream="sales", table_name="orders", primary_key="id")
        assert totals(merged) == {"orders": 2, "orders__lines": 2}
        replaced = shop.run(users, table_name="people", write_disposition="replace")
        assert totals(replaced) == {"people": 1, "people__tags": 1}
    assert users.write_disposition == "append"  # what was handed over is as it was


def test_a_list_of_resources_is_one_run_of_many_tables():
    shop = millstream.MillstreamResource(pipeline_name="shop")
    for _ in range(2):
        report = shop.run([users, orders], stream="crm")
    assert totals(report) == {"users": 2, "users__tags": 2, "orders": 1}
    other = millstream.MillstreamResource(pipeline_name="other")
    assert other.run([orders]).stream == "orders"
    with pytest.raises(ConfigError, match="2 resources have no name in common: users, orders"):
        shop.run([users, orders])
    with pytest.raises(ConfigError, match="names one table, and there are 2 resources"):
        shop.run([users, orders], stream="crm", table_name="all")
    with pytest.raises(ConfigError, match="a list of resources also has a dict"):
        shop.run([users, {"id": 1}], stream="crm")


def test_rules_quarantine_and_slack_in_an_asset_of_ones_own(monkeypatch):
    shop = millstream.MillstreamResource(
        pipeline_name="shop",
        alerts=[{"type": "slack"}],
        schema_rules=[{"action": "hold", "change": "column_added", "column": "secret*"}],
        quarantine={"max_rows": 0},
    )
    rows = [{"id": 1}]

    @dg.asset
    def visits(millstream: millstream.MillstreamResource) -> dg.MaterializeResult:
        return millstream.materialize_result(millstream.run(rows, stream="visits"))

    def materialize():
        return dg.materialize([visits], resources={"millstream": shop}, raise_on_error=False)

    with slack() as office:
        monkeypatch.setenv("SLACK_WEBHOOK_URL", office.url)
        materialize()
        rows[0]["page"] = "/"
        materialize()
        rows[0]["secret_name"] = "x"
        assert not materialize().success
        asked = [payload["text"] for payload in office.taken]
        said = json.dumps(office.taken)
    assert asked == [
        "shop.visits: loaded: 1 schema change, safe",
        "shop.visits: loaded: 1 schema change, safe",
        "shop.visits: held: 1 schema change, safe",
    ]
    assert "new column `page`" in said
    with pytest.raises(ConfigError, match=r"alerts\.0\.at_least: must be"):
        millstream.MillstreamResource(
            pipeline_name="shop", alerts=[{"type": "slack", "at_least": "x"}]
        ).run(rows, stream="visits")
