"""A window of time: each row that last changed in it, once, however the list is cut or moves."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millstream.errors import ConfigError, SourceDataError
from millstream.model import Partition
from millstream.sources.github.incremental import Reading
from millstream.sources.github.pagination import Pager
from millstream.sources.github.state import Repository, RepositoryState, to_iso
from millstream.sources.github.streams import STREAMS
from millstream.sources.github.time_windows import Window, check, read

from .in_memory import Lists, client_of, config, row

START = datetime(2023, 1, 1, tzinfo=timezone.utc)
seconds = st.integers(-3, 12)


def iso(second: int) -> str:
    return to_iso(START + timedelta(seconds=second))


def window_of(length: int) -> Partition:
    return Partition("w", None, start=START, end=START + timedelta(seconds=length), timezone="UTC")


def rows_of(lists: Lists, partition: Partition, stream: str = "issues") -> list[int]:
    client = client_of(lists)
    pager = Pager(client, 2)
    reading = Reading(client, pager, config(), stream, STREAMS[stream])
    state = RepositoryState({}, Repository("7", "a/b"), None, 0)
    try:
        return [each["id"] for page in read(reading, state, partition) for each in page]
    finally:
        pager.close()


@settings(max_examples=40)
@given(st.lists(seconds, max_size=25), st.integers(1, 10))
@example([0] * 20, 1)  # more of one second than many pages hold
@example([0, 0, 0, 1, 1, 1, 1, 9], 9)
def test_each_row_of_the_window_is_read_once(times: list[int], length: int) -> None:
    lists = Lists(issues=[row(n, iso(at)) for n, at in enumerate(times)])
    found = rows_of(lists, window_of(length))
    assert sorted(found) == [n for n, at in enumerate(times) if 0 <= at < length]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=14), st.sets(st.integers(1, 8)))
@example([0, 0, 0, 0, 1, 1, 1, 1], {1, 2, 4})  # a page shows nothing new, and yet one is hidden
def test_a_row_that_changes_meanwhile_hides_no_other(times: list[int], at: set[int]) -> None:
    """A change moves a row to the end of the list, out of the window, and pulls others forward."""
    lists = Lists(issues=[row(n, iso(second)) for n, second in enumerate(times)])
    rows = lists.lists["/repos/a/b/issues"]

    def change(number: int) -> None:
        if number in at:
            rows[number % len(rows)]["updated_at"] = iso(100)

    lists.before_answer = change
    found = rows_of(lists, window_of(6))
    assert len(found) == len({*found})
    stays = {each["id"] for each in rows if each["updated_at"] < iso(6)}
    assert stays <= {*found}


@given(st.lists(st.tuples(st.integers(0, 5) | st.none(), seconds), max_size=12))
def test_a_window_knows_its_rows(rows: list[tuple[int | None, int]]) -> None:
    window = Window(STREAMS["issues"], iso(0), iso(5))
    expected, seen = [], set()
    for number, at in rows:
        inside = 0 <= at < 5
        if inside and (number is None or number not in seen):
            expected.append((number, at))
            seen.add(number)
    found = []
    for number, at in rows:
        (*new,) = window.new([row(number, iso(at))])  # type: ignore[arg-type]
        found += [(number, at)] if new else []
    assert found == expected
    assert window.knows([row(number, iso(at)) for number, at in expected])  # type: ignore[arg-type]
    assert not window.knows([row(99, iso(1))])


def test_rows_without_a_time() -> None:
    releases = Window(STREAMS["releases"], iso(0), iso(5))
    draft = {"id": 1, "published_at": None, "created_at": iso(2)}
    assert releases.new([draft]) == [draft]
    with pytest.raises(SourceDataError, match="tells no time: 'updated_at' is None"):
        Window(STREAMS["issues"], iso(0), iso(5)).new([{"id": 1, "updated_at": None}])


@pytest.mark.parametrize(
    ("stream", "partition", "message"),
    [
        ("issues", Partition("eu", None, value="eu"), "can't be partitioned by keys"),
        ("labels", window_of(5), "they bear no time"),
        ("commits", window_of(5), "a merge brings commits"),
        ("issues", Partition("w", "closed_at", start=START, end=START), "by 'updated_at' alone"),
    ],
)
def test_streams_without_windows(stream: str, partition: Partition, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(stream, STREAMS[stream], partition)
    check("issues", STREAMS["issues"], window_of(5))
