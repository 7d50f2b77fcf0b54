"""Runs while repositories are renamed, transferred and replaced: a number identifies each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from millstream.config import DltConfig, PipelineConfig
from millstream.demo.github_server import GitHubServer
from millstream.model import RunReport
from millstream.runs.runner import run
from services import processes
from services.places import NAME, Place
from sources.github_kit import issue
from sources.test_github_incremental import chain, commit, star

BOTH = ["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]


ALL = [*BOTH, pytest.param("bigquery", marks=pytest.mark.xdist_group("bigquery"))]


# what is kept is the same in both: one rename and one state of version 1 are seen in both each time
@pytest.fixture(
    params=[
        "duckdb",
        pytest.param("postgres", marks=[pytest.mark.xdist_group("postgres"), pytest.mark.nightly]),
    ]
)
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.getfixturevalue(f"{request.param}_place")
    return made


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    with GitHubServer({}) as server:
        yield server


def config(place: Place, server: GitHubServer, *streams: str, **source: Any) -> PipelineConfig:
    where = {} if source else {"organization": "octo"}
    return PipelineConfig.model_validate(
        {
            "name": NAME,
            "source": {
                "type": "github",
                "base_url": server.url,
                "streams": streams,
                "per_page": 10,
                **where,
                **source,
            },
            "destination": {**place.destination},
            "project": str(place.project),
        }
    )


def load(place: Place, server: GitHubServer, stream: str, **source: Any) -> RunReport:
    refresh = source.pop("full_refresh", False)
    return run(config(place, server, stream, **source), stream, full_refresh=refresh)


def counted(place: Place, table: str, key: str) -> dict[tuple[Any, Any], int]:
    """The rows of each repository, each of which must be there once."""
    rows = place.query(
        f"SELECT repository, repository_id, COUNT(*), COUNT(DISTINCT {key}) "
        f"FROM {place.from_clause(table)} GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert all(count == distinct for *_, count, distinct in rows), rows
    return {(name, number): count for name, number, count, _ in rows}


@pytest.mark.nightly_on("bigquery")
@pytest.mark.parametrize("place", ALL, indirect=True)
def test_a_rename_in_an_organisation(place: Place, server: GitHubServer) -> None:
    server.hub.put("octo/old", "commits", *chain(5))
    server.hub.put("octo/old", "stargazers", *[star(n) for n in range(5)])
    for stream in ("commits", "stargazers"):
        load(place, server, stream)
    server.hub.rename("octo/old", "octo/new")
    server.hub.put("octo/new", "commits", commit("c5", "2023-06-01T00:00:00Z", "c004"))
    server.hub.put("octo/new", "stargazers", star(5))
    server.forget()
    reports = [load(place, server, stream) for stream in ("commits", "stargazers")]
    assert len(server.requests("/compare/")) == 2  # it went on where it was
    assert reports[0].rows == 1
    assert "repository octo/old is called octo/new now" in reports[0].warnings
    assert counted(place, "commits", "sha") == {("octo/new", 1000): 6}
    assert counted(place, "stargazers", "user_id") == {("octo/new", 1000): 6}


def test_a_new_repository_takes_over_the_name(place: Place, server: GitHubServer) -> None:
    server.hub.put("octo/hello", "issues", issue(1), issue(2))
    load(place, server, "issues")
    server.hub.rename("octo/hello", "octo/archive")
    older = [{**issue(n, "2021-01-01T00:00:00Z"), "id": n} for n in (1, 2, 3)]
    server.hub.put("octo/hello", "issues", *older)
    load(place, server, "issues")
    expected = {("octo/archive", 1000): 2, ("octo/hello", 1001): 3}
    assert counted(place, "issues", "id") == expected
    load(place, server, "issues")
    assert counted(place, "issues", "id") == expected


def test_the_name_of_one_that_is_named_is_taken(place: Place, server: GitHubServer) -> None:
    """Nobody configures the old one by its new name; its rows must not pass for the new one's."""
    server.hub.put("octo/hello", "stargazers", star(1), star(2))
    names = {"repositories": ["octo/hello"]}
    load(place, server, "stargazers", **names)
    server.hub.rename("octo/hello", "else/where")
    server.hub.put("octo/hello", "stargazers", star(2), star(3))
    report = load(place, server, "stargazers", **names)
    assert "repository octo/hello is called else/where now" in report.warnings
    assert counted(place, "stargazers", "user_id") == {
        ("else/where", 1000): 2,
        ("octo/hello", 1001): 2,
    }


