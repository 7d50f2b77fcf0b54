"""`examples/celery` for real: two workers share the streams of a run, and one of them dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from pathlib import Path
from time import sleep
from typing import Any

import psycopg2
import pytest

from services import redis, wait_for
from services.postgres import Postgres

redis_client = pytest.importorskip("redis")
EXAMPLE = Path(__file__).parents[2] / "examples" / "celery"
PROGRAMS = Path(sys.executable).parent
DAYS = [f"2024-01-{day:02}" for day in range(1, 7)]
DAILY, COUNTERS, ROWS = ("orders", "visits"), ("clicks", "returns"), 100
DONE = "SELECT COUNT(*) FROM runs WHERE status = 'SUCCESS'"
UNDER_WAY = (
    "SELECT 1 FROM runs WHERE status IN ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED') LIMIT 1"
)
# two steps of one run that have begun and not ended: each worker takes one task at a time
SHARED = """
SELECT run_id FROM event_logs WHERE dagster_event_type IN ('STEP_START', 'STEP_SUCCESS')
GROUP BY run_id
HAVING COUNT(*) FILTER (WHERE dagster_event_type = 'STEP_START') = 2
   AND COUNT(*) FILTER (WHERE dagster_event_type = 'STEP_SUCCESS') = 0
"""

# as the UI does it; the runs of a backfill that `dagster job backfill` made are not retried
LAUNCH = """
mutation Launch($days: [String!]!) {
  launchPartitionBackfill(backfillParams: {
    selector: {
      repositorySelector: {
        repositoryLocationName: "shop.definitions", repositoryName: "__repository__"
      }
      partitionSetName: "by_day_partition_set"
    }
    partitionNames: $days
  }) { __typename ... on PythonError { message } }
  launchRun(executionParams: {
    selector: {
      repositoryLocationName: "shop.definitions"
      repositoryName: "__repository__"
      jobName: "counters"
    }
    runConfigData: {}
  }) { __typename ... on PythonError { message } }
}
"""


@contextmanager
def started(
    name: str, command: list[str], project: Path, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its own group, its output in a file; killed in the end, with its children."""
    with (project / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(PROGRAMS / command[0]), *command[1:]],
            cwd=project,
            env={**os.environ, **more},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # all of them are gone
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def worker(number: int, project: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A worker as on a machine of its own, which runs one task at a time."""
    options = ["-A", "dagster_celery.app", "-y", "celery.yaml", "-n", f"w{number}"]
    return started(
        f"worker{number}",
        ["dagster-celery", "worker", "start", *options, "-i", "shop.definitions", "--", "-c", "1"],
        project,
        MILLSTREAM_HOME=str(project / f"machine{number}"),
    )


@pytest.fixture
def database(postgres_server: Postgres) -> str:
    return postgres_server.new_database()


@pytest.fixture
def project(
    tmp_path: Path, postgres_server: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The example as it is, in an environment as its README has it."""
    folder = tmp_path / "celery"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    storage = postgres_server.url(postgres_server.new_database())
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", storage.replace(":", "+psycopg2:", 1))
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_server.url(database))
    with redis.running() as broker:
        monkeypatch.setenv("CELERY_BROKER", f"{broker}/0")
        monkeypatch.setenv("CELERY_BACKEND", f"{broker}/1")
        yield folder


@pytest.fixture
def ask(project: Path) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """What Dagster's storage answers."""
    url = os.environ["DAGSTER_POSTGRES_URL"].replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True

        def answer(sql: str) -> list[tuple[Any, ...]]:
            sleep(0.1)  # the workers need the processor more
            try:
                cursor.execute(sql)
            except psycopg2.errors.UndefinedTable:  # nobody has made them yet
                return []
            return list(cursor.fetchall())

        yield answer


@pytest.mark.nightly
@pytest.mark.xdist_group("postgres")
def test_a_worker_dies_and_everything_is_loaded_once(
    project: Path,
    postgres_server: Postgres,
    database: str,
    ask: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    module = ["-m", "shop.definitions"]
    submit = ["dagster-graphql", *module, "-t", LAUNCH, "-v", json.dumps({"days": DAYS})]
    with ExitStack() as stack:
        group = stack.enter_context(worker(1, project)).pid
        stack.enter_context(worker(2, project))
        submitted = stack.enter_context(started("submit", submit, project)).wait()
        said = (project / "submit.log").read_text()
        assert submitted == 0, said
        assert said.count("Success") == 2, said
        stack.enter_context(started("daemon", ["dagster-daemon", "run", *module], project))

        def caught() -> bool:
            """Each worker has a step of the same run, and one stands still."""
            if not ask(SHARED):
                return False
            os.killpg(group, signal.SIGSTOP)
            if ask(SHARED):
                return True
            os.killpg(group, signal.SIGCONT)
            return False

        wait_for(caught, seconds=300, what="a run with a step on each worker")
        os.killpg(group, signal.SIGKILL)
        let_hours_pass(os.environ["CELERY_BROKER"])
        wait_for(
            lambda: ask(DONE) == [(len(DAYS) + 1,)] and not ask(UNDER_WAY),
            seconds=300,
            what="all runs",
        )

    assert not ask("SELECT 1 FROM runs WHERE status = 'FAILURE'"), "the step went to another worker"
    for table, child, parts, children in (
        *[(name, "lines", len(DAYS), 2) for name in DAILY],
        *[(name, "notes", 1, 1) for name in COUNTERS],
    ):
        rows = parts * ROWS

        def count(tables: str) -> tuple[int, ...]:
            found = f"SELECT COUNT(*), COUNT(DISTINCT p.id) FROM {tables}"
            return postgres_server.query(database, found)[0]

        assert count(f"shop.{table} AS p") == (rows, rows)
        joined = f"shop.{table} AS p ON c._dlt_parent_id = p._dlt_id"
        assert count(f"shop.{table}__{child} AS c LEFT JOIN {joined}") == (rows * children, rows)


def let_hours_pass(broker: str) -> None:
    """What workers have taken and not ended becomes too old, so that another one gets it."""
    with closing(redis_client.Redis.from_url(broker)) as client:
        taken = client.zrange("unacked_index", 0, -1)
        assert taken
        client.zadd("unacked_index", dict.fromkeys(taken, 1))
