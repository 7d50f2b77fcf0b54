from __future__ import annotations

import json

import dagster as dg
import duckdb
import pytest

import millstream
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


def test_credentials_come_from_the_environment_and_are_never_shown(tmp_path, monkeypatch):
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
