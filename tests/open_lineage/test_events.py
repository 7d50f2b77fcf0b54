"""OpenLineage events of `millstream run`, as the client writes them to a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millstream.cli import main
from services.places import Place

pytest.importorskip("openlineage.client")

LINES = [
    {"id": 1, "price": 1.5, "Lines": [{"itemNo": "a"}, {"itemNo": "b"}]},
    {"id": 2, "price": None},
]


@pytest.fixture
def project(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    kind = getattr(request, "param", "duckdb")
    place: Place = request.getfixturevalue(f"{kind}_place")
    attributes = {
        "name": "shop",
        "source": {"type": "files", "streams": {"orders": {"path": "orders.jsonl"}}},
        "destination": place.destination,
    }
    file = place.project / "defs.yaml"
    file.write_text(json.dumps({"type": "millstream.Pipeline", "attributes": attributes}))
    (place.project / "orders.jsonl").write_text("\n".join(map(json.dumps, LINES)))
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "file")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__APPEND", "true")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(place.project / "events"))
    return place


def events(place: Place) -> list[Any]:
    return [json.loads(line) for line in (place.project / "events").read_text().splitlines()]


@pytest.mark.parametrize("project", ["duckdb", "postgres"], indirect=True)
def test_a_run_tells_where_each_column_comes_from(project: Place) -> None:
    assert main(["run", str(project.project)]) == 0

    start, complete = events(project)
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert complete["job"] == {**complete["job"], "namespace": "millstream", "name": "shop.orders"}
    assert [each["name"] for each in start["inputs"]] == ["orders.jsonl"]
    outputs = {each["name"].rpartition(".")[2]: each for each in complete["outputs"]}
    root, lines = outputs["orders"], outputs["orders__lines"]
    assert root["name"] == project.full_name("orders")
    if project.kind == "postgres":
        assert root["namespace"].startswith("postgres://127.0.0.1:")
    assert root["outputFacets"]["outputStatistics"]["rowCount"] == 2
    assert lines["outputFacets"]["outputStatistics"]["rowCount"] == 2
    fields = lines["facets"]["columnLineage"]["fields"]
    assert fields["item_no"]["inputFields"][0]["field"] == "Lines[].itemNo"
    assert fields["_dlt_parent_id"]["inputFields"][0]["name"] == root["name"]
    price = root["facets"]["dataQualityMetrics"]["columnMetrics"]["price"]
    assert (price["nullCount"], price["count"], price["max"]) == (1, 1, 1.5)
    types = {each["name"]: each["type"] for each in root["facets"]["schema"]["fields"]}
    assert {"id": "bigint", "price": "double"}.items() <= types.items()


def test_a_run_that_fails_tells_why(project: Place) -> None:
    (project.project / "orders.jsonl").write_text("no json at all\n")
    assert main(["run", str(project.project)]) == 1

    _, failed = events(project)
    assert failed["eventType"] == "FAIL"
    assert "orders" in failed["run"]["facets"]["errorMessage"]["message"]


def test_events_that_cannot_be_sent_stop_no_load(
    project: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "http")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__URL", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__RETRY", '{"total": 0}')
    assert main(["run", str(project.project)]) == 0
    assert "no OpenLineage event was sent" in capsys.readouterr().err
    assert project.count("orders") == 2


def test_nothing_is_sent_where_nothing_is_configured(
    project: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TYPE", "APPEND", "LOG_FILE_PATH"):
        monkeypatch.delenv(f"OPENLINEAGE__TRANSPORT__{name}")
    assert main(["run", str(project.project)]) == 0
    assert not Path(project.project / "events").exists()
