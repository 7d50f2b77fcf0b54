"""SQL databases: every table and view a stream, by dlt's `sql_database`.

connection  the URL, from the environment; an engine for each use
catalog     which tables there are; kept in a file
columns     what each type of a column becomes
queries     which columns and rows are asked for
loaders     how rows leave the database, in chunks
deletions   rows that are gone, told by comparing keys
identity    which table it is, whatever it is called
reading     one stream as a dlt resource
errors      what a driver said -> an error with its fix
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from millstream.config import SqlDatabaseConfig
from millstream.errors import ConfigError, MillstreamError, SourceNotFoundError
from millstream.model import Check, Partition, Stream
from millstream.sources import catalog_file, table_names
from millstream.sources.sql_database import catalog
from millstream.sources.sql_database.catalog import TableInfo

if TYPE_CHECKING:
    from dlt.sources import DltResource

__all__ = ["SqlDatabaseSource"]


class SqlDatabaseSource:
    """The tables of a database. Made and asked for its streams without connecting.

    Args:
        project: the folder that a path of SQLite starts from.
        folder: of `defs.yaml`, with `tables.yaml` beside it once `discover` has been run.
        maps: objects whose keys are data, by stream, as paths.
    """

    def __init__(
        self,
        config: SqlDatabaseConfig,
        *,
        project: Path | None = None,
        folder: Path | None = None,
        maps: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.config = config
        self._project = project or Path.cwd()
        self._folder = folder
        self._maps = maps or {}

    def streams(self) -> Sequence[Stream]:
        """The tables and views that are configured.

        Raises:
            ConfigError: patterns are configured and nothing was discovered yet.
        """
        located = self._located()
        every = [each.name for each in located]
        schema = f"{self.config.database_schema}." if self.config.database_schema else ""
        return [
            Stream(
                each.name,
                self.config.settings_of(each.name).primary_key or each.primary_key,
                f"SQL {each.kind} {schema}{each.name}",
                (table_names.plain(each.name, every),),
                tuple((name,) for name in each.lists),
                table_names.table_name(each.name, every),
            )
            for each in located
        ]

    def is_known(self) -> bool:
        """Whether the streams can be told: all are named, or `discover` has been run."""
        return catalog.is_complete(self.config) or catalog.load(self._folder) is not None

    def discover(self, only: Sequence[str] = ()) -> Path:
        """Ask the database what there is, and keep it beside `defs.yaml`.

        Args:
            only: the tables to look at; all others stay as they are known.

        Returns:
            The file that was written.

        Raises:
            ConfigError: there is no folder to keep it in, or it can't be written.
            SourceError: it can't be reached, or a table is not there.
        """
        from millstream.sources.sql_database import connection

        folder = catalog_file.require_folder(self._folder)
        with connection.connect(self.config, self._project, "the database") as connected:
            there = catalog.ask(connected, self.config.database_schema)
        for name in only:
            if name not in there:
                raise SourceNotFoundError(
                    f"no such table: {name}", hint=table_names.did_you_mean(name, there)
                )
        found = there
        if only:
            known = {**(catalog.load(folder) or {}), **{name: there[name] for name in only}}
            found = {name: known[name] for name in sorted(known)}
        path = catalog.save(found, folder)
        lost = None if only else catalog.missing(self.config, found)
        if lost is not None:
            raise SourceNotFoundError(
                f"no such table: {lost}", hint=table_names.did_you_mean(lost, found)
            )
        return path

    def open(
        self, stream: str, *, full_refresh: bool = False, partition: Partition | None = None
    ) -> DltResource:
        """The dlt resource that extracts one table, or one partition of it.

        Raises:
            SourceError: the database can't be reached, or the table not be read.
            ConfigError: its settings contradict what the database has.
        """
        from millstream.sources.sql_database import connection, reading

        located = self._one(stream)
        every = [each.name for each in self._located()]
        return reading.resource(
            self.config,
            connection.engine(self.config, self._project),
            located.name,
            table_names.table_name(stream, every),
            project=self._project,
            partition=partition,
            parses_json=bool(self._maps.get(stream)),
        )

    def check(self) -> Sequence[Check]:
        """Whether the database answers, and each table can be read as configured."""
        from millstream.sources.sql_database import connection, reading

        try:
            with connection.connect(self.config, self._project, "the database") as connected:
                name = connected.dialect.name
                version = ".".join(map(str, connected.dialect.server_version_info or ()))
                found = [Check("database", True, f"reachable, {name} {version}".rstrip())]
                for each in self._located():
                    try:
                        reading.check(self.config, connected, each.name)
                        found.append(Check(each.name, True, "readable"))
                    except MillstreamError as error:
                        found.append(Check(each.name, False, error.message, error.hint))
                return found
        except MillstreamError as error:
            return [Check("database", False, error.message, error.hint)]

    def _located(self) -> Sequence[TableInfo]:
        return catalog.locate(self.config, catalog.load(self._folder))

    def _one(self, stream: str) -> TableInfo:
        for each in self._located():
            if each.name == stream:
                return each
        raise ConfigError(
            f"no stream {stream!r} in this source",
            hint=f"it has {', '.join(each.name for each in self._located())}",
        )
