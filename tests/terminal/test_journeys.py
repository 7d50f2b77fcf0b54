"""The README, the tutorial and the how-to pages, typed in a terminal, with an installed wheel."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pytest

from millstream.demo.github_server import GitHubServer
from services.bigquery import BigQuery
from services.installed import REPOSITORY, Installed
from services.mongod import Mongod
from services.places import Place
from services.terminal import Terminal

pytestmark = pytest.mark.xdist_group("installed")


class Person:
    """Types commands of the installed package in a folder, in terminals of some kind."""

    def __init__(self, installed: Installed, folder: Path, columns: int, colour: bool) -> None:
        self.installed = installed
        self.folder = folder
        self.columns = columns
        self.colour = colour

    def types(self, command: str, *arguments: str, code: int = 0, **environment: str) -> str:
        """Type a command; what is on the screen when it has ended with this exit code."""
        terminal = Terminal(
            self.installed.command(command, *arguments),
            self.folder,
            columns=self.columns,
            colour=self.colour,
            environment=environment,
        )
        ended = terminal.wait()
        assert ended == code, f"{command} {' '.join(arguments)}: exit {ended}\n{terminal.text}"
        assert "Traceback" not in terminal.text
        assert self.colour or "\x1b[1m" not in terminal.raw
        return terminal.text

    def millstream(self, *arguments: str, code: int = 0, **environment: str) -> str:
        return self.types("millstream", *arguments, code=code, **environment)

    def moves_to(self, name: str) -> None:
        self.folder = self.folder / name


@pytest.fixture(
    params=[
        pytest.param((80, True), id="80-columns"),
        pytest.param((200, False), id="200-columns-no-colour", marks=pytest.mark.nightly),
    ]
)
def person(request: pytest.FixtureRequest, installed: Installed, tmp_path: Path) -> Person:
    columns, colour = request.param
    return Person(installed, tmp_path, columns, colour)


@pytest.fixture
def someone(installed: Installed, tmp_path: Path) -> Person:
    """One terminal where its kind makes no difference."""
    return Person(installed, tmp_path, 80, True)


def point_at(github: GitHubServer, folder: Path) -> None:
    """What a person changes for a GitHub of their own: one line of defs.yaml."""
    (defs,) = folder.glob("src/*/defs/*/defs.yaml")
    defs.write_text(
        defs.read_text().replace(
            "    type: github\n", f"    type: github\n    base_url: {github.url}\n"
        )
    )


def code_of(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    text = (REPOSITORY / "docs" / page).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_readme_and_tutorial(person: Person, github: GitHubServer) -> None:
    person.millstream("init", "github_issues", "duckdb", "my_issues", "--repository", "octo/hello")
    person.moves_to("my_issues")
    (person.folder / ".env").write_text((person.folder / ".env.example").read_text())
    point_at(github, person.folder)

    assert "failed" not in person.millstream("doctor")
    first = person.millstream("run")
    assert re.search(r"issues +150 +150 ", first), first
    assert re.search(r"─ issues__labels +\d", first), first
    second = person.millstream("run")
    assert "no schema changes" in second

    (script,) = (
        code for code in code_of("tutorial/first-pipeline.md", "sh") if "import duckdb" in code
    )
    (person.folder / "look.py").write_text(script.split("<<'END'\n")[1].split("END")[0])
    assert "bug" in person.types("python", "look.py")
    assert "issues" in person.millstream("schema", "show")
    person.millstream("schema", "log")
    person.millstream("report")
    assert (person.folder / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.xdist_group("postgres")
def test_load_into_postgres(someone: Person, github: GitHubServer, postgres_place: Place) -> None:
    someone.millstream("init", "github_issues", "postgres", "p", "--repository", "octo/hello")
    someone.moves_to("p")
    point_at(github, someone.folder)

    someone.millstream("doctor")
    assert re.search(r"issues +150 +150 ", someone.millstream("run"))
    assert postgres_place.query("select count(*) from github.issues") == [(150,)]


@pytest.mark.nightly
@pytest.mark.xdist_group("bigquery")
def test_load_into_bigquery(
    someone: Person, github: GitHubServer, bigquery_emulator: BigQuery
) -> None:
    someone.millstream("init", "github_issues", "bigquery", "p", "--repository", "octo/hello")
    someone.moves_to("p")
    point_at(github, someone.folder)

    someone.millstream("doctor", **bigquery_emulator.environment)
    said = someone.millstream("run", **bigquery_emulator.environment)
    assert re.search(r"issues +150 +150 ", said)


def test_load_mongodb(someone: Person, mongodb_server: Mongod) -> None:
    with mongodb_server.client() as client:
        shop = client["terminal_shop"]
        shop.orders.insert_many([{"n": n, "items": [{"sku": "a"}]} for n in range(50)])
        shop.users.insert_one({"name": "Ada"})
        someone.millstream("init", "mongodb", "duckdb", "p", "--database", "terminal_shop")
        someone.moves_to("p")
        environment = {"MONGODB_URI": mongodb_server.url()}

        assert "orders" in someone.millstream("discover", **environment)
        someone.millstream("doctor", **environment)
        said = someone.millstream("run", **environment)
        assert re.search(r"└─ orders__items +50 +50 ", said), said
        assert re.search(r"users +1 +1 ", said), said
        client.drop_database("terminal_shop")


def write_defs(folder: Path, **attributes: object) -> None:
    document = {
        "type": "millstream.Pipeline",
        "attributes": {
            "name": "shop",
            "source": {"type": "files", "streams": {"orders": {"path": "*.jsonl"}}},
            "destination": {"type": "duckdb", "database": "w.duckdb", "dataset": "shop"},
            **attributes,
        },
    }
    (folder / "defs.yaml").write_text(json.dumps(document))


def orders(folder: Path, columns: str = "*") -> list[tuple[object, ...]]:
    with duckdb.connect(str(folder / "w.duckdb"), read_only=True) as connection:
        return connection.execute(f"select {columns} from shop.orders order by id").fetchall()


@pytest.mark.nightly
def test_govern_schema_changes(someone: Person) -> None:
    write_defs(someone.folder, schema_policy="strict")
    (someone.folder / "1.jsonl").write_text('{"id": 1}\n')
    someone.millstream("run")
    (someone.folder / "2.jsonl").write_text('{"id": 2, "coupon": "x"}\n')

    held = someone.millstream("run", code=1)
    assert "coupon" in held
    assert "schema accept" in held
    assert "coupon" in someone.millstream("schema", "accept", "--stream", "orders")
    someone.millstream("run")
    assert orders(someone.folder, "id, coupon") == [(1, None), (2, "x")]
    assert "coupon" in someone.millstream("schema", "log")


@pytest.mark.nightly
def test_partition_and_backfill(someone: Person) -> None:
    partitions = {"type": "time", "every": "day", "start": "2024-01-01", "cursor": "at"}
    write_defs(someone.folder, partitions=partitions)
    lines = [{"id": day, "at": f"2024-01-0{day}T10:00:00Z"} for day in (1, 2, 3)]
    (someone.folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    someone.millstream("run", "--partition", "2024-01-01...2024-01-02")
    someone.millstream("run", "--partition", "2024-01-02...2024-01-03")
    assert orders(someone.folder, "id") == [(1,), (2,), (3,)]


@pytest.mark.nightly
def test_quarantine(person: Person) -> None:
    write_defs(person.folder)
    (person.folder / "1.jsonl").write_text('{"id": 1}\n{"id": 2\n{"id": 3}\n')

    assert "1 row in quarantine" in person.millstream("run")
    listed = person.millstream("quarantine", "list")
    assert "unreadable" in listed
    (entry,) = re.findall(r"\b[0-9a-f]{16}\b", listed)
    person.millstream("quarantine", "replay", "--id", entry, "--row", '{"id": 2}')
    assert orders(person.folder, "id") == [(1,), (2,), (3,)]


def test_use_from_python(someone: Person, github: GitHubServer) -> None:
    page = "how-to/use-from-python.md"
    (code,) = (code for code in code_of(page, "python") if "PipelineConfig(" in code)
    own = f'"base_url": "{github.url}", "repositories": ["octo/hello"]'
    code = code.replace('"repositories": ["dlt-hub/dlt"]', own)
    (someone.folder / "load.py").write_text(code)

    said = someone.types("python", "load.py")

    assert "warehouse.github.issues 150 150" in said


def test_accelerate_a_dlt_script(someone: Person) -> None:
    (code,) = code_of("how-to/accelerate-dlt.md", "python")
    rows = "def source():\n    return dlt.resource([{'id': 1, 'tags': [1, 2]}], name='issues')\n\n"
    code = code.replace("pipeline = ", rows + "pipeline = ", 1)
    (someone.folder / "load.py").write_text(code)

    someone.types("python", "load.py")

    with duckdb.connect(str(someone.folder / "issues.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from github.issues__tags").fetchall() == [(2,)]
