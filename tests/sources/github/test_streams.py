"""Rows as they are loaded: with their repository, a key, and what GitHub says between the lines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.sources.github.state import Repository
from millstream.sources.github.streams import STREAMS, complete_rows, key, moment, parents

HERE = Repository("7", "a/b")


def finished(stream: str, *rows: dict[str, Any], repository: Repository = HERE) -> list[Any]:
    return complete_rows(stream, STREAMS[stream], repository, [dict(row) for row in rows])


@pytest.mark.parametrize("stream", STREAMS)
def test_each_row_has_its_repository_and_its_keys(stream: str) -> None:
    (row,) = finished(stream, {})
    assert (row["repository"], row["repository_id"]) == ("a/b", 7)
    assert {*STREAMS[stream].primary_key} <= row.keys()
    (elsewhere,) = finished(stream, {}, repository=Repository("a/b", "a/b"))
    assert "repository_id" not in elsewhere


def test_issues_and_pull_requests_are_told_apart() -> None:
    rows = finished("issues", {"id": 1}, {"id": 2, "pull_request": {}}, {"pull_request": None})
    assert [row["is_pull_request"] for row in rows] == [False, True, False]


@given(st.lists(st.tuples(st.none() | st.integers(1, 9), st.integers(0, 3)), max_size=9))
def test_stars_of_accounts_that_are_gone_have_keys_of_their_own(stars: Any) -> None:
    rows = finished(
        "stargazers",
        *(
            {"user": user and {"id": user}, "starred_at": f"2023-01-01T00:00:0{at}Z"}
            for user, at in stars
        ),
    )
    known = [row["user_id"] for row in rows if row["user"]]
    assert known == [user for user, _ in stars if user]
    others = [row["user_id"] for row in rows if not row["user"]]
    assert len({*others}) == len(others)
    assert all(number < 0 for number in others)


@pytest.mark.parametrize(
    ("stream", "row", "when"),
    [
        ("issues", {"updated_at": "x"}, "x"),
        ("issues", {"updated_at": 5}, None),
        ("labels", {"updated_at": "x"}, None),
        ("commits", {"commit": {"committer": {"date": "x"}}}, "x"),
        ("commits", {"commit": {"committer": None}}, None),
        ("commits", {"commit": None}, None),
    ],
)
def test_when_a_row_last_changed(stream: str, row: dict[str, Any], when: str | None) -> None:
    assert moment(STREAMS[stream], row) == when


def test_what_makes_a_row_the_same_on_another_page() -> None:
    row = {"id": 1, "sha": "abc", "user": {"id": 2}}
    assert [key(STREAMS[name], row) for name in ("issues", "commits", "stargazers")] == [
        1,
        "abc",
        2,
    ]
    assert [key(STREAMS[name], {}) for name in STREAMS] == [None] * len(STREAMS)
    commits = [{"parents": [{"sha": "a"}, {}, None]}, {"parents": None}, {}]
    assert parents(commits) == {"a"}
