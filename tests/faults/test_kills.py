"""A run that is killed, at any moment, and run again ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from faults.kill_worker import world
from services.places import query_lake
from services.postgres import Postgres

STEPS = ("extract", "normalize", "count", "govern", "load", "commit", "report")
OTHERS = ("prepare", "restore", "record")
# in each of the steps, for each of six combinations: 42 in all, and 6 * (7 * 5 + 3 * 2) = 246
NIGHTLY = bool(os.environ.get("MILLSTREAM_NIGHTLY"))
KILLS = dict.fromkeys(STEPS, 5) | dict.fromkeys(OTHERS, 2) if NIGHTLY else dict.fromkeys(STEPS, 1)

Query = Callable[[str, str], list[tuple[Any, ...]]]


def fight(
    disposition: str,
    destination: str | Mapping[str, Any],
    project: Path,
    *,
    kills: Any = KILLS,
    refresh: bool = False,
    elsewhere: bool = True,
) -> list[dict[str, Any]]:
    task = {
        "disposition": disposition,
        "destination": {"type": destination} if isinstance(destination, str) else destination,
        "project": str(project),
        "kills": kills,
        "refresh": refresh,
        "elsewhere": elsewhere,
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("kill_worker.py"))],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        env={**os.environ, "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "25"},
    )
    assert done.returncode == 0, done.stderr[-5000:]  # the reason comes last
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name"')]
    unhealed = [line for line in lines if line["healed"] != 0]
    assert not unhealed, f"{unhealed}\n{done.stderr[-5000:]}"
    return lines


def check(disposition: str, name: str, query: Query, *, history: bool = True) -> None:
    steps = [2] if disposition == "replace" else [1, 2]
    latest = {row["id"]: row for step in steps for row in world(step, disposition)}
    assert query(name, f"SELECT id, step FROM {name}.things ORDER BY 1, 2") == [
        (row["id"], row["step"]) for row in sorted(latest.values(), key=lambda row: row["id"])
    ]
    children = query(
        name,
        f"SELECT parent.id, tag FROM {name}.things__tags AS child "
        f"JOIN {name}.things AS parent ON child._dlt_parent_id = parent._dlt_id ORDER BY 1, 2",
    )
    assert children == sorted(
        (row["id"], tag["tag"]) for row in latest.values() for tag in row["tags"]
    )
    assert query(name, f"SELECT count(*) FROM {name}.things__tags") == [(len(children),)]
    if history:
        check_history(name, query)


def check_history(name: str, query: Query) -> None:
    """Each change of the second step once, and each load with rows; the first had no history."""
    changes = query(
        name,
        f"SELECT kind, table_name, column_name, c.load_id FROM {name}._millstream_schema_changes "
        f"AS c JOIN {name}._dlt_loads AS l ON c.load_id = l.load_id",
    )
    assert sorted(each[:3] for each in changes) == [
        ("column_added", "things", "late"),
        ("table_added", "things__notes", None),
        ("variant_added", "things", "amount__v_text"),
    ]
    assert len({each[3] for each in changes}) == 1
    tables = f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{name}'"
    for (table,) in query(name, tables):
        if table.startswith("_millstream_"):
            complete = f"SELECT load_id FROM {name}._dlt_loads"
            sql = f"SELECT count(*) FROM {name}.{table} WHERE load_id NOT IN ({complete})"
            assert query(name, sql) == [(0,)], table
    loads = query(name, f"SELECT load_id, row_count, seconds FROM {name}._millstream_loads")
    assert len({load_id for load_id, _, _ in loads}) == len(loads)
    assert all(seconds for _, _, seconds in loads)
    assert changes[0][3] in {load_id for load_id, rows, _ in loads if rows == 60}


def survive(disposition: str, destination: str, project: Path, query: Query) -> None:
    whole, *killed = fight(disposition, destination, project)
    assert whole["ended"] == 0
    check(disposition, whole["name"], query)
    died: Counter[str | None] = Counter()
    for line in killed:
        assert line["ended"] == (-9 if line["died"] else 0)
        check(disposition, line["name"], query)
        died[line["died"]] += 1
    assert died.keys() >= set(STEPS)
    print(f"{disposition} on {destination}: killed in {dict(died)}")


def survive_refreshes(disposition: str, destination: str, project: Path, query: Query) -> None:
    """No row is taken out before those of the refresh are there."""
    kills = KILLS if NIGHTLY else {"load": 2}
    whole, *killed = fight(disposition, destination, project, kills=kills, refresh=True)
    assert whole["ended"] == 0
    check(disposition, whole["name"], query, history=False)
    old = {row["id"]: len(row["tags"]) for row in world(1, disposition)}
    died: Counter[str | None] = Counter()
    for line in killed:
        died[line["died"]] += 1
        rows, children = line["left"]
        if [rows, children] != whole["left"]:
            assert {row[0] for row in rows} >= old.keys(), line
            tags = Counter(child[0] for child in children)
            assert all(tags[each] >= count for each, count in old.items()), line
        check(disposition, line["name"], query, history=False)
    assert died.keys() >= kills.keys()


@pytest.mark.parametrize(
    "disposition",
    ["append", *(pytest.param(each, marks=pytest.mark.nightly) for each in ("merge", "replace"))],
)
def test_duckdb(disposition: str, tmp_path: Path) -> None:
    def query(name: str, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(tmp_path / f"{name}_db.duckdb"), read_only=True) as connection:
            return connection.sql(sql).fetchall()

    survive(disposition, "duckdb", tmp_path, query)


@pytest.mark.nightly
@pytest.mark.parametrize("disposition", ["append", "merge", "replace"])
def test_full_refresh_on_duckdb(disposition: str, tmp_path: Path) -> None:
    def query(name: str, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(tmp_path / f"{name}_db.duckdb"), read_only=True) as connection:
            return connection.sql(sql).fetchall()

    survive_refreshes(disposition, "duckdb", tmp_path, query)


@pytest.mark.nightly
@pytest.mark.xdist_group("postgres")
@pytest.mark.parametrize("disposition", ["append", "merge", "replace"])
def test_full_refresh_on_postgres(
    disposition: str, tmp_path: Path, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = postgres_server.new_database()
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_server.url(database))

    def query(_: str, sql: str) -> list[tuple[Any, ...]]:
        return postgres_server.query(database, sql)

    survive_refreshes(disposition, "postgres", tmp_path, query)


@pytest.mark.xdist_group("postgres")
@pytest.mark.parametrize(
    "disposition",
    ["merge", *(pytest.param(each, marks=pytest.mark.nightly) for each in ("append", "replace"))],
)
def test_postgres(
    disposition: str, tmp_path: Path, postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = postgres_server.new_database()
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_server.url(database))
    survive(disposition, "postgres", tmp_path, lambda _, sql: postgres_server.query(database, sql))


@pytest.mark.nightly
@pytest.mark.parametrize("table_format", ["delta", "iceberg"])
@pytest.mark.parametrize("disposition", ["append", "merge", "replace"])
def test_lakes(disposition: str, table_format: str, tmp_path: Path) -> None:
    """On the same machine: another one can't know of rows that an append left half-way."""
    destination = {
        "type": "filesystem",
        "table_format": table_format,
        "options": {"bucket_url": "lake"},
    }

    def query(name: str, sql: str) -> list[tuple[Any, ...]]:
        return query_lake(tmp_path / "lake" / name, table_format, sql)

    whole, *killed = fight(disposition, destination, tmp_path, elsewhere=disposition != "append")
    assert whole["ended"] == 0
    for line in (whole, *killed):
        assert line["ended"] == (-9 if line["died"] else 0)
        check(disposition, line["name"], query, history=False)
    assert {line["died"] for line in killed} >= {"load", "commit"}
