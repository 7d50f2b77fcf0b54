"""What the GitHub tests share: a clock that only waits move, small rows, loads by plain dlt."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlt
import duckdb

from millstream.config import GitHubConfig
from millstream.demo.github_server import GitHubServer
from millstream.sources.github import GitHubSource

Row = dict[str, Any]
NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
NOW_ISO = "2023-11-14T22:13:20Z"


class FakeClock:
    """Stands still but for waits, which it keeps; jitter is always the longest."""

    def __init__(self) -> None:
        self.time = NOW
        self.waits: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float, cancelled: threading.Event) -> None:
        with self._lock:
            self.waits.append(seconds)
            self.time += seconds

    def chance(self) -> float:
        return 1.0


def issue(number: int, updated: str = "2023-01-01T00:00:00Z", **more: Any) -> Row:
    """A small issue; those with a higher number were created later."""
    created = f"2020-01-{1 + number // 1440:02d}T{number // 60 % 24:02d}:{number % 60:02d}:00Z"
    return {
        "id": 1000 + number,
        "number": number,
        "title": f"Issue {number}",
        "state": "open" if number % 2 else "closed",
        "labels": [{"id": 1, "name": "bug"}] if number % 2 else [],
        "user": {"id": 7, "login": "octocat"},
        "created_at": created,
        "updated_at": max(updated, created),
        **more,
    }


def issues(count: int, updated: str = "2023-01-01T00:00:00Z") -> list[Row]:
    return [issue(number, updated) for number in range(1, count + 1)]


def source(
    server: GitHubServer,
    *repositories: str,
    streams: Sequence[str] = ("issues",),
    clock: FakeClock | None = None,
    **options: Any,
) -> GitHubSource:
    """A source of the server's repositories; all of them, unless named."""
    where = {} if "organization" in options else {"repositories": repositories or server.hub.names}
    config = GitHubConfig.model_validate(
        {"base_url": server.url, "streams": streams, "per_page": 10, **where, **options}
    )
    return GitHubSource(config, clock=clock)


def rows(source: GitHubSource, stream: str = "issues") -> list[Row]:
    """What the source yields, without a destination and without state."""
    return list(source.open(stream))


@dataclass(frozen=True)
class Warehouse:
    """A DuckDB file, loaded by plain dlt pipelines; state lies in it and in `folder`."""

    folder: Path

    def load(
        self, source: GitHubSource, stream: str = "issues", *, full_refresh: bool = False
    ) -> None:
        self._pipeline(stream).run(
            source.open(stream, full_refresh=full_refresh), loader_file_format="parquet"
        )

    def state(self, stream: str = "issues") -> dict[str, Any]:
        """The stream's state by repository, as the next run will find it."""
        sources = self._pipeline(stream).state["sources"]
        (state,) = [each["resources"][stream] for each in sources.values()]
        return {entry["name"]: entry for entry in state["repositories"].values()}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "warehouse.duckdb")) as connection:
            connection.execute("set search_path = 'github'")
            return connection.execute(sql).fetchall()

    def column(self, name: str, table: str = "issues", where: str = "true") -> list[Any]:
        """A column's values, in order."""
        return [
            row[0] for row in self.query(f"select {name} from {table} where {where} order by 1")
        ]

    def _pipeline(self, stream: str) -> dlt.Pipeline:
        return dlt.pipeline(
            f"github_{stream}",
            pipelines_dir=str(self.folder / "pipelines"),
            destination=dlt.destinations.duckdb(str(self.folder / "warehouse.duckdb")),
            dataset_name="github",
        )


def causes(error: BaseException) -> list[BaseException]:
    """An error and what caused it, outermost first."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    return chain