def test_one_that_is_deleted_and_made_again(place: Place, server: GitHubServer) -> None:
    server.hub.put("octo/hello", "stargazers", star(1), star(2))
    server.hub.put("octo/hello", "commits", *chain(3))
    for stream in ("stargazers", "commits"):
        load(place, server, stream)
    server.hub.remove("octo/hello")
    server.hub.put("octo/hello", "stargazers", star(2), star(3))
    server.hub.put("octo/hello", "commits", *chain(5)[1:])
    warnings = [load(place, server, stream).warnings for stream in ("stargazers", "commits")]
    assert ["is another repository than before" in text for (text,) in warnings] == [True, True]
    # what both have is there once, as the new one's
    assert counted(place, "stargazers", "user_id") == {
        ("octo/hello", 1000): 1,
        ("octo/hello", 1001): 2,
    }
    assert counted(place, "commits", "sha") == {("octo/hello", 1000): 1, ("octo/hello", 1001): 4}
    assert load(place, server, "commits").warnings == ()


def test_a_server_with_numbers_of_its_own(duckdb_place: Place) -> None:
    """Another address with the same names is the same GitHub; with other names it is not."""
    place = duckdb_place
    rows = {"octo/a": {"commits": chain(3)}, "octo/b": {"commits": chain(4)}}
    with GitHubServer(rows) as server:
        load(place, server, "commits")
    with GitHubServer(rows) as server:
        assert load(place, server, "commits").rows == 0
    with GitHubServer({"octo/z": {"commits": chain(5)}, **rows}) as server:
        report = load(place, server, "commits", repositories=["octo/z"])
    assert report.warnings == ()
    assert counted(place, "commits", "sha") == {
        ("octo/a", 1000): 3,
        ("octo/b", 1001): 4,
        ("octo/z", 1000): 5,
    }


def test_two_repositories_that_swap_names(place: Place, server: GitHubServer) -> None:
    server.hub.put("octo/a", "commits", *chain(3))
    server.hub.put("octo/b", "commits", *chain(4))
    load(place, server, "commits")
    for old, new in (("octo/a", "octo/c"), ("octo/b", "octo/a"), ("octo/c", "octo/b")):
        server.hub.rename(old, new)
    server.hub.put("octo/a", "commits", commit("new", "2023-06-01T00:00:00Z", "c003"))
    load(place, server, "commits")
    assert counted(place, "commits", "sha") == {("octo/a", 1001): 5, ("octo/b", 1000): 3}


def test_one_repository_by_two_names_and_any_case(place: Place, server: GitHubServer) -> None:
    server.hub.put("octo/hello", "commits", *chain(3))
    load(place, server, "commits", repositories=["Octo/HELLO"])
    server.hub.rename("octo/hello", "octo/Renamed")
    names = ["octo/hello", "octo/renamed", "OCTO/Hello"]
    load(place, server, "commits", repositories=names, organization="octo")
    report = load(place, server, "commits", repositories=["octo/hello"])
    assert report.warnings == ()
    assert counted(place, "commits", "sha") == {("octo/Renamed", 1000): 3}


def test_a_repository_leaves_the_organisation(place: Place, server: GitHubServer) -> None:
    server.hub.put("octo/a", "commits", *chain(2))
    server.hub.put("octo/b", "commits", *chain(3))
    load(place, server, "commits")
    server.hub.rename("octo/b", "other/b")
    told = load(place, server, "commits").warnings
    assert ["does not list octo/b any more" in text for text in told] == [True]
    assert load(place, server, "commits").warnings == ()
    server.hub.rename("other/b", "octo/back")
    load(place, server, "commits")
    assert counted(place, "commits", "sha") == {("octo/a", 1000): 2, ("octo/back", 1001): 3}


