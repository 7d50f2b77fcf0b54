from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from parts.mongod import Mongod
from sources.github_kit import FakeClock, Warehouse
from sources.mongodb_kit import Shop


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
    monkeypatch.setattr("millstream.sources.mongodb.reading.WAIT", 0.01)
    with mongodb_server.client() as client:
        name = f"test_{uuid4().hex[:8]}"
        yield Shop(mongodb_server, client[name], tmp_path)
        client.drop_database(name)
