"""What GitHub really answers: blocked repositories, nulls, lists cut short, failed comparisons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

import millstream
from services.github import Fault, GitHubServer
from services.places import Place
from sources.github_kit import Row, issue, issues
from sources.test_github_identity import BOTH, config, counted, load
from sources.test_github_incremental import chain, commit, event, star

LATER = "2023-06-01T00:00:00Z"


@pytest.fixture(params=BOTH)
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.getfixturevalue(f"{request.param}_place")
    return made


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    with GitHubServer({}) as server:
        yield server


def organisation(server: GitHubServer, stream: str, rows: int = 3) -> None:
    """octo/a to octo/d, each with some rows."""
    for number, name in enumerate("abcd"):
        made: list[Row] = [
            star(100 * number + n)
            if stream == "stargazers"
            else {**issue(n), "id": 100 * number + n}
            for n in range(1, rows + 1)
        ]
        server.hub.put(f"octo/{name}", stream, *made)


def skipped(report: Any) -> list[tuple[str, str]]:
    return [(each.name, each.reason) for each in report.skipped]


@pytest.mark.nightly_on("postgres")
@pytest.mark.parametrize("stream", ["issues", "stargazers"])
def test_of_an_organisation_what_can_be_read(
    place: Place, server: GitHubServer, stream: str
) -> None:
    organisation(server, stream)
    key = "user_id" if stream == "stargazers" else "id"
    server.hub.blocked = {"octo/a": (451, "dmca"), "octo/b": (403, "tos")}
    server.faults.add(Fault(f"octo/c/{stream}", None, status=404, body='{"message": "Not Found"}'))
    report = load(place, server, stream)
    assert skipped(report) == [
        ("octo/a", "blocked"),
        ("octo/b", "blocked"),
        ("octo/c", "not found"),
    ]
    assert "reason: tos (403 Repository access blocked)" in report.skipped[1].detail
    assert counted(place, stream, key) == {("octo/d", 1003): 3}
    server.hub.blocked.clear()
    server.faults.clear()
    report = load(place, server, stream)
    assert skipped(report) == []
    assert sum(counted(place, stream, key).values()) == 12


def test_blocked_on_a_later_page(duckdb_place: Place, server: GitHubServer) -> None:
    """It is read again from its beginning once it is back."""
    organisation(server, "issues", rows=25)
    server.faults.add(Fault("1001/issues.*page=3", status=404, body='{"message": "Not Found"}'))
    report = load(duckdb_place, server, "issues", organization="octo", parallel=1)
    assert skipped(report) == [("octo/b", "not found")]
    load(duckdb_place, server, "issues")
    assert set(counted(duckdb_place, "issues", "id").values()) == {25}


@pytest.mark.parametrize(("status", "reason"), [(451, "dmca"), (403, "tos")])
def test_one_that_is_named_fails(
    duckdb_place: Place, server: GitHubServer, status: int, reason: str
) -> None:
    organisation(server, "issues")
    server.hub.blocked = {"octo/a": (status, reason)}
    with pytest.raises(Exception, match=rf"octo/A is blocked by GitHub, reason: {reason}"):
        load(duckdb_place, server, "issues", repositories=["octo/A"], organization="octo")


@pytest.mark.parametrize(
    "message", ["Resource not accessible by personal access token", "Must have admin rights"]
)
def test_a_missing_permission_is_no_block(
    duckdb_place: Place, server: GitHubServer, message: str
) -> None:
    organisation(server, "issues")
    body = json.dumps({"message": message})
    server.faults.add(Fault("octo/b/issues", None, status=403, body=body))
    with pytest.raises(Exception, match="does not let anyone read repository octo/b"):
        load(duckdb_place, server, "issues")


def test_dagster_shows_what_was_skipped(duckdb_place: Place, server: GitHubServer) -> None:
    organisation(server, "issues")
    server.hub.blocked = {"octo/a": (451, "dmca")}
    assets = millstream.step_assets(config(duckdb_place, server, "issues"))
    result = dg.materialize(assets)
    (event_,) = [
        each
        for each in result.get_asset_materialization_events()
        if "skipped" in each.step_materialization_data.materialization.metadata
    ]
    table = event_.step_materialization_data.materialization.metadata["skipped"]
    assert [record.data["part"] for record in table.records] == ["octo/a"]


@pytest.mark.nightly_on("postgres")
def test_a_suspended_accounts_star(place: Place, server: GitHubServer) -> None:
    """GitHub lists it with `user: null`; two of one second are two stars."""
    gone = [
        {"starred_at": f"2022-01-0{1 + n // 2}T00:00:00Z", "user": None, "gone": n}
        for n in range(3)
    ]
    server.faults.add(
        Fault("/stargazers", 2, status=200, body=json.dumps([star(1), *gone, None, star(2)]))
    )
    server.hub.put("octo/a", "stargazers", star(1), star(2))
    report = load(place, server, "stargazers")
    assert any("lists 1 row(s) as null" in text for text in report.warnings)
    assert report.quarantined == ()
    for _ in range(2):
        assert counted(place, "stargazers", "user_id") == {("octo/a", 1000): 5}
        found = place.query(
            f"SELECT COUNT(*) FROM {place.from_clause('stargazers')} WHERE user_id < 0 "
            "AND user__id IS NULL"
        )
        assert found == [(3,)]
        load(place, server, "stargazers")


NULLS: dict[str, list[Row]] = {
    "issues": [
        issue(1),
        issue(2, user=None, labels=None, assignees=None, milestone=None, pull_request=None),
        issue(3, labels=[None, {"id": 2, "name": None}], closed_at=None),
    ],
    "issue_comments": [{"id": 1, "user": None, "body": None, "updated_at": LATER}],
    "issue_events": [{"id": 1, "event": "closed", "actor": None, "created_at": None}],
    "pull_requests": [issue(1, user=None, head={"repo": None, "user": None}, labels=None)],
    "labels": [{"id": 1, "name": "bug", "description": None, "color": None}],
    "milestones": [{"id": 1, "creator": None, "due_on": None, "updated_at": LATER}],
    "releases": [{"id": 1, "author": None, "assets": None, "published_at": None}],
    "commits": [
        {**commit("c1", LATER), "author": None, "committer": None, "parents": None},
        {"sha": "c0", "commit": {"committer": None, "author": None}, "parents": [None]},
    ],
}


@pytest.mark.nightly_on("issue_comments", "issue_events", "labels", "releases")
@pytest.mark.parametrize("stream", NULLS)
def test_null_anywhere(duckdb_place: Place, server: GitHubServer, stream: str) -> None:
    server.hub.put("octo/a", stream, {"id": 0, "sha": "x", "user": {"id": 1}, "parents": []})
    path = {"issue_comments": "issues/comments", "issue_events": "issues/events",
            "pull_requests": "pulls"}.get(stream, stream)  # fmt: skip
    for _ in range(2):
        server.faults.clear()
        body = json.dumps(NULLS[stream])
        server.faults.add(Fault(f"/octo/a/{path}", None, status=200, body=body))
        report = load(duckdb_place, server, stream)
        assert report.quarantined == ()
        key = "sha" if stream == "commits" else "id"
        assert counted(duckdb_place, stream, key) == {("octo/a", 1000): len(NULLS[stream])}


def many(count: int) -> list[Row]:
    """Issues that changed in an order of their own."""
    return [
        issue(n, f"2023-01-01T{n * 7 % 24:02d}:{n * 11 % 60:02d}:{n * 13 % 60:02d}Z")
        for n in range(1, count + 1)
    ]


@pytest.mark.nightly_on("issue_comments")
@pytest.mark.parametrize("parallel", [1, 8])
@pytest.mark.parametrize("count", [40, pytest.param(70, marks=pytest.mark.nightly), 130])
@pytest.mark.parametrize("stream", ["issues", "issue_comments"])
def test_lists_that_github_cuts_are_read_in_another_order(
    duckdb_place: Place, server: GitHubServer, stream: str, count: int, parallel: int
) -> None:
    server.hub.put("octo/a", stream, *many(count))
    server.most_pages = 4
    report = load(duckdb_place, server, stream, organization="octo", parallel=parallel)
    assert (report.rows, report.warnings) == (count, ())
    assert counted(duckdb_place, stream, "id") == {("octo/a", 1000): count}
    assert load(duckdb_place, server, stream).rows <= 10  # its cursor is where it should be


@pytest.mark.nightly_on("postgres")
def test_both_ends_of_a_list_without_since(place: Place, server: GitHubServer) -> None:
    """Then those of open and of closed ones; what lies between them is reported."""
    for name, count in (("a", 75), ("b", 150), ("c", 180)):
        rows = [{**each, "id": 1000 * ord(name) + n} for n, each in enumerate(many(count))]
        server.hub.put(f"octo/{name}", "pull_requests", *rows)
    server.most_pages = 4
    report = load(place, server, "pull_requests")
    assert counted(place, "pull_requests", "id") == {
        ("octo/a", 1000): 75,
        ("octo/b", 1001): 150,
        ("octo/c", 1002): 160,
    }
    (told,) = report.warnings
    assert told.startswith(
        "repository octo/c: not all pull requests were read: open ones created between "
        "2020-01-01T01:19:00Z and 2020-01-01T01:41:00Z and closed ones created between "
        "2020-01-01T01:20:00Z and 2020-01-01T01:42:00Z are missing: "
    )


def test_more_changes_than_a_list_shows(duckdb_place: Place, server: GitHubServer) -> None:
    """A later run, which reads from the newest change on, and does not reach the last run's."""
    server.hub.put("octo/a", "pull_requests", *many(75))
    load(duckdb_place, server, "pull_requests")
    changed = [{**each, "updated_at": LATER, "title": "new"} for each in many(75)]
    server.hub.put("octo/a", "pull_requests", *changed)
    server.most_pages = 4
    assert load(duckdb_place, server, "pull_requests").warnings == ()
    found = duckdb_place.query(
        f"SELECT title, COUNT(*) FROM {duckdb_place.from_clause('pull_requests')} GROUP BY 1"
    )
    assert found == [("new", 75)]


