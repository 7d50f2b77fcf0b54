"""What `millstream init` writes is a working Dagster project: checked, tested and served."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import duckdb
import pytest

from millstream.scaffold import DESTINATIONS, SOURCES, Project, write_project
from services import free_port, wait_for
from services.mongod import Mongod

PAIRS = [(source, each) for source in SOURCES if source != "mongodb" for each in DESTINATIONS]
BIN = Path(sys.executable).parent

pytest.importorskip("dagster_dg_cli", reason="dagster-dg-cli comes with the group `demo`")


def run(project: Project, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in the project's folder, as its user would type it."""
    return subprocess.run(
        command,
        cwd=project.folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        timeout=300,
    )


@pytest.mark.nightly_on(
    *set(DESTINATIONS) - {"duckdb"}, "dlt", "sql_database", "files", "github_issues"
)
@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_dagster_accepts_it_and_its_own_tests_pass(
    source: str, destination: str, tmp_path: Path
) -> None:
    project = write_project(source, destination, tmp_path / "warehouse_loads")

    checked = run(project, "dg", "check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "All definitions loaded successfully" in checked.stdout

    tested = run(project, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "skipped" not in tested.stdout


def test_python_code_is_loaded_before_the_project_is_installed(tmp_path: Path) -> None:
    project = write_project("dlt", "filesystem", tmp_path / "warehouse_loads")
    done = run(project, "millstream", "run")
    assert done.returncode == 0, done.stderr
    orders = str(project.folder / "lake" / "shop" / "orders" / "*.parquet")
    names = duckdb.sql(f"SELECT customer__name FROM '{orders}' ORDER BY id").fetchall()
    assert names == [("Ann",), ("Bob",), ("Cy",)]


@pytest.fixture
def shop(mongodb_server: Mongod, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database on the real server; `.env` of a project and its tests find the server."""
    monkeypatch.setenv("MONGODB_TEST_URI", mongodb_server.url())
    with mongodb_server.client() as client:
        name = f"shop_{uuid4().hex[:8]}"
        client[name].orders.insert_one({"_id": 1, "items": [{"name": "pen"}]})
        client[name].users.insert_one({"_id": 1})
        yield name
        client.drop_database(name)


@pytest.mark.xdist_group("mongodb")
@pytest.mark.parametrize(
    "destination",
    [
        each if each == "duckdb" else pytest.param(each, marks=pytest.mark.nightly)
        for each in ("duckdb", "postgres", "bigquery", "filesystem")
    ],
)
@pytest.mark.nightly
def test_collections_from_nothing_to_the_ui(
    destination: str, shop: str, mongodb_server: Mongod, tmp_path: Path
) -> None:
    project = write_project(
        "mongodb", destination, tmp_path / "warehouse_loads", lists={"databases": (shop,)}
    )
    env = (project.folder / ".env.example").read_text().splitlines()
    env = [line for line in env if not line.startswith("MONGODB_URI=")]
    (project.folder / ".env").write_text("\n".join([*env, f"MONGODB_URI={mongodb_server.url()}"]))

    # nothing is known yet, and nothing breaks
    tested = run(project, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "skipped" not in tested.stdout

    found = run(project, "millstream", "discover")
    assert found.returncode == 0, found.stdout + found.stderr
    tested = run(project, sys.executable, "-m", "pytest", "-q", "-k", "definitions_load")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    checked = run(project, "dg", "check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "All definitions loaded successfully" in checked.stdout
    with serving(project) as url:
        answer = ask(url, "{ assetNodes { assetKey { path } groupName jobNames } }")
    every = {tuple(node["assetKey"]["path"]): node for node in answer["data"]["assetNodes"]}
    assert every.pop(("sources", "mongodb"))["jobNames"] == []
    nodes = {path[2:]: node for path, node in every.items()}
    assert nodes.keys() == {("orders",), ("orders__items",), ("users",)}
    assert {node["groupName"] for node in nodes.values()} == {shop}
    jobs = {"mongodb", f"mongodb__{shop}", f"mongodb__{shop}__orders"}
    assert jobs <= set(nodes["orders__items",]["jobNames"])


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("destination", DESTINATIONS)
def test_its_requirements_are_requirements(source: str, destination: str, tmp_path: Path) -> None:
    import tomli
    from packaging.requirements import Requirement

    project = write_project(source, destination, tmp_path / "loads")
    document = tomli.loads((project.folder / "pyproject.toml").read_text())

    needs = [Requirement(line) for line in document["project"]["dependencies"]]
    ours = next(need for need in needs if need.name == "millstream")
    extras = filter(None, (SOURCES[source].extra, DESTINATIONS[destination].extra))
    assert ours.extras == {"dagster", *",".join(extras).split(",")} - {""}
    assert document["tool"]["dg"]["project"]["root_module"] == "loads"


def test_git_and_images_leave_out_what_is_secret_or_made(tmp_path: Path) -> None:
    project = write_project("github_issues", "duckdb", tmp_path / "loads")
    for name in (".env", "warehouse.duckdb", ".dlt/secrets.toml", ".tmp_dagster_home_x/a"):
        (project.folder / name).parent.mkdir(exist_ok=True)
        (project.folder / name).write_text("secret")
    run(project, "git", "init", "-q")

    seen = run(project, "git", "ls-files", "--others", "--exclude-standard").stdout.split()
    # the patterns of a build context read the same to git
    in_image = run(project, "git", "ls-files", "--others", "-X", ".dockerignore").stdout.split()

    written = sorted(str(p.relative_to(project.folder)) for p in project.files)
    assert sorted(seen) == written
    assert sorted(in_image) == written


@pytest.mark.nightly  # at each commit, the UI comes up with collections
def test_the_ui_comes_up_and_knows_the_child_tables(tmp_path: Path) -> None:
    project = write_project("github_issues", "duckdb", tmp_path / "loads")

    with serving(project) as url:
        answer = ask(url, "{ assetNodes { assetKey { path } dependencyKeys { path } } }")

    nodes = {tuple(node["assetKey"]["path"]): node for node in answer["data"]["assetNodes"]}
    assert ("github", "issues") in nodes
    assert nodes["github", "issues__labels"]["dependencyKeys"] == [{"path": ["github", "issues"]}]


@contextmanager
def serving(project: Project) -> Iterator[str]:
    """`dg dev` in the project's folder, which starts `dagster dev`; its URL once it answers."""
    port = free_port()
    log = project.folder / "dev.log"
    with log.open("w") as sink:
        process = subprocess.Popen(
            [str(BIN / "dg"), "dev", "-h", "127.0.0.1", "-p", str(port)],
            cwd=project.folder,
            stdout=sink,
            stderr=sink,
            # Dagster stops its own children on SIGINT alone, which a background job would ignore
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    url = f"http://127.0.0.1:{port}"
    try:

        def up() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                with urlopen(f"{url}/server_info", timeout=5) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        wait_for(up, seconds=180, what="dg dev")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(url: str, query: str) -> Any:
    """A GraphQL query, repeated while the code location is still loading."""
    request = Request(
        f"{url}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + 60
    while True:
        with urlopen(request, timeout=30) as answer:
            document = json.load(answer)
        if document["data"]["assetNodes"] or time.monotonic() > deadline:
            return document
        time.sleep(0.5)
