import pyarrow as pa
import pytest

from millstream.engine.profile import Profile
from millstream.engine.writer import ColumnSet


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
