from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from services.mongod import Mongod
from services.places import Place
from services.postgres import Postgres
from sources.github_kit import FakeClock, Warehouse
from sources.mongodb_kit import Shop
from sources.mongodb_project import Project
from sources.sql_kit import SqlProject, postgres_project


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def shop(mongodb_server: Mongod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """An empty database on the replica set, and an empty warehouse."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server.url())
    monkeypatch.setattr("millstream.sources.mongodb.range_reader.WAIT", 0.01)
    with mongodb_server.client() as client:
        name = f"test_{uuid4().hex[:8]}"
        yield Shop(mongodb_server, client[name], tmp_path)
        client.drop_database(name)


@pytest.fixture(params=["duckdb", "postgres"])
def project(
    request: pytest.FixtureRequest, mongodb_server: Mongod, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """An empty database, and a pipeline from it to each of two destinations in turn."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server.url())
    place = request.getfixturevalue(f"{request.param}_place")
    with mongodb_server.client() as client:
        name = f"test_{uuid4().hex[:8]}"
        yield Project(mongodb_server, client[name], f"{name}_other", place)
        client.drop_database(name)
        client.drop_database(f"{name}_other")


@pytest.fixture
def duckdb_project(
    mongodb_server: Mongod, duckdb_place: Place, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """As `project`, for what happens before the destination matters."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server.url())
    with mongodb_server.client() as client:
        name = f"test_{uuid4().hex[:8]}"
        yield Project(mongodb_server, client[name], f"{name}_other", duckdb_place)
        client.drop_database(name)
        client.drop_database(f"{name}_other")


@pytest.fixture
def sql_of_postgres(
    place: Place,
    postgres_server: Postgres,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> SqlProject:
    """An empty database of PostgreSQL, and each destination in turn."""
    return postgres_project(place, postgres_server, capsys, monkeypatch)
