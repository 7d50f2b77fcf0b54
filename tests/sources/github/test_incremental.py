"""Run after run of one stream: every change is read, and little else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.sources.github.incremental import Reading, Tracker, since
from millstream.sources.github.pagination import Page, Pager
from millstream.sources.github.state import Repository, RepositoryState
from millstream.sources.github.streams import STREAMS

from .in_memory import Lists, client_of, config, row

STREAM_PATHS = {
    "issues": "issues",
    "pull_requests": "pulls",
    "milestones": "milestones",
    "releases": "releases",
}


class Runs:
    """Runs of one stream on one state."""

    def __init__(self, stream: str, rows: list[dict[str, Any]]) -> None:
        self.lists = Lists(**{STREAM_PATHS[stream]: rows})
        self.rows = rows
        self.state: dict[str, Any] = {}
        self.stream = stream

    def run(self) -> list[int]:
        client = client_of(self.lists)
        pager = Pager(client, 2)
        reading = Reading(client, pager, config(), self.stream, STREAMS[self.stream])
        state = RepositoryState(self.state, Repository("7", "a/b"), None, 300)
        try:
            return [each["id"] for page in reading.read(state) for each in page]
        finally:
            pager.close()


def at(minute: int) -> str:
    return f"2023-01-{1 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00Z"


@settings(max_examples=25)
@pytest.mark.parametrize("stream", ["issues", "pull_requests", "milestones"])
@given(
    st.integers(0, 9),
    st.lists(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=4), max_size=3),
)
def test_each_change_is_read_by_the_next_run(
    stream: str, count: int, loads: list[list[tuple[int, bool]]]
) -> None:
    runs = Runs(stream, [row(n, at(n)) for n in range(count)])
    assert sorted(runs.run()) == list(range(count))
    clock = 100
    for changes in loads:
        changed = set()
        for number, is_new in changes:
            clock += 10
            if is_new or number >= len(runs.rows):
                runs.rows.append(row(len(runs.rows), at(clock)))
                changed.add(len(runs.rows) - 1)
            else:
                runs.rows[number]["updated_at"] = at(clock)
                changed.add(number)
        found = runs.run()
        assert changed <= {*found}
        assert len(found) == len({*found})


@pytest.mark.parametrize("stream", ["issues", "pull_requests"])
def test_a_run_without_changes_reads_next_to_nothing(stream: str) -> None:
    runs = Runs(stream, [row(n, at(n * 30)) for n in range(30)])
    runs.run()
    runs.run()
    before = len(runs.lists.asked)
    assert {*runs.run()} <= {29}
    assert len(runs.lists.asked) - before <= 2


def test_a_list_that_is_empty_of_a_sudden_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    runs = Runs("milestones", [row(1)])
    runs.run()
    runs.rows.clear()
    assert runs.run() == []
    assert "GitHub shows no milestones any more" in caplog.text


def test_what_a_list_showed_is_noted() -> None:
    tracker = Tracker(STREAMS["commits"])
    commits = [
        {
            "sha": sha,
            "parents": [{"sha": parent}, None],
            "commit": {"committer": {"date": at(minute)}},
        }
        for sha, parent, minute in (("c", "b", 7), ("b", "a", 3))
    ]
    tracker.note(Page(1, commits, True, 2, "", None, None, None, None, ["c", "b"]))
    assert (tracker.newest, tracker.oldest, tracker.rows) == (at(7), at(3), 2)
    assert (tracker.keys, tracker.parents, tracker.last) == ({"c", "b"}, {"b", "a"}, commits[1])


@pytest.mark.parametrize(
    ("start", "parameters"),
    [
        (None, {}),
        ("1970-01-01T00:00:00Z", {}),
        ("2008-01-01T00:00:00Z", {"since": "2008-01-01T00:00:00Z"}),
    ],
)
def test_github_takes_no_time_before_its_own(start: str | None, parameters: Any) -> None:
    assert since(start) == parameters
