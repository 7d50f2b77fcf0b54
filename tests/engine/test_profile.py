from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pytest

from millstream.config import TargetConfig
from millstream.engine.profile import Profile
from millstream.engine.writer import ColumnSet
from millstream.runner import run_data


def distinct(*batches: list[str | None]) -> int:
    profile = Profile()
    for values in batches:
        profile.add("t", ColumnSet({"c": pa.array(values, pa.string())}, len(values)), frozenset())
    return profile.columns()["t"]["c"].distinct


SOME = [f"v{n}" for n in range(40)]


@pytest.mark.parametrize(
    "batches",
    [
        pytest.param([[None] * 100, SOME], id="a longer batch has none"),
        # every 32nd value of 4,096 is looked at
        pytest.param([[v for each in SOME for v in (None, each)] + [None] * 4016], id="few"),
        pytest.param([[None] * 4096] * 17 + [SOME], id="they come late"),
    ],
)
def test_values_among_nulls_are_counted(batches: list[list[str | None]]) -> None:
    assert distinct(*batches) == 40


@pytest.mark.parametrize("first", [True, False], ids=["value first", "value last"])
def test_a_key_counts_while_it_is_only_null(first: bool, tmp_path: Path) -> None:
    """Twelve pages of rows with the key, of which one has a value, on the first or last page."""
    where = 0 if first else 11

    def pages() -> Iterator[list[dict[str, Any]]]:
        for page in range(12):
            yield [{"id": n, "at": "now" if (page, n) == (where, 5) else None} for n in range(100)]

    report = run_data(
        dlt.resource(pages, name="tickets"), TargetConfig(name="shop", project=tmp_path)
    )
    seen = report.schema.table["tickets"].column["at"].profile
    assert seen is not None
    assert (seen.rows, seen.present, seen.nulls) == (1200, 1200, 1199)
