"""Runs after the first: they neither lose nor double a row, whatever changes meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import pytest

from millstream.config import GitHubStream
from millstream.demo.generated import generate
from services.github import Fault, GitHubServer
from sources.github_kit import NOW_ISO, FakeClock, Row, Warehouse, issue, issues, rows, source

STREAMS: Sequence[str] = get_args(GitHubStream)
LATER = "2023-06-01T00:00:00Z"


def event(number: int, created: str = "2023-01-01T00:00:00Z") -> Row:
    return {"id": number, "event": "closed", "created_at": created, "actor": {"id": 1}}


def star(user: int) -> Row:
    return {"starred_at": "2022-01-01T00:00:00Z", "user": {"id": user, "login": f"u{user}"}}


def commit(sha: str, date: str, *parents: str) -> Row:
    person = {"name": "P", "date": date}
    return {
        "sha": sha,
        "commit": {"message": sha, "committer": person},
        "parents": [{"sha": parent} for parent in parents],
    }


def chain(count: int) -> list[Row]:
    dates = [f"2023-01-{1 + n // 24:02d}T{n % 24:02d}:00:00Z" for n in range(count)]
    return [
        commit(f"c{n:03d}", date, *([f"c{n - 1:03d}"] if n else [])) for n, date in enumerate(dates)
    ]


@pytest.mark.parametrize("stream", STREAMS)
def test_a_rerun_neither_loses_nor_doubles(
    warehouse: Warehouse, clock: FakeClock, stream: str
) -> None:
    data = generate("octo/hello", issues=45)
    with GitHubServer({"octo/hello": data}, clock=clock.now) as server:
        for _ in range(3):
            warehouse.load(source(server, streams=STREAMS, clock=clock), stream)
            assert warehouse.query(f"select count(*) from {stream}") == [(len(data[stream]),)]
    key = {"commits": "sha", "stargazers": "user_id"}.get(stream, "id")
    assert len(set(warehouse.column(key, stream))) == len(data[stream])
    assert set(warehouse.column("repository", stream)) == {"octo/hello"}
    child = warehouse.query("select count(*) from issues__labels") if stream == "issues" else None
    assert child in (None, [(sum(len(row["labels"]) for row in data["issues"]),)])


def test_updated_and_new_issues_arrive_and_only_they_are_read(
    warehouse: Warehouse, clock: FakeClock
) -> None:
    with GitHubServer(issues(50, updated=""), clock=clock.now) as server:
        warehouse.load(source(server, clock=clock))
        server.hub.put(
            "octo/hello",
            "issues",
            issue(7, LATER, title="changed", labels=[{"id": 2, "name": "new"}]),
            issue(51, LATER),
        )
        server.forget()
        warehouse.load(source(server, clock=clock))
        repository, asked = server.asked
    assert repository.status == 304
    assert asked.query["since"] == "2020-01-01T00:45:00Z"  # the cursor less the lag of 300 s
    assert warehouse.column("number") == list(range(1, 52))
    assert warehouse.query(
        "select title, (updated_at::varchar)[:10] from issues where number = 7"
    ) == [("changed", "2023-06-01")]
    labels = "select l.name from issues__labels l join issues i on l._dlt_parent_id = i._dlt_id"
    assert warehouse.query(f"{labels} where i.number = 7") == [("new",)]


@pytest.mark.parametrize(
    ("lag", "since"), [(0, "2023-01-01T00:00:00Z"), (60, "2022-12-31T23:59:00Z")]
)
def test_lag(warehouse: Warehouse, clock: FakeClock, lag: int, since: str) -> None:
    with GitHubServer(issues(3), clock=clock.now) as server:
        warehouse.load(source(server, clock=clock))
        warehouse.load(source(server, clock=clock, lag_seconds=lag))
        assert server.asked[-1].query["since"] == since


def test_the_cursor_stays_behind_the_servers_clock(warehouse: Warehouse, clock: FakeClock) -> None:
    late = "2023-11-14T22:30:00Z"  # changed after the first answer was given
    with GitHubServer([*issues(3), issue(4, late)], clock=clock.now) as server:
        warehouse.load(source(server, clock=clock))
    assert warehouse.state()["octo/hello"]["cursor"] == NOW_ISO


def test_an_update_while_paging_hides_no_other_row(warehouse: Warehouse, clock: FakeClock) -> None:
    with GitHubServer(issues(60), clock=clock.now) as server:
        change = issue(3, NOW_ISO, title="changed meanwhile")
        server.faults.add(
            Fault.during("page=4", lambda: server.hub.put("octo/hello", "issues", change))
        )
        warehouse.load(source(server, clock=clock, parallel=2))
        assert warehouse.column("number") == list(range(1, 61))
        warehouse.load(source(server, clock=clock))
    assert warehouse.column("title", where="number = 3") == ["changed meanwhile"]
    assert warehouse.column("number") == list(range(1, 61))


@pytest.mark.parametrize("parallel", [1, 2, 8])
def test_rows_that_enter_the_list_while_it_is_read(
    warehouse: Warehouse, clock: FakeClock, parallel: int
) -> None:
    """Old issues are touched while the changed ones are paged through: all others move."""
    with GitHubServer(issues(100, updated=""), clock=clock.now) as server:
        warehouse.load(source(server, clock=clock, lag_seconds=0))
        server.hub.put(
            "octo/hello", "issues", *[issue(n, LATER, title="2") for n in range(41, 101)]
        )
        touched = [issue(n, NOW_ISO, title="3") for n in range(1, 6)]
        server.faults.add(
            # held back, so that with several pages at a time page 4 is read before the move
            Fault.during(
                "page=3", lambda: server.hub.put("octo/hello", "issues", *touched), seconds=0.3
            )
        )
        warehouse.load(source(server, clock=clock, lag_seconds=0, parallel=parallel))
        assert warehouse.column("number", where="title = '2'") == list(range(41, 101))
        warehouse.load(source(server, clock=clock, lag_seconds=0))
    assert warehouse.column("number", where="title = '3'") == [1, 2, 3, 4, 5]
    assert warehouse.column("number") == list(range(1, 101))


def test_rows_that_leave_the_list_while_it_is_read(warehouse: Warehouse, clock: FakeClock) -> None:
    with GitHubServer(issues(100), clock=clock.now) as server:
        server.faults.add(
            Fault.during("page=3", lambda: server.hub.delete("octo/hello", "issues", 1005))
        )
        warehouse.load(source(server, clock=clock, parallel=2))
    # number 5 had been read; of the others none may be missing
    assert set(warehouse.column("number")) >= set(range(1, 101)) - {5}
    assert len(warehouse.column("number")) == len(set(warehouse.column("number")))


def test_of_two_versions_in_one_run_the_later_one_stays(
    warehouse: Warehouse, clock: FakeClock
) -> None:
    with GitHubServer(issues(40), clock=clock.now) as server:
        warehouse.load(source(server, clock=clock))
        changed = [issue(n, LATER, title="2") for n in range(1, 41)]
        server.hub.put("octo/hello", "issues", *changed)

        def again() -> None:  # forces a second read, in which number 2 is another version
            server.hub.put("octo/hello", "issues", issue(2, NOW_ISO, title="3", labels=[]))
            server.hub.delete("octo/hello", "issues", 1001)

        server.faults.add(Fault.during("page=3", again))
        warehouse.load(source(server, clock=clock, parallel=2))
    assert warehouse.column("title", where="number = 2") == ["3"]
    assert warehouse.query("select count(*) from issues where number = 2") == [(1,)]


@pytest.mark.parametrize("stream", ["pull_requests", "issue_events"])
def test_newest_first_while_rows_move(warehouse: Warehouse, clock: FakeClock, stream: str) -> None:
    """These lists have no `since`: what changes meanwhile comes to the front."""
    make: Any = issue if stream == "pull_requests" else event
    first = [make(n, f"2022-01-{1 + n // 2:02d}T00:00:00Z") for n in range(1, 41)]
    with GitHubServer({"octo/hello": {stream: first}}, clock=clock.now) as server:
        warehouse.load(source(server, streams=[stream], clock=clock), stream)
        new = [make(n, f"2023-06-01T00:00:{n % 60:02d}Z") for n in range(41, 81)]
        server.hub.put("octo/hello", stream, *new)
        late = [make(n, NOW_ISO) for n in range(81, 95)]
        server.faults.add(
            Fault.during("page=2", lambda: server.hub.put("octo/hello", stream, *late))
        )
        server.forget()
        warehouse.load(source(server, streams=[stream], clock=clock), stream)
        # ten pages if it read to the end; it stops at the first that is older than the cursor
        assert len(server.asked) <= 8
        known = set(range(1, 81)) if stream == "issue_events" else set(range(1001, 1081))
        assert set(warehouse.column("id", stream)) >= known
        warehouse.load(source(server, streams=[stream], clock=clock), stream)
    assert len(warehouse.column("id", stream)) == 94


def test_a_repository_added_later_gets_its_full_history(
    warehouse: Warehouse, clock: FakeClock
) -> None:
    data = {"octo/new": {"issues": [{**issue(n), "id": n} for n in range(1, 26)]}}
    with GitHubServer({"octo/hello": {"issues": issues(12)}, **data}, clock=clock.now) as server:
        warehouse.load(source(server, "octo/hello", clock=clock))
        server.forget()
        warehouse.load(source(server, "octo/hello", "octo/new", clock=clock))
        assert {asked.path for asked in server.asked[:2]} == {
            "/repos/octo/hello",
            "/repos/octo/new",
        }
    assert warehouse.query("select repository, count(*) from issues group by 1 order by 1") == [
        ("octo/hello", 12),
        ("octo/new", 25),
    ]


def test_spelling_of_a_repository_does_not_double_rows(
    warehouse: Warehouse, clock: FakeClock
) -> None:
    data = {"octo/hello": {"stargazers": [star(n) for n in range(15)]}}
    with GitHubServer(data, clock=clock.now) as server:
        for name in ("octo/hello", "Octo/Hello"):
            warehouse.load(
                source(server, name, streams=["stargazers"], clock=clock, per_page=20), "stargazers"
            )
    assert len(warehouse.column("user_id", "stargazers")) == 15


def test_an_earlier_since_loads_what_was_left_out(warehouse: Warehouse, clock: FakeClock) -> None:
    old = issues(20, "2021-01-01T00:00:00Z")
    new = [issue(n, "2023-01-01T00:00:00Z") for n in range(21, 31)]
    with GitHubServer([*old, *new], clock=clock.now) as server:
        warehouse.load(source(server, clock=clock, since="2022-01-01"))
        assert warehouse.column("number") == list(range(21, 31))
        warehouse.load(source(server, clock=clock, since="2022-01-01"))
        assert len(warehouse.column("number")) == 10
        warehouse.load(source(server, clock=clock))
    assert warehouse.column("number") == list(range(1, 31))


def test_a_later_since_and_back_again(warehouse: Warehouse, clock: FakeClock) -> None:
    with GitHubServer(issues(5), clock=clock.now) as server:
        warehouse.load(source(server, clock=clock))
        server.hub.put("octo/hello", "issues", issue(6, "2023-02-01T00:00:00Z"))
        warehouse.load(source(server, clock=clock, since="2023-03-01"))
        assert warehouse.column("number") == [1, 2, 3, 4, 5]
        warehouse.load(source(server, clock=clock))
    assert warehouse.column("number") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("stream", ["milestones", "stargazers", "releases", "pull_requests"])
def test_since_where_the_api_has_none(clock: FakeClock, stream: str) -> None:
    data = generate("octo/hello", issues=45)
    with GitHubServer({"octo/hello": data}, clock=clock.now) as server:
        everything = rows(source(server, streams=[stream], clock=clock), stream)
        time = {"stargazers": "starred_at", "releases": "published_at"}.get(stream, "updated_at")
        middle = sorted(row[time] for row in everything)[len(everything) // 2]
        found = rows(source(server, streams=[stream], clock=clock, since=middle), stream)
    expected = [row[time] for row in everything if row[time] >= middle]
    assert sorted(row[time] for row in found) == sorted(expected)
    assert len(found) < len(everything)


def test_a_failed_run_moves_no_cursor(warehouse: Warehouse, clock: FakeClock) -> None:
    with GitHubServer(issues(30), clock=clock.now) as server:
        warehouse.load(source(server, clock=clock))
        before = warehouse.state()
        server.hub.put("octo/hello", "issues", *[issue(n, LATER) for n in range(1, 41)])
        server.faults.add(Fault(match="page=3", status=500, times=5))
        with pytest.raises(Exception, match="failed 5 times"):
            warehouse.load(source(server, clock=clock))
        assert warehouse.state() == before
        warehouse.load(source(server, clock=clock))
    assert warehouse.column("number") == list(range(1, 41))
    assert set(warehouse.column("(updated_at::varchar)[:10]")) == {"2023-06-01"}


def test_full_refresh_replaces_and_begins_anew(warehouse: Warehouse, clock: FakeClock) -> None:
    with GitHubServer(issues(30), clock=clock.now) as server:
        warehouse.load(source(server, clock=clock))
        server.hub.delete("octo/hello", "issues", 1009)
        warehouse.load(source(server, clock=clock))
        assert len(warehouse.column("number")) == 30  # the API does not tell of deleted issues
        warehouse.load(source(server, clock=clock), full_refresh=True)
        assert len(warehouse.column("number")) == 29
        assert warehouse.query("select count(*) from issues__labels") == [(14,)]
        server.hub.put("octo/hello", "issues", issue(31, LATER))
        warehouse.load(source(server, clock=clock))
    assert len(warehouse.column("number")) == 30


def test_full_refresh_doubles_no_row_that_moved(warehouse: Warehouse, clock: FakeClock) -> None:
    data = {"octo/hello": {"issue_events": [event(n) for n in range(1, 41)]}}
    with GitHubServer(data, clock=clock.now) as server:
        new = [event(n, LATER) for n in range(41, 46)]
        server.faults.add(
            Fault.during("page=2", lambda: server.hub.put("octo/hello", "issue_events", *new))
        )
        warehouse.load(
            source(server, streams=["issue_events"], clock=clock, parallel=1),
            "issue_events",
            full_refresh=True,
        )
    found = warehouse.column("id", "issue_events")
    assert found == sorted(set(found))
    assert set(found) >= set(range(1, 41))


def test_full_refresh_ignores_etags(warehouse: Warehouse, clock: FakeClock) -> None:
    data = {"octo/hello": {"stargazers": [star(n) for n in range(25)]}}
    with GitHubServer(data, clock=clock.now) as server:
        load = source(server, streams=["stargazers"], clock=clock)
        warehouse.load(load, "stargazers")
        warehouse.load(load, "stargazers", full_refresh=True)
        assert not any(asked.conditional for asked in server.asked)
    assert len(warehouse.column("user_id", "stargazers")) == 25


def test_full_refresh_of_what_is_empty_now_empties(warehouse: Warehouse, clock: FakeClock) -> None:
    with GitHubServer(issues(2), clock=clock.now) as server:
        warehouse.load(source(server, clock=clock))
        server.hub.delete("octo/hello", "issues", 1001)
        server.hub.delete("octo/hello", "issues", 1002)
        warehouse.load(source(server, clock=clock), full_refresh=True)
    assert warehouse.column("number") == []


def test_unchanged_pages_cost_nothing(warehouse: Warehouse, clock: FakeClock) -> None:
    data = {"octo/hello": {"stargazers": [star(n) for n in range(35)]}}
    with GitHubServer(data, clock=clock.now) as server:
        load = source(server, streams=["stargazers"], clock=clock)
        warehouse.load(load, "stargazers")
        used = server.used
        server.forget()
        warehouse.load(load, "stargazers")
        assert [asked.status for asked in server.asked] == [304] * 5
        assert server.used == used
        server.hub.put("octo/hello", "stargazers", star(99))  # onto the last page
        server.forget()
        warehouse.load(load, "stargazers")
        assert sorted(asked.status for asked in server.asked) == [200, 304, 304, 304, 304]
    assert len(warehouse.column("user_id", "stargazers")) == 36


def test_an_unchanged_full_page_may_have_got_a_page_behind_it(
    warehouse: Warehouse, clock: FakeClock
) -> None:
    for count in (10, 20):  # one page, which came without links; two, where the last is full
        data = {"octo/hello": {"stargazers": [star(n) for n in range(count)]}}
        with GitHubServer(data, clock=clock.now, port=0) as server:
            load = source(server, streams=["stargazers"], clock=clock)
            warehouse.load(load, "stargazers", full_refresh=True)
            new = [star(n) for n in range(100, 125)]
            server.hub.put("octo/hello", "stargazers", *new)
            warehouse.load(load, "stargazers")
        assert len(warehouse.column("user_id", "stargazers")) == count + 25


def test_etags_of_other_page_sizes_are_not_used(warehouse: Warehouse, clock: FakeClock) -> None:
    data = {"octo/hello": {"stargazers": [star(n) for n in range(25)]}}
    with GitHubServer(data, clock=clock.now) as server:
        for size in (10, 5):
            load = source(server, streams=["stargazers"], clock=clock, per_page=size)
            warehouse.load(load, "stargazers")
        assert not any(asked.conditional for asked in server.requests("/stargazers"))


def test_etags_of_a_repository_are_bounded(warehouse: Warehouse, clock: FakeClock) -> None:
    data = {"octo/hello": {"stargazers": [star(n) for n in range(150)]}}
    with GitHubServer(data, clock=clock.now) as server:
        load = source(server, streams=["stargazers"], clock=clock, per_page=2)
        warehouse.load(load, "stargazers")
        assert len(warehouse.state("stargazers")["octo/hello"]["etags"]["pages"]) == 50
        warehouse.load(load, "stargazers")
    assert len(warehouse.column("user_id", "stargazers")) == 150


def test_issues_unchanged_since_the_last_run_cost_nothing(
    warehouse: Warehouse, clock: FakeClock
) -> None:
    with GitHubServer(issues(25), clock=clock.now) as server:
        for _ in range(2):
            warehouse.load(source(server, clock=clock))
        used = server.used
        warehouse.load(source(server, clock=clock))
        assert server.used == used
    assert warehouse.column("number") == list(range(1, 26))


def test_commits_of_a_branch_merged_later_are_found(warehouse: Warehouse, clock: FakeClock) -> None:
    base = chain(30)
    with GitHubServer({"octo/hello": {"commits": base}}, clock=clock.now) as server:
        load = source(server, streams=["commits"], clock=clock)
        warehouse.load(load, "commits")
        branch = commit("old", "2022-01-01T00:00:00Z", "c003")  # long before the last run
        server.hub.put("octo/hello", "commits", branch, commit("merge", LATER, "c029", "old"))
        server.forget()
        warehouse.load(load, "commits")
        assert len(server.asked) == 4  # the repository, the head, and a comparison
    assert warehouse.column("sha", "commits") == [*(f"c{n:03d}" for n in range(30)), "merge", "old"]


def test_commits_after_history_was_rewritten(warehouse: Warehouse, clock: FakeClock) -> None:
    with GitHubServer({"octo/hello": {"commits": chain(3)}}, clock=clock.now) as server:
        load = source(server, streams=["commits"], clock=clock)
        warehouse.load(load, "commits")
        server.hub.delete("octo/hello", "commits", "c002")
        server.hub.put("octo/hello", "commits", commit("new", LATER, "c001"))
        warehouse.load(load, "commits")
    assert warehouse.column("sha", "commits") == ["c000", "c001", "c002", "new"]


def test_commits_of_an_empty_repository(warehouse: Warehouse, clock: FakeClock) -> None:
    with GitHubServer({"octo/hello": {"commits": []}}, clock=clock.now) as server:
        load = source(server, streams=["commits"], clock=clock)
        warehouse.load(load, "commits")
        server.hub.put("octo/hello", "commits", *chain(2))
        warehouse.load(load, "commits")
    assert warehouse.column("sha", "commits") == ["c000", "c001"]
