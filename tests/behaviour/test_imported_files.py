"""Files that a dlt source hands on as they are: dlt takes them past every step of a resource."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from millstream.cli import main
from services.places import Place

SOURCE = """
import json
from pathlib import Path

import dlt
import pyarrow as pa
import pyarrow.parquet as pq


@dlt.resource(columns={"id": {"data_type": "bigint"}, "name": {"data_type": "text"}})
def mixed(folder: str):
    file = Path(folder) / "part.parquet"
    pq.write_table(pa.table({"id": [2, 3], "name": ["b", "c"]}), file)
    yield {"id": 1, "name": "a"}
    yield dlt.mark.with_file_import(str(file), "parquet", 2)


@dlt.resource(columns={"id": {"data_type": "bigint"}, "name": {"data_type": "text"}})
def orders(folder: str, kind: str):
    start = len([*Path(folder).glob("part*")])
    file = Path(folder) / f"part_{start}.{kind}"
    rows = [{"id": 2 * start + n, "name": f"n{n}"} for n in range(2)]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif kind == "csv":
        lines = ["id,name", *(f"{row['id']},{row['name']}" for row in rows)]
        file.write_text("\\n".join(lines))
    else:
        file.write_text("\\n".join(map(json.dumps, rows)))
    yield dlt.mark.with_file_import(str(file), kind, len(rows))
"""


def configure(place: Place, kind: str, **more: Any) -> None:
    (place.project / "exported.py").write_text(SOURCE)
    arguments = {"folder": str(place.project), "kind": kind}
    attributes = {
        "name": "shop",
        "source": {"type": "dlt", "path": "exported:orders", "arguments": arguments},
        "destination": {"dataset": place.dataset, **place.destination},
        **more,
    }
    (place.project / "defs.yaml").write_text(
        yaml.safe_dump({"type": "millstream.Pipeline", "attributes": attributes})
    )


@pytest.mark.parametrize(
    ("destination", "kind"),
    [("duckdb", "parquet"), ("duckdb", "jsonl"), ("postgres", "csv"), ("filesystem", "parquet")],
)
@pytest.mark.parametrize("receipts", ["none", "all"])
def test_their_rows_are_loaded(
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    destination: str,
    kind: str,
    receipts: str,
) -> None:
    place: Place = request.getfixturevalue(f"{destination}_place")
    configure(place, kind, receipts=receipts)
    for load in (1, 2):
        assert main(["run", str(place.project)]) == 0
        said = capsys.readouterr()
        assert "2 rows in" in said.out
        assert place.column("orders", "id") == [*range(2 * load)]
        assert place.column("orders", "name") == ["n0", "n1"] * load


def test_rows_beside_them_get_no_receipt(
    duckdb_place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many rows were read, nobody knows."""
    arguments = {"folder": str(duckdb_place.project)}
    source = {"type": "dlt", "path": "exported:mixed", "arguments": arguments}
    configure(duckdb_place, "parquet", source=source, receipts="all")
    assert main(["run", str(duckdb_place.project)]) == 0
    said = capsys.readouterr()
    assert "delivered" not in said.out + said.err
    assert duckdb_place.column("mixed", "id") == [1, 2, 3]


def test_maps_of_their_rows_are_refused(
    duckdb_place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(duckdb_place, "jsonl", maps={"orders": ["name"]})
    assert main(["run", str(duckdb_place.project)]) == 1
    said = capsys.readouterr()
    assert "hands on files as they are, whose rows have no maps" in said.out + said.err
