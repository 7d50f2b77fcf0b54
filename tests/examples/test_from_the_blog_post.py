"""`examples/from-the-blog-post` for real: the old project loads, the new one goes on from there."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from millstream.cli import main
from services.github import GitHubServer
from services.mongod import Mongod

EXAMPLE = Path(__file__).parents[2] / "examples" / "from-the-blog-post"
REPOSITORY = "owner/name"


def issue(number: int, day: int, **more: Any) -> dict[str, Any]:
    return {
        "id": 1000 + number,
        "number": number,
        "title": f"issue {number}",
        "state": "open",
        "created_at": "2024-01-01T00:00:00Z",
        "updated_at": f"2024-02-{day:02}T00:00:{number % 60:02}Z",
        "assignees": [{"login": "ann", "id": 1}, {"login": "bob", "id": 2}][: number % 3],
        **more,
    }


@pytest.fixture
def projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongodb_server: Mongod
) -> Iterator[tuple[Path, GitHubServer]]:
    """Both projects, a server of GitHub's API with 150 issues, and a database."""
    folder = Path(shutil.copytree(EXAMPLE, tmp_path / "projects"))
    for part in ("before", "after"):
        monkeypatch.syspath_prepend(str(folder / part))
    with mongodb_server.client() as client:
        database = client["sample_mflix"]
        database["comments"].insert_many([{"_id": i, "text": str(i)} for i in range(5)])
        database["movies"].insert_many([{"_id": i, "cast": ["a", "b"]} for i in range(3)])
    issues = [issue(number, 1) for number in range(150)]
    with GitHubServer({REPOSITORY: {"issues": issues}}) as server:
        monkeypatch.setenv("GITHUB_API", server.url)
        monkeypatch.setenv("GITHUB_REPOSITORY", REPOSITORY)
        monkeypatch.setenv("API_SECRET_KEY", "token")
        monkeypatch.setenv("SOURCES__MONGODB__CONNECTION__URL", mongodb_server.url())
        yield folder, server
    with mongodb_server.client() as client:
        client.drop_database("sample_mflix")
    for name in [name for name in sys.modules if name.split(".")[0] in ("blog_post", "moved")]:
        del sys.modules[name]


def rows(file: Path, query: str) -> list[Any]:
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_the_old_project_is_moved(
    projects: tuple[Path, GitHubServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, server = projects
    before, after = folder / "before", folder / "after"
    monkeypatch.chdir(before)
    old: dg.Definitions = import_module("blog_post.definitions").defs
    for name in ("issues_pipeline_job", "sample_mflix_job"):
        assert old.resolve_job_def(name).execute_in_process().success
    server.hub.put(REPOSITORY, "issues", issue(3, 2, title="changed"), issue(200, 2))
    assert old.resolve_job_def("issues_pipeline_job").execute_in_process().success
    file = before / "github_issues.duckdb"
    table = "dagster_github_issues.github_issues"
    assert rows(file, f"SELECT count(*), count(DISTINCT id) FROM {table}") == [(151, 151)]

    monkeypatch.chdir(after)
    assert main(["adopt", "github_issues", "moved/defs/github"]) == 0
    assert main(["discover", "moved/defs/mongodb"]) == 0
    server.hub.put(REPOSITORY, "issues", issue(4, 3, title="later", assignees=[]), issue(201, 3))
    new = import_module("moved.definitions").defs()
    keys = {key.to_user_string() for key in new.resolve_asset_graph().get_all_asset_keys()}
    assert {"issues_pipeline", "raw_sample_mflix/comments", "raw_sample_mflix/movies"} <= keys
    server.asked.clear()
    for job in ("github_issues", "mongo"):
        assert new.resolve_job_def(job).execute_in_process().success

    since = {each.query["since"] for each in server.asked if each.path.endswith("/issues")}
    assert since == {"2024-02-02T00:00:20Z"}
    assert rows(file, f"SELECT count(*), count(DISTINCT id) FROM {table}") == [(152, 152)]
    titles = f"SELECT title FROM {table} WHERE number IN (3, 4, 200) ORDER BY number"
    assert rows(file, titles) == [("changed",), ("later",), ("issue 200",)]
    # each assignee hangs on the issue that has it
    assignees = rows(
        file,
        f"""
        SELECT number, count(login) FROM {table} AS issues
        LEFT JOIN {table}__assignees AS lists ON lists._dlt_parent_id = issues._dlt_id
        GROUP BY number HAVING count(login) <> if(number = 4, 0, number % 3)
        """,
    )
    assert assignees == []
    for collection, count in (("comments", 5), ("movies", 3)):
        found = rows(after / "mongo.duckdb", f"SELECT count(*) FROM raw.{collection}")
        assert found == [(count,)]
