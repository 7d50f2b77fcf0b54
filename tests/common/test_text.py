from __future__ import annotations

import pytest

from millstream.common.text import quantity


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12_345, "12,345 rows")]
)
def test_so_many_rows(count: int, words: str) -> None:
    assert quantity(count, "row") == words


def test_a_plural_of_its_own() -> None:
    assert (quantity(1, "batch", "batches"), quantity(2, "batch", "batches")) == (
        "1 batch",
        "2 batches",
    )
