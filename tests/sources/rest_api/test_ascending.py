"""Parts of a list in the order of its cursor: no row is lost, whatever the API takes for since."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dlt.extract.exceptions import ResourceExtractionError
from hypothesis import given
from hypothesis import strategies as st

from millstream.config import RestApiConfig
from millstream.errors import SourceUnavailableError
from millstream.sources import findings
from millstream.sources.rest_api import RestApiSource, ascending
from sources.api_server import SIZE, Reply, serving

Row = dict[str, Any]


def pages_of(rows: list[Row], size: int, until: int) -> Iterator[list[Row]]:
    for number, at in enumerate(range(0, len(rows), size)):
        if number == until:
            raise SourceUnavailableError("down", hint="wait")
        yield rows[at : at + size]


def read(pages: Iterator[list[Row]], start: Any) -> tuple[list[Row], findings.Stop | None]:
    with (
        tempfile.TemporaryDirectory() as folder,
        findings.collecting(Path(folder), may_stop=True) as found,
    ):
        read = ascending.AscendingPages("orders", "at", start).read(pages)
        return [row for page in read for row in page], found.stop


@given(
    values=st.lists(st.integers(0, 6), max_size=30).map(sorted),
    size=st.integers(1, 4),
    is_exclusive=st.booleans(),
    breaks=st.booleans(),
)
def test_every_row_comes_in_some_part(
    values: list[int], size: int, is_exclusive: bool, breaks: bool
) -> None:
    rows = [{"id": n, "at": at} for n, at in enumerate(values)]
    seen: set[int] = set()
    start = -1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ascending, "_PART_SECONDS", 0.0)
        for _ in range(20):
            due = [r for r in rows if r["at"] > start or (r["at"] == start and not is_exclusive)]
            try:
                found, stop = read(pages_of(due, size, 3 if breaks else -1), start)
            except SourceUnavailableError:
                breaks = False  # nothing can be loaded without the rest: it is read when it is up
                continue
            new = {row["id"] for row in found} - seen
            seen |= new
            if stop is None:
                break
            assert new, "the next part would read the same"
            start = max(row["at"] for row in found)
    assert seen == {row["id"] for row in rows}


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 3, 2, 5, 6],  # not in order
        [1, 2, None, 4, 5, 6],
        [1, 2, "3", 4, 5, 6],
        [5, 5, 5, 5, 5, 5],  # all of one value
        [0, 0, 0, 0, 0, 0],  # all that the run before had
    ],
)
def test_what_cannot_be_cut_is_read_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, values: list[Any]
) -> None:
    monkeypatch.setattr(ascending, "_PART_SECONDS", 0.0)
    rows = [{"id": n, "at": at} for n, at in enumerate(values)]
    found, stop = read(pages_of(rows, 3, -1), 0)
    assert found == rows
    assert stop is None
    is_told = "rows do not come in the order of `at`" in caplog.text
    assert is_told is (values == [1, 2, 3, 2, 5, 6])
    with pytest.raises(SourceUnavailableError, match="down"):
        read(pages_of(rows, 2, 2), 0)


def test_rows_of_one_value_do_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ascending, "_MOST_WAITING", 10)
    rows = [{"id": n, "at": 1} for n in range(30)]
    pages = ascending.AscendingPages("orders", "at", 0).read(pages_of(rows, 5, -1))
    assert next(pages) == rows[:5]
    assert [row for page in pages for row in page] == rows[5:]


@pytest.mark.parametrize(
    ("resource", "incremental", "params"),
    [
        ({}, {}, True),
        ({"write_disposition": "replace"}, {}, True),
        ({"write_disposition": {"disposition": "merge", "strategy": "scd2"}}, {}, True),
        ({"processing_steps": [{"map": "copy:copy"}]}, {}, True),
        ({}, {"row_order": "desc"}, True),
        ({}, {"row_order": None}, True),
        ({}, {"lag": 1}, True),
        ({}, {"end_value": 99}, True),
        ({}, {}, False),
    ],
)
def test_which_lists_may_be_cut(
    resource: dict[str, Any], incremental: dict[str, Any], params: bool
) -> None:
    """Where requests ask for what is behind the cursor, and a part of the rows does no harm."""
    by_number = {"cursor_path": "id", "initial_value": 0, "row_order": "asc"} | incremental
    endpoint = {
        "path": "link/orders",
        "incremental": {name: value for name, value in by_number.items() if value is not None},
        "params": {"from": "{incremental.start_value}"} if params else {},
    }
    with serving() as api:
        api.lists["orders"] = [{"id": n + 1} for n in range(4 * SIZE)]
        api.fault = lambda _, query: Reply(401) if query.get("page") == "3" else None
        config = RestApiConfig(
            client={"base_url": api.url},
            resources=({"name": "orders", "endpoint": "link/orders", **resource},),
            resource_defaults={"endpoint": endpoint},
            parallel=1,
            etags=False,
        )
        with (
            tempfile.TemporaryDirectory() as folder,
            findings.collecting(Path(folder), may_stop=True) as found,
        ):
            pages = iter(RestApiSource(config).open("orders"))
            if not resource and not incremental and params:
                assert [row["id"] for row in pages] == list(range(1, 2 * SIZE))
                assert isinstance(found.stop, findings.Stop)
            else:
                with pytest.raises(ResourceExtractionError):
                    list(pages)
                assert found.stop is None