def test_any_422_on_a_further_page(duckdb_place: Place, server: GitHubServer) -> None:
    server.hub.put("octo/a", "issues", *many(60))
    server.faults.add(Fault(r"page=[456]\b", None, status=422, body='{"message": "No"}'))
    assert load(duckdb_place, server, "issues").warnings == ()
    assert counted(duckdb_place, "issues", "id") == {("octo/a", 1000): 60}


@pytest.mark.parametrize("stream", ["stargazers", "issue_events"])
def test_what_no_order_shows_is_reported(
    duckdb_place: Place, server: GitHubServer, stream: str
) -> None:
    made = [star(n) if stream == "stargazers" else event(n) for n in range(100)]
    server.hub.put("octo/a", stream, *made)
    server.most_pages = 4
    report = load(duckdb_place, server, stream)
    assert report.rows == 40
    assert [f"not all {stream.replace('_', ' ')} were read" in t for t in report.warnings] == [True]


def test_commits_beyond_the_last_page(duckdb_place: Place, server: GitHubServer) -> None:
    branch = [commit(f"b{n:03d}", "2021-01-01T00:00:00Z", f"b{n - 1:03d}") for n in range(1, 30)]
    history = [*chain(60), commit("b000", "2021-01-01T00:00:00Z"), *branch]
    server.hub.put("octo/a", "commits", *history, commit("merge", LATER, "c059", "b029"))
    server.most_pages = 4
    report = load(duckdb_place, server, "commits")
    assert report.warnings == ()
    assert counted(duckdb_place, "commits", "sha") == {("octo/a", 1000): 91}


