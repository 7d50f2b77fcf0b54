"""Objects whose keys are data: told of before a column or a table exists for each, and `maps`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from millstream.demo.github_server import GitHubServer
from services import processes
from sources.github_kit import issue

KEYS = 60


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    return folder


def define(project: Path, source: str, more: str = "") -> None:
    (project / "defs.yaml").write_text(
        f"type: millstream.Pipeline\nattributes:\n  name: crm\n  source: {source}\n"
        f"  destination: {{type: duckdb, database: w.duckdb}}\n{more}"
    )


def millstream(project: Path, *arguments: str) -> tuple[int, str]:
    done = processes.millstream(project, *arguments)
    return done.returncode, done.stdout + done.stderr


def ask(project: Path, query: str) -> list[Any]:
    with duckdb.connect(str(project / "w.duckdb"), read_only=True) as warehouse:
        return warehouse.sql(query).fetchall()


def tables(project: Path) -> list[str]:
    found = ask(project, "SELECT table_name FROM information_schema.tables ORDER BY 1")
    return [name for (name,) in found if not name.startswith(("_dlt", "_millstream"))]


def row(number: int, first: int = 0, keys: int = KEYS) -> dict[str, Any]:
    tiers = {f"{n:08x}": {"n": n, "perks": ["a", "b"]} for n in range(first, first + keys)}
    return {"id": number, "account": {"tierList": tiers}}


def write(project: Path, name: str, *rows: dict[str, Any]) -> None:
    lines = "".join(json.dumps(each) + "\n" for each in rows)
    (project / "data" / name).write_text(lines)


FILES = '{type: files, streams: {customers: {path: "data/*.jsonl"}}}'
MAPS = "  maps: {customers: [account.tier_list]}\n"  # as the error spells it
CHILDREN = [
    "customers", "customers__account__tier_list", "customers__account__tier_list__perks",
]  # fmt: skip


def test_a_map_is_held_before_its_columns_and_tables_exist(project: Path) -> None:
    define(project, FILES)
    write(project, "a.jsonl", row(1))
    code, said = millstream(project, "run")
    assert code == 1
    assert "60 new keys of the same shape" in said
    assert "make 60 columns and 60 tables; it looks like a map, whose keys are data" in said
    assert "`maps: {customers: [account.tier_list]}` in defs.yaml" in said
    assert tables(project) == []

    # what it says helps at once: nothing waits that would have to be dropped first
    define(project, FILES, MAPS)
    write(project, "b.jsonl", {"id": 2, "account": {"tierList": {"x": {"key": "own", "n": 60}}}})
    code, said = millstream(project, "run")
    assert code == 0, said
    assert tables(project) == CHILDREN
    own = "SELECT key, key_xa62f22 FROM crm.customers__account__tier_list WHERE n = 60"
    assert ask(project, own) == [("x", "own")]
    found = ask(project, "SELECT key, n FROM crm.customers__account__tier_list ORDER BY n")
    assert found == [*((f"{n:08x}", n) for n in range(KEYS)), ("x", 60)]
    perks = "SELECT count(*) FROM crm.customers__account__tier_list__perks"
    assert ask(project, perks) == [(2 * KEYS,)]


@pytest.mark.nightly
def test_an_accepted_map_gets_columns_for_good(project: Path) -> None:
    define(project, FILES)
    write(project, "a.jsonl", row(1))
    assert millstream(project, "run")[0] == 1
    assert millstream(project, "schema", "accept", "--stream", "customers")[0] == 0
    code, said = millstream(project, "run")
    assert code == 0, said
    assert len(tables(project)) == 1 + KEYS
    write(project, "b.jsonl", row(2, keys=2 * KEYS))
    code, said = millstream(project, "run")
    assert code == 0, said
    assert "1 warning by the schema policy" in said
    assert len(tables(project)) == 1 + 2 * KEYS


def test_maps_of_a_dlt_source(project: Path) -> None:
    (project / "rows.py").write_text(
        "import dlt\n"
        "ROWS = [{'id': 1, 'm': {'a': {'n': 1}, 'b': {'n': 2}}}]\n"
        "@dlt.resource(primary_key='id', write_disposition='merge')\n"
        "def customers():\n    yield ROWS\n"
        "@dlt.source\ndef crm():\n    return customers, dlt.resource(ROWS, name='others')\n"
    )
    maps = "  maps: {customers: [m]}\n"
    for path, streams in (("rows:customers", "customers"), ("rows:crm", "customers, others")):
        define(project, f'{{type: dlt, path: "{path}", streams: [{streams}]}}', maps)
        code, said = millstream(project, "run")
        assert code == 0, said
        found = ask(project, "SELECT key, n FROM crm.customers__m ORDER BY key")
        assert found == [("a", 1), ("b", 2)]
    assert ask(project, "SELECT m__a__n, m__b__n FROM crm.others") == [(1, 2)]
    define(project, '{type: dlt, path: "rows:crm"}', "  maps: {costumers: [m]}\n")
    code, said = millstream(project, "run")
    assert code == 1
    assert "maps: pipeline 'crm' has no stream 'costumers'" in said


def test_maps_of_github(project: Path) -> None:
    votes = {"ann": {"n": 1}, "bob": {"n": 2}}
    with GitHubServer({"a/b": {"issues": [issue(1, votes=votes)]}}) as server:
        source = f'{{type: github, repositories: [a/b], base_url: "{server.url}"}}'
        define(project, source, "  maps: {issues: [votes]}\n")
        code, said = millstream(project, "run")
    assert code == 0, said
    assert ask(project, "SELECT key, n FROM crm.issues__votes ORDER BY key") == [
        ("ann", 1), ("bob", 2),
    ]  # fmt: skip


def test_maps_of_an_object_that_was_loaded_as_columns(project: Path) -> None:
    def rows(*numbers: int) -> list[dict[str, Any]]:
        return [{"id": n, "at": {"tiers": {"a": {"n": n}, "b": {"n": n}}}} for n in numbers]

    define(project, FILES, "  schema_policy: strict\n")
    write(project, "a.jsonl", *rows(*range(30)))
    assert millstream(project, "run")[0] == 0
    define(project, FILES, "  maps: {customers: [at.tiers]}\n")
    write(project, "b.jsonl", *rows(*range(30, 60)))
    message = (
        "`at__tiers`, an object before, is now the table `customers__at__tiers` with a row per "
        "key, as `maps` says; rows loaded before keep its columns `at__tiers__*`"
    )
    code, said = millstream(project, "schema", "diff", "--fail-on", "risky")
    assert code == 0, said
    assert message in said
    code, said = millstream(project, "run")
    assert code == 0, "who names a map has accepted it"
    assert message in said
    assert "also a list" not in said
    assert "no longer arrives" not in said
    found = ask(project, "SELECT key, count(*) FROM crm.customers__at__tiers GROUP BY 1 ORDER BY 1")
    assert found == [("a", 30), ("b", 30)]
    assert ask(project, "SELECT count(at__tiers__a__n) FROM crm.customers") == [(30,)]
    code, said = millstream(project, "schema", "log")
    assert "breaking  accepted    customers: `at__tiers`, an object before" in said
    code, said = millstream(project, "run", "--json")
    assert code == 0
    assert '"decisions": []' in said
