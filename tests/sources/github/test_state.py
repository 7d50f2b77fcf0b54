"""What a stream remembers of a repository: a cursor that never skips, and ETags of its pages."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.errors import ConfigError
from millstream.sources.github.state import (
    MAX_TAGGED_PAGES,
    PageTags,
    Repository,
    RepositoryState,
    from_iso,
    had_rows,
    migrate,
    to_iso,
)

REPOSITORY = Repository("7", "octo/hello")
FIRST = datetime(2023, 1, 1, tzinfo=timezone.utc)
hours = st.integers(0, 24 * 30)


def iso(hour: int) -> str:
    return to_iso(FIRST + timedelta(hours=hour))


def opened(state: dict[str, Any], since: str | None = None, lag: int = 300) -> RepositoryState:
    return RepositoryState(state, REPOSITORY, since, lag)


@given(st.datetimes(datetime(1970, 1, 1), timezones=st.just(timezone.utc)))
def test_times_are_read_as_they_are_written(moment: datetime) -> None:
    assert from_iso(to_iso(moment)) == moment.replace(microsecond=0)
    local = moment.astimezone(timezone(timedelta(hours=-7))) if moment.year > 1970 else moment
    assert to_iso(local) == to_iso(moment)


@given(st.lists(st.tuples(hours, hours, st.integers(0, 7200)), min_size=1, max_size=6))
@example([(10, 5, 0)])
def test_no_run_begins_behind_what_may_have_been_missed(runs: list[tuple[int, int, int]]) -> None:
    """Each run sees changes up to an hour, while its first answer was served at another."""
    stored: dict[str, Any] = {}
    safe = ""  # everything before it was loaded
    for newest, served, lag in runs:
        state = opened(stored, lag=lag)
        assert (state.start or "") <= safe
        if safe:
            assert state.start is not None
            assert from_iso(safe) - from_iso(state.start) <= timedelta(seconds=lag)
        state.commit(newest=iso(newest), served_at=FIRST + timedelta(hours=served))
        safe = max(safe, min(iso(newest), iso(served)))
    assert stored["repositories"]["7"]["cursor"] == safe


def test_nothing_is_kept_before_the_commit() -> None:
    stored: dict[str, Any] = {}
    state = opened(stored)
    state.cursor = iso(5)
    assert stored == {"repositories": {}}
    state.commit(head="abc")
    assert stored["repositories"]["7"]["head"] == "abc"
    opened(stored).commit()
    assert stored["repositories"]["7"]["head"] == "abc"


@pytest.mark.parametrize(
    ("first", "later", "start"),
    [
        (None, None, iso(100)),
        (iso(50), iso(50), iso(100)),
        (iso(50), iso(10), iso(10)),  # older rows are asked for: from the beginning
        (iso(50), None, None),
        (None, iso(50), iso(100)),
        (iso(50), iso(200), iso(200)),
    ],
)
def test_since_may_be_moved(first: str | None, later: str | None, start: str | None) -> None:
    stored: dict[str, Any] = {}
    opened(stored, first, lag=0).commit(newest=iso(100))
    assert opened(stored, later, lag=0).start == start


def test_since_that_jumps_over_the_cursor_leaves_a_gap_to_fill() -> None:
    stored: dict[str, Any] = {}
    opened(stored, None, lag=0).commit(newest=iso(10))
    opened(stored, iso(50), lag=0).commit(newest=iso(60))
    assert opened(stored, iso(20), lag=0).start == iso(20)  # 20 to 50 was never read


def test_etags_are_kept_up_to_the_first_page_without_one() -> None:
    stored: dict[str, Any] = {}
    tags = PageTags("http://x?per_page=3", "http://x?page=60")
    for number in range(1, 61):
        tags.note(number, None if number == 40 else f'"{number}"', 3)
    opened(stored).commit(tags=tags)
    again = opened(stored).tags
    assert again is not None
    assert (again.url, again.link) == (tags.url, tags.link)
    assert again.pages == {n: (f'"{n}"', 3) for n in range(1, 40)}
    assert max(tags.pages) == MAX_TAGGED_PAGES
    opened(stored).commit(tags=PageTags())
    assert opened(stored).tags is None


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, False),
        ({"rows": True}, True),
        ({"rows": False, "cursor": "x"}, False),
        ({"cursor": "x"}, True),
        ({"etags": {"pages": [["a", 0]]}}, False),
        ({"etags": {"pages": [["a", 0], ["b", 2]]}}, True),
    ],
)
def test_whether_a_repository_had_rows(entry: dict[str, Any], expected: bool) -> None:
    assert had_rows(entry) == expected


def test_state_of_version_1_waits_for_its_numbers() -> None:
    state: dict[str, Any] = {"repositories": {"octo/hello": {"cursor": "x"}, "7": {"cursor": "y"}}}
    migrate(state)
    once = {key: dict(value) if isinstance(value, dict) else value for key, value in state.items()}
    migrate(state)
    assert state == once
    assert state["repositories"] == {"7": {"cursor": "y"}}
    assert state["by_name"] == {"octo/hello": {"cursor": "x"}}
    with pytest.raises(ConfigError, match="has version 3; this Millstream knows 2"):
        migrate({"version": 3})


@pytest.mark.parametrize(("id_", "number"), [("7", 7), ("octo/hello", None), ("²", None)])
def test_the_number_of_a_repository(id_: str, number: int | None) -> None:
    assert Repository(id_, "octo/hello").number == number