def test_the_cursor_that_github_gives(duckdb_place: Place, server: GitHubServer) -> None:
    server.hub.put("octo/a", "issues", *issues(100))
    server.cursors_from = 4
    report = load(duckdb_place, server, "issues")
    assert (report.rows, report.warnings) == (100, ())
    assert len(server.requests("/issues")) == 10


@pytest.mark.nightly_on("postgres")
@pytest.mark.parametrize(
    "status",
    [
        404,
        pytest.param(422, marks=pytest.mark.nightly),
        500,
        pytest.param(502, marks=pytest.mark.nightly),
    ],
)
def test_a_comparison_that_fails(place: Place, server: GitHubServer, status: int) -> None:
    server.hub.put("octo/a", "commits", *chain(5))
    load(place, server, "commits")
    old = commit("old", "2022-01-01T00:00:00Z", "c003")
    server.hub.put("octo/a", "commits", old, commit("merge", LATER, "c004", "old"))
    server.faults.add(Fault("/compare/", None, status=status))
    report = load(place, server, "commits")
    assert report.warnings == ()
    assert counted(place, "commits", "sha") == {("octo/a", 1000): 7}
    server.faults.clear()
    assert load(place, server, "commits").rows == 0


def test_a_comparison_that_is_not_whole(duckdb_place: Place, server: GitHubServer) -> None:
    """GitHub compares up to so many commits, and says how many there are."""
    server.hub.put("octo/a", "commits", *chain(5))
    load(duckdb_place, server, "commits")
    server.hub.put("octo/a", "commits", *chain(30))
    body = json.dumps({"total_commits": 25, "commits": chain(30)[20:]})
    server.faults.add(Fault("/compare/", None, status=200, body=body))
    load(duckdb_place, server, "commits")
    assert counted(duckdb_place, "commits", "sha") == {("octo/a", 1000): 30}


