"""`millstream demo` as a newcomer runs it: twice, with the UI, and against other GitHubs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import duckdb
import pytest

from millstream.demo.generated import generate
from millstream.demo.github_server import GitHubServer
from millstream.demo.workspace import Workspace
from millstream.errors import ConfigError
from services import CACHE, free_port

pytest.importorskip("dagster_webserver", reason="dagster-webserver comes with the group `demo`")
pytestmark = pytest.mark.xdist_group("demo")


def demo(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "millstream", "demo", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=600,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, with the recordings if this machine has fetched them."""
    made = tmp_path_factory.mktemp("newcomer")
    if (CACHE / "github3.py").is_dir():
        shutil.copytree(CACHE / "github3.py", made / ".cache" / "github3.py")
    return made


@pytest.fixture(scope="module")
def told(folder: Path) -> str:
    """What the first `millstream demo` prints."""
    done = demo(folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_it_shows_tables_changes_time_and_the_ui(told: str) -> None:
    lines = told.splitlines()
    first, second = told.split("Run 2:")
    for part in (first, second):
        assert "issues__labels" in part
        assert "├─ " in part
        assert "schema change" in part
    assert "+ new table `issues`" in first
    assert "merged into their old rows" in second
    assert any(line.startswith("Done in ") for line in lines)
    assert "millstream demo --ui" in told
    assert all(len(line) <= 80 for line in lines if "/" not in line)


def test_the_tables_are_what_it_says(told: str, folder: Path) -> None:
    said = next(line for line in told.splitlines() if line.startswith("  issues: "))
    total = int(said.partition(" = ")[2].partition(";")[0].replace(",", ""))
    with duckdb.connect(str(Workspace(folder / ".demo").database), read_only=True) as connection:
        rows = connection.execute(
            "select count(*), count(distinct id) from github.issues"
        ).fetchone()
        linked = connection.execute(
            "select count(*) from github.issues__labels as l "
            "join github.issues as i on l._dlt_parent_id = i._dlt_id"
        ).fetchone()
        labels = connection.execute("select count(*) from github.issues__labels").fetchone()
    assert rows == (total, total)
    assert linked == labels
    assert labels is not None
    assert labels[0] > 0


@pytest.mark.nightly
def test_a_second_time_starts_from_nothing_and_says_the_same(told: str, folder: Path) -> None:
    done = demo(folder, "--json")

    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)["runs"]
    assert first["tables"][0]["rows"] == first["tables"][0]["rows_total"]
    for table in second["tables"]:
        total = f"{table['rows_total']:,}"
        assert any(table["name"] in line and total in line for line in told.splitlines())
    assert {change["kind"] for change in first["changes"]} == {"table_added"}


@pytest.mark.nightly
def test_the_ui_shows_every_run_and_leaves_no_process(told: str, folder: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "millstream", "demo", "--ui", "--port", str(port)],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        printed = ""
        while "Ctrl-C" not in printed:
            line = process.stdout.readline()
            assert line, Workspace(folder / ".demo").log.read_text()
            printed += line
        assert f"http://127.0.0.1:{port}/assets/github/issues" in printed
        with urlopen(f"http://127.0.0.1:{port}/runs", timeout=60) as answer:
            assert answer.status == 200
        query = "{runsOrError{...on Runs{results{status jobName}}}}".replace(" ", "%20")
        with urlopen(f"http://127.0.0.1:{port}/graphql?query={query}", timeout=60) as answer:
            runs = json.load(answer)["data"]["runsOrError"]["results"]
        assert len(runs) >= 2
        assert {(run["jobName"], run["status"]) for run in runs} == {("github", "SUCCESS")}
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 130
        assert process.stdout is not None
        process.stdout.close()
    deadline = time.monotonic() + 10
    while (left := children_with(str(folder))) and time.monotonic() < deadline:
        time.sleep(0.1)  # one that was told to end takes a moment to be gone
    assert left == []


def children_with(text: str) -> list[str]:
    """Command lines of running processes that name this text, or run in that folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            where = str((process / "cwd").readlink())
        except OSError:
            continue
        if process.name != str(os.getpid()) and (text in command or where.startswith(text)):
            found.append(command)
    return found


def test_the_ui_before_any_run_is_refused(tmp_path: Path) -> None:
    done = demo(tmp_path, "--ui")
    assert done.returncode == 1
    assert "no demo has run here\n\nhint: run `make demo`" in done.stderr


def test_without_dagster_it_says_how_to_install_it(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['dagster'] = None; from millstream.cli import main; main(['demo'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert "the demo needs Dagster, which is not installed\n\nhint: pip install" in done.stderr
    assert not [*tmp_path.iterdir()]


@pytest.mark.nightly
def test_live_loads_one_repository_from_the_api(tmp_path: Path) -> None:
    dataset = {"octo/hello": generate("octo/hello", issues=130)}
    with GitHubServer(dataset, token="a-token-of-mine") as server:
        done = demo(
            tmp_path,
            *("--live", "octo/hello", "--base-url", server.url, "--json"),
            GITHUB_TOKEN="a-token-of-mine",
        )
        assert {asked.headers.get("authorization") for asked in server.requests("issues")} == {
            "Bearer a-token-of-mine"
        }

    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    tables = {table["name"]: table for table in run["tables"]}
    assert tables["issues"]["rows_total"] == 130
    assert tables["issue_comments"]["rows_total"] == len(dataset["octo/hello"]["issue_comments"])
    written = [path for path in (tmp_path / ".demo").rglob("*") if path.is_file()]
    assert not [path for path in written if b"a-token-of-mine" in path.read_bytes()]


@pytest.mark.nightly
def test_live_without_a_token_says_what_that_means(tmp_path: Path) -> None:
    with GitHubServer({"octo/hello": {"issues": []}}) as server:
        done = demo(tmp_path, "--live", "octo/nothing", "--base-url", server.url)

    assert done.returncode == 1
    assert "GITHUB_TOKEN is not set" in done.stdout
    assert "octo/nothing" in done.stderr
    assert "hint: " in done.stderr
    assert "the log is .demo/live/demo.log" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_someone_elses_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / ".demo" / "github_issues" / "thesis.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("years of work")
    with pytest.raises(ConfigError, match="not made by the demo"):
        Workspace(tmp_path / ".demo").prepare(repositories=["a/b"])
    assert theirs.read_text() == "years of work"


def test_one_demo_at_a_time(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / ".demo")
    again = Workspace(tmp_path / ".demo")
    with (
        workspace.locked(),
        pytest.raises(ConfigError, match="a demo is running"),
        again.locked(),
    ):
        pytest.fail("two at a time")
    with again.locked():
        pass


def test_preparing_again_keeps_the_project_and_drops_its_data(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / ".demo")
    workspace.prepare(repositories=["a/b"], base_url="http://127.0.0.1:1")
    accepted = workspace.defs.with_name("schema.yaml").read_text()
    inode = workspace.project.stat().st_ino
    workspace.database.write_text("data")
    workspace.defs.with_name("schema.yaml").write_text("what a run accepted")

    workspace.prepare(repositories=["a/b"], base_url="http://127.0.0.1:2")

    assert workspace.project.stat().st_ino == inode
    assert not workspace.database.exists()
    assert workspace.defs.with_name("schema.yaml").read_text() == accepted
    assert workspace.defs.read_text().count("base_url") == 1
    assert "base_url: http://127.0.0.1:2\n" in workspace.defs.read_text()

    workspace.prepare(repositories=["c/d"])
    assert "c/d" in workspace.defs.read_text()
    assert "base_url" not in workspace.defs.read_text()
