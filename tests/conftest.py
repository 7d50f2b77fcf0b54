"""What all tests share: an environment without anyone's credentials, and real destinations."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from services import bigquery, mongod, places, postgres

# of whoever runs the tests: credentials, settings, and where their tools keep their own
_THEIRS = re.compile(
    r"""^(
        DESTINATION__ | SOURCES__ | CREDENTIALS | RUNTIME__ | SCHEMA__ | NORMALIZE__ | LOAD__
        | DATA_WRITER__ | DLT_ | MILLSTREAM_ | DAGSTER_ | BUCKET_URL | PG[A-Z]+$ | MONGODB?_ | REDIS
        | AWS_ | AZURE_ | GOOGLE_ | GCLOUD_ | CLOUDSDK_ | BIGQUERY_ | SLACK_
        | CELERY_ | GITHUB_TOKEN | GH_TOKEN
    )""",
    re.VERBOSE,
)
_KEPT = frozenset({"MILLSTREAM_NIGHTLY", "MILLSTREAM_KERNELS"})
_SERVERS = {
    "bigquery": {"bigquery_emulator", "bigquery", "bigquery-emulator"},
    "postgres": {"postgres_server", "postgres"},
    "mongodb": {"mongodb_server"},
}
"""By group, what a test asks for that needs its server: a fixture or a parameter."""
_LONG = frozenset({"browser", "demo", "scaffold", "terminal"})
"""Folders of tests that start programs and wait for them."""


# no test fails because the machine is busy
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`nightly_on("bigquery")`: with that parameter, a test is left out of `make test`.

    `not_on("delta")`: with that one there is no such test.

    Tests that take long go first, or one worker would end with them while the others have nothing.
    """
    items.sort(key=lambda item: item.path.parent.name not in _LONG)
    items[:] = [item for item in items if not _named(item) & _places(item, "not_on")]
    for item in items:
        named = _named(item)
        if _places(item, "nightly_on") & named:
            item.add_marker("nightly")
        # tests of one server go to one worker, or each worker would start it
        asked = {*getattr(item, "fixturenames", ())} | named
        group = next((group for group, names in _SERVERS.items() if names & asked), None)
        if group is not None and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group))


def _places(item: pytest.Item, marker: str) -> set[str]:
    return {place for mark in item.iter_markers(marker) for place in mark.args}


def _named(item: pytest.Item) -> set[str]:
    """The texts among the parameters of a test."""
    callspec = getattr(item, "callspec", None)
    params = callspec.params.values() if callspec is not None else ()
    return {value for value in params if isinstance(value, str)}


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of the machine's user reaches a test, and nothing of a test leaves its folder."""
    for name in os.environ:
        if _THEIRS.match(name) and name not in _KEPT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("MILLSTREAM_HOME", str(tmp_path / "millstream-home"))
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt-home"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
    yield
    if "dlt" in sys.modules:
        from dlt.common.configuration.container import Container
        from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
        from dlt.common.pipeline import PipelineContext

        # a pipeline that stays active lends its state to the next test, `dlt.config` its settings
        Container()[PipelineContext].deactivate()
        Container()[PluggableRunContext].reload_providers()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real documents that lies beside the repository."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the repository")
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def bigquery_emulator() -> Iterator[bigquery.BigQuery]:
    with bigquery.running() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def mongodb_server() -> Iterator[mongod.Mongod]:
    """A replica set of one, without passwords."""
    with mongod.running() as server:
        yield server


@pytest.fixture
def duckdb_place(tmp_path: Path) -> places.Place:
    return places.duckdb(tmp_path)


@pytest.fixture
def postgres_place(
    tmp_path: Path, postgres_server: postgres.Postgres, monkeypatch: pytest.MonkeyPatch
) -> places.Place:
    return places.postgres(tmp_path, postgres_server, monkeypatch.setenv)


@pytest.fixture
def bigquery_place(
    tmp_path: Path, bigquery_emulator: bigquery.BigQuery, monkeypatch: pytest.MonkeyPatch
) -> places.Place:
    return places.bigquery(tmp_path, bigquery_emulator, monkeypatch.setenv)


@pytest.fixture
def filesystem_place(tmp_path: Path) -> places.Place:
    return places.filesystem(tmp_path)


@pytest.fixture
def delta_place(tmp_path: Path) -> places.Place:
    pytest.importorskip("deltalake")
    return places.lake(tmp_path, "delta")


@pytest.fixture
def iceberg_place(tmp_path: Path) -> places.Place:
    pytest.importorskip("pyiceberg")
    return places.lake(tmp_path, "iceberg")


@pytest.fixture(
    params=[
        "duckdb",
        pytest.param("postgres", marks=pytest.mark.xdist_group("postgres")),
        pytest.param("bigquery", id="bigquery-emulator", marks=pytest.mark.xdist_group("bigquery")),
        "filesystem",
        pytest.param("delta", marks=pytest.mark.nightly),
        pytest.param("iceberg", marks=pytest.mark.nightly),
    ]
)
def place(request: pytest.FixtureRequest) -> places.Place:
    """Each destination in turn, empty."""
    made: places.Place = request.getfixturevalue(f"{request.param}_place")
    return made