@pytest.mark.nightly_on("pull_requests")
@pytest.mark.parametrize("stream", ["issues", "commits", "pull_requests"])
def test_since_the_beginning_of_time(
    duckdb_place: Place, server: GitHubServer, stream: str
) -> None:
    """GitHub takes no such `since`."""
    server.faults.add(Fault("since=(19|0)", None, status=422, body='{"message": "Invalid"}'))
    server.hub.put("octo/a", stream, *(chain(5) if stream == "commits" else issues(5)))
    key = "sha" if stream == "commits" else "id"
    for since in ("1970-01-01", "0900-01-01", None):
        load(duckdb_place, server, stream, organization="octo", since=since)
        assert counted(duckdb_place, stream, key) == {("octo/a", 1000): 5}


STREAMS = ["issues", "pull_requests", "stargazers", "commits", "labels"]


@pytest.mark.nightly_on("pull_requests", "labels")
@pytest.mark.parametrize("stream", STREAMS)
def test_nothing_where_there_was_something(
    duckdb_place: Place, server: GitHubServer, stream: str
) -> None:
    rows = {"stargazers": [star(1)], "commits": chain(2), "labels": [{"id": 1, "name": "bug"}]}
    server.hub.put("octo/a", stream, *rows.get(stream, issues(2)))
    assert load(duckdb_place, server, stream).warnings == ()
    assert load(duckdb_place, server, stream).warnings == ()
    path = {"pull_requests": "pulls"}.get(stream, stream)
    server.faults.add(Fault(f"/octo/a/{path}", None, status=200, body="[]"))
    report = load(duckdb_place, server, stream)
    (told,) = report.warnings
    assert told.startswith(
        f"repository octo/a: GitHub shows no {stream.replace('_', ' ')} any more"
    )
    assert load(duckdb_place, server, stream).warnings == ()  # told once
    server.faults.clear()
    assert load(duckdb_place, server, stream).warnings == ()
    table = duckdb_place.query(f"SELECT COUNT(*) FROM {duckdb_place.from_clause(stream)}")
    assert table == [(len(rows.get(stream, issues(2))),)]


def test_a_full_refresh_that_finds_nothing(duckdb_place: Place, server: GitHubServer) -> None:
    server.hub.put("octo/a", "issues", *issues(2))
    load(duckdb_place, server, "issues")
    server.faults.add(Fault("/octo/a/issues", None, status=200, body="[]"))
    report = load(duckdb_place, server, "issues", full_refresh=True)
    (told,) = report.warnings
    assert told.startswith("table issues: the source has no rows any more; the full refresh")


def test_the_newest_issue_is_deleted(duckdb_place: Place, server: GitHubServer) -> None:
    """Nothing changed since the cursor; that is no news where others are there."""
    server.hub.put("octo/a", "issues", issue(1), issue(2, LATER))
    load(duckdb_place, server, "issues")
    server.hub.delete("octo/a", "issues", 1002)
    assert load(duckdb_place, server, "issues").warnings == ()
