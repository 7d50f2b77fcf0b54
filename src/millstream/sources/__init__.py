"""Where data comes from. A source names its streams without connecting, and opens one when run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from millstream.config import (
    DltConfig,
    FilesConfig,
    GitHubConfig,
    MongoDBConfig,
    PipelineConfig,
    RestApiConfig,
    SourceConfig,
    SqlDatabaseConfig,
)
from millstream.model import Check, Partition, Stream

if TYPE_CHECKING:
    from dlt.sources import DltResource, DltSource


class Source(Protocol):
    """What the runner and Dagster need of a source. Modules that implement it import dlt late."""

    def streams(self) -> Sequence[Stream]:
        """The streams that are configured; no network, and for built-in sources no dlt."""

    def open(
        self, stream: str, *, full_refresh: bool = False, partition: Partition | None = None
    ) -> DltResource | DltSource:
        """What extracts one stream, cursors and primary key included; called anew for each run.

        Args:
            partition: read what belongs to it, all of it and nothing else, whatever earlier runs
                read; each row holds its key in `PARTITION_COLUMN`.

        Raises:
            ConfigError: there is no such stream, or it can't be read by such partitions.
            SourceError: the source can't be used as configured; nothing was extracted yet.
        """

    def check(self) -> Sequence[Check]:
        """What `millstream doctor` says of the source: reachable, authorised, streams there."""


@runtime_checkable
class Discovering(Protocol):
    """A source whose streams are asked for once, and then known from a file beside `defs.yaml`."""

    def is_known(self) -> bool:
        """Whether `streams()` can tell them; no network."""

    def discover(self, only: Sequence[str] = ()) -> Path:
        """Ask for them, of those in `only` alone where any are named; the file that was written.

        Raises:
            SourceError: the source can't be reached, or has no such stream.
            ConfigError: the file can't be written.
        """


@runtime_checkable
class ReadingAgain(Protocol):
    """A source of which rows may wait as it had them, before they were values: cells of a file."""

    def read_again(
        self, stream: str, row: Mapping[str, Any], origin: str, known: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The row with the values that its stream has now.

        Args:
            origin: where it was, as its entry says.
            known: the columns of its table in dlt's schema.

        Raises:
            SourceDataError: a value of it still can't be read.
        """


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What of a pipeline concerns its source.

    Attributes:
        project: the folder that relative paths start from; the current one by default.
        folder: of `defs.yaml`, with `collections.yaml` or `tables.yaml` beside it.
        maps: objects whose keys are data, by stream, as paths.
        has_quarantine: whether a line that is not JSON goes to quarantine; else it is an error.
    """

    project: Path | None = None
    folder: Path | None = None
    maps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_quarantine: bool = False


def of_pipeline(config: PipelineConfig) -> Source:
    """The source of a pipeline; connects to nothing."""
    context = SourceContext(config.project, config.folder, config.maps, config.quarantine.enabled)
    return create(config.source, context)


def create(config: SourceConfig, context: SourceContext | None = None) -> Source:
    """The source that a configuration describes; connects to nothing."""
    context = context or SourceContext()
    if isinstance(config, GitHubConfig):
        from millstream.sources.github import GitHubSource

        return GitHubSource(config)
    if isinstance(config, (DltConfig, RestApiConfig)) and context.project is not None:
        from millstream.sources.dlt_source import search_modules_in

        search_modules_in(Path.cwd())
        search_modules_in(context.project)  # last, so that it comes first
    if isinstance(config, DltConfig):
        from millstream.sources.dlt_source import DltSourceAdapter

        return DltSourceAdapter.of_function(config)
    if isinstance(config, RestApiConfig):
        from millstream.sources.rest_api import RestApiSource

        return RestApiSource(config)
    if isinstance(config, MongoDBConfig):
        from millstream.sources.mongodb import MongoDBSource

        return MongoDBSource(config, folder=context.folder, maps=context.maps)
    if isinstance(config, SqlDatabaseConfig):
        from millstream.sources.sql_database import SqlDatabaseSource

        return SqlDatabaseSource(
            config, project=context.project, folder=context.folder, maps=context.maps
        )
    if isinstance(config, FilesConfig):
        from millstream.sources.files import FilesSource

        return FilesSource(
            config,
            project=context.project,
            maps=context.maps,
            has_quarantine=context.has_quarantine,
            in_parts=True,
        )
    raise AssertionError(f"no source for {config!r}")