@pytest.mark.parametrize("place", BOTH, indirect=True)
def test_state_by_name_is_taken_over(place: Place, server: GitHubServer) -> None:
    """Rows and state of version 1; meanwhile one repository of two was renamed."""
    shas = [row["sha"] for row in chain(5)]
    old = config(place, server, "commits").model_copy(
        update={
            "source": DltConfig(
                path="sources.version_1:commits",
                arguments={"names": {"Octo/A": shas[:3], "octo/b": shas}},
            )
        }
    )
    assert run(old, "commits").rows == 8
    server.hub.put("octo/a", "commits", *chain(5))
    server.hub.put("octo/b", "commits", *chain(5))
    server.hub.rename("octo/b", "octo/new")
    load(place, server, "commits")
    assert counted_by_name(place) == [("octo/a", 5), ("octo/new", 5)]
    load(place, server, "commits")
    assert counted(place, "commits", "sha") == {("octo/a", 1000): 5, ("octo/new", 1001): 5}
    server.forget()
    assert load(place, server, "commits").rows == 0
    assert server.requests("/repos/octo/b") == []  # asked once


def counted_by_name(place: Place) -> list[tuple[Any, ...]]:
    return place.query(
        f"SELECT repository, COUNT(*) FROM {place.from_clause('commits')} GROUP BY 1 ORDER BY 1"
    )


def test_files_keep_the_name_that_rows_came_with(
    filesystem_place: Place, server: GitHubServer
) -> None:
    """Parquet files can't be updated: the number says that both names are one repository."""
    place = filesystem_place
    server.hub.put("octo/old", "commits", *chain(5))
    load(place, server, "commits")
    server.hub.rename("octo/old", "octo/new")
    server.hub.put("octo/new", "commits", commit("c5", "2023-06-01T00:00:00Z", "c004"))
    report = load(place, server, "commits")
    assert any("filesystem can't update rows" in text for text in report.warnings)
    assert counted(place, "commits", "sha") == {("octo/new", 1000): 1, ("octo/old", 1000): 5}


def test_a_run_that_dies_after_a_rename(
    duckdb_place: Place, server: GitHubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run finishes its package, rename and report included."""
    place = duckdb_place
    server.hub.put("octo/old", "stargazers", *[star(n) for n in range(3)])
    load(place, server, "stargazers")
    server.hub.rename("octo/old", "octo/new")
    server.hub.put("octo/new", "stargazers", star(3))
    with monkeypatch.context() as patch:
        patch.setattr("millstream.runs.stages.loading._send", _die)
        with pytest.raises(Exception, match="killed"):
            load(place, server, "stargazers")
    report = load(place, server, "stargazers")
    assert "repository octo/old is called octo/new now" in report.warnings
    assert counted(place, "stargazers", "user_id") == {("octo/new", 1000): 4}


def _die(*_: object) -> None:
    raise OSError("killed")


def test_the_command_line_tells_of_it(duckdb_place: Place, server: GitHubServer) -> None:
    place = duckdb_place
    server.hub.put("octo/old", "commits", *chain(5))
    server.hub.put("octo/taken-down", "commits", *chain(5))
    server.hub.blocked = {"octo/taken-down": (403, "tos")}
    defs = {
        "type": "millstream.Pipeline",
        "attributes": config(place, server, "commits").model_dump(
            mode="json", include={"name", "source", "destination"}, exclude_unset=True
        ),
    }
    (place.project / "defs.yaml").write_text(json.dumps(defs))

    def millstream() -> str:
        home = {"MILLSTREAM_HOME": str(place.project / uuid4().hex)}
        done = processes.millstream(place.project, "run", environment=home)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "1 part of the source skipped\n    octo/taken-down: blocked: " in millstream()
    server.hub.rename("octo/old", "octo/new")
    text = millstream()
    assert "warning: repository octo/old is called octo/new now" in text
    assert "5 rows loaded before as repository 'octo/old' now have repository 'octo/new'" in text
    assert counted(place, "commits", "sha") == {("octo/new", 1000): 5}
