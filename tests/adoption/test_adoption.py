"""A dlt pipeline that has loaded twice is adopted, goes on by Millstream, and is handed back.

What dlt alone makes of the same four states of the source, in another dataset, is what must be
there after each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dlt
import pytest
import yaml

from adoption.makes import MAKES, Make, Shop
from millstream.cli import main
from services.places import Place

OFTEN = {("merge", "duckdb"), ("transformer", "postgres")}
PLACES = {
    "duckdb": (),
    "postgres": (pytest.mark.xdist_group("postgres"),),
    "bigquery": (pytest.mark.xdist_group("bigquery"),),
}
CASES = [
    pytest.param(
        make,
        kind,
        id=f"{make.name}-{kind}",
        marks=(*marks, *(() if (make.name, kind) in OFTEN else (pytest.mark.nightly,))),
    )
    for make in MAKES
    for kind, marks in PLACES.items()
    # the emulator takes a minute for each
    if kind != "bigquery" or make.name in ("append", "merge", "scd2", "several", "naming")
]


@pytest.fixture(autouse=True)
def shop() -> Iterator[None]:
    Shop.step, Shop.asked = 0, []
    yield
    Shop.step, Shop.asked = 0, []


def script(place: Place, make: Make, step: int, dataset: str = "") -> None:
    """What the user's own script does: plain dlt."""
    Shop.step = step
    destination: Any = place.kind
    if place.kind == "duckdb":
        destination = dlt.destinations.duckdb(str(place.extra["file"]))
    pipeline = dlt.pipeline(
        "alone" if dataset else "old_script",
        destination=destination,
        dataset_name=dataset or place.dataset,
    )
    pipeline.run(make.source())
    pipeline.deactivate()


def write_defs(place: Place, make: Make, **attributes: Any) -> None:
    described = {
        "name": "shop",
        "source": {"type": "dlt", "path": f"adoption.makes:{make.source.__name__}"},
        "destination": {"dataset": place.dataset, **place.destination},
        **attributes,
    }
    text = yaml.safe_dump({"type": "millstream.Pipeline", "attributes": described})
    (place.project / "defs.yaml").write_text(text)


def contents(place: Place, make: Make, dataset: str) -> dict[str, list[Any]]:
    """The rows of all tables, those of lists with the rows that they belong to."""
    found: dict[str, list[Any]] = {}
    by_id: dict[Any, Any] = {}
    for table, columns in make.tables.items():
        is_child = table.count("__") > 0
        link = "_dlt_parent_id" if is_child else "_dlt_load_id"
        columns = columns.replace('"', "`") if place.kind == "bigquery" else columns
        clause = place.from_clause(table).replace(place.dataset, dataset)
        rows = place.query(f"SELECT _dlt_id, {link}, {columns} FROM {clause}")
        own = {row[0]: (by_id[row[1]] if is_child else None, *row[2:]) for row in rows}
        assert len(own) == len(rows)  # ids are unique, and each has its parent
        found[table] = sorted(own.values(), key=repr)
        by_id |= own
    return found


@pytest.mark.parametrize(("make", "kind"), CASES)
def test_adopted_goes_on_and_is_handed_back(
    make: Make, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: Place = request.getfixturevalue(f"{kind}_place")
    for name, value in make.environment.items():
        monkeypatch.setenv(name, value)
    alone = f"{place.dataset}_alone"
    expected = {}
    for step in (1, 2, 3, 4):
        script(place, make, step, alone)
        expected[step] = contents(place, make, alone)
    for step in (1, 2):
        script(place, make, step)
    assert contents(place, make, place.dataset) == expected[2]
    write_defs(place, make)

    assert main(["adopt", "old_script", str(place.project)]) == 0
    assert contents(place, make, place.dataset) == expected[2]
    Shop.step, Shop.asked = 3, []
    assert main(["run", str(place.project)]) == 0

    assert {*Shop.asked} <= {make.asked}
    assert contents(place, make, place.dataset) == expected[3]
    root = next(iter(make.tables))
    loads = [
        row[0]
        for row in place.query(f"SELECT DISTINCT _dlt_load_id FROM {place.from_clause(root)}")
    ]
    known = place.query(f"SELECT load_id FROM {place.from_clause('_dlt_loads')}")
    assert {*loads} <= {row[0] for row in known}

    assert main(["adopt", "old_script", str(place.project), "--undo"]) == 0
    assert main(["run", str(place.project)]) == 1  # they are dlt's again
    script(place, make, 4)
    handed_back = dlt.attach("old_script")
    formats = [table.get("file_format") for table in handed_back.default_schema.data_tables()]
    handed_back.deactivate()
    assert {*formats} == {None}  # dlt chooses them, as before
    assert contents(place, make, place.dataset) == expected[4]


def test_tables_of_files_are_not_adopted(
    filesystem_place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, merge = filesystem_place, next(make for make in MAKES if make.name == "merge")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(place.extra["bucket"]))
    script(place, merge, 1)
    write_defs(place, merge)
    assert main(["adopt", "old_script", str(place.project)]) == 1
    assert "tables of files are not adopted" in capsys.readouterr().err
