"""SQL relations of dlt's as what a resource yields: their rows are loaded as any others are."""

from __future__ import annotations

import pytest
import yaml

from millstream.cli import main
from services.places import Place

SOURCE = """
import dlt


@dlt.resource(primary_key="id", write_disposition="merge")
def orders(n: int = 1):
    for number in range(3):
        yield {"id": number, "price": number + n / 4}


@dlt.resource(write_disposition="replace")
def dear():
    # each stream has a schema of its own
    tables = dlt.dataset(dlt.current.pipeline().destination, "DATASET", schema="shop__orders")
    yield tables("SELECT id, price * 2 AS twice FROM orders WHERE price >= 1")


@dlt.source
def shop():
    return orders, dear
"""


@pytest.mark.parametrize("destination", ["duckdb", "postgres"])
def test_their_rows_are_loaded(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], destination: str
) -> None:
    place: Place = request.getfixturevalue(f"{destination}_place")
    (place.project / "relations.py").write_text(SOURCE.replace("DATASET", place.dataset))
    attributes = {
        "name": "shop",
        "source": {"type": "dlt", "path": "relations:shop"},
        "destination": {"dataset": place.dataset, **place.destination},
        "max_concurrent_streams": 1,
    }
    (place.project / "defs.yaml").write_text(
        yaml.safe_dump({"type": "millstream.Pipeline", "attributes": attributes})
    )
    for _ in range(2):
        assert main(["run", str(place.project)]) == 0
        said = capsys.readouterr()
        assert "2 rows in" in said.out
        assert "Warning" not in said.err
        assert place.column("dear", "id") == [1, 2]
        assert [*map(float, place.column("dear", "twice"))] == [2.5, 4.5]
