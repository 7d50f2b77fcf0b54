"""MongoDB: every collection a stream, every BSON type true.

stream_names  streams and collections, known without connecting
discovery   asks the server what there is; keeps it in a file
connection  the address, from the environment; one client for each run
load_spec   what is loaded of a collection, and what the server says of it
loads       one stream: all, what is new by a cursor, or what has changed
loads.read_plan  how all of a collection is read: on from a load that broke off, or anew
ranges      a collection in ranges of `_id`
range_reader  ranges in threads, again from the last document on after a fault
spool       what was read, until dlt has it: a load that broke goes on from there
loads.cursor  incremental reads by a field
partition_filter  the query for one partition
loads.change_stream  change streams
quick_replies  what the server replies, without an object for each document
raw_batches BSON as it came, for the engine to read in columns
encode      BSON -> dlt's typed JSON, where it does not
values      what each BSON type becomes
ids         what `_id` becomes
identity    which collection was read, whatever its name
state       what is kept between runs
errors      what the driver said -> an error with its fix
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from millstream.config import MongoDBCollection, MongoDBConfig
from millstream.errors import ConfigError, MillstreamError, SourceNotFoundError
from millstream.formats.object_maps import is_below
from millstream.model import Check, Partition, Stream
from millstream.sources import catalog_file, table_names
from millstream.sources.mongodb import discovery, stream_names
from millstream.sources.mongodb.stream_names import CollectionRef

if TYPE_CHECKING:
    from dlt.sources import DltSource

    from millstream.sources.mongodb.connection import Client
    from millstream.sources.mongodb.load_spec import LoadSpec

__all__ = ["MongoDBSource"]


class MongoDBSource:
    """The collections of a MongoDB server. Made and asked for its streams without connecting.

    Args:
        folder: of `defs.yaml`, with `collections.yaml` beside it once `discover` has been run.
        maps: objects whose keys are data, by stream, as paths.
    """

    def __init__(
        self,
        config: MongoDBConfig,
        *,
        folder: Path | None = None,
        maps: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._config = config
        self._folder = folder
        self._maps = maps or {}

    def streams(self) -> Sequence[Stream]:
        """The collections and views that are configured.

        Raises:
            ConfigError: patterns are configured and nothing was discovered yet.
        """
        located = self._located()
        every = [each.stream for each in located]
        return [
            _stream(
                each,
                table_names.table_name(each.stream, every),
                _place(each, located),
                self._config.settings_of(each.stream),
                self._maps.get(each.stream, ()),
            )
            for each in located
        ]

    def is_known(self) -> bool:
        """Whether the streams can be told: all are named, or `discover` has been run."""
        return stream_names.is_complete(self._config) or discovery.load(self._folder) is not None

    def discover(self, only: Sequence[str] = ()) -> Path:
        """Ask the server what there is, and keep it beside `defs.yaml`.

        Args:
            only: the streams to look at; all others stay as they are known.

        Returns:
            The file that was written.

        Raises:
            ConfigError: there is no folder to keep it in, or it can't be written.
            SourceError: it can't be reached, nothing may be seen, or a stream is not there.
        """
        folder = catalog_file.require_folder(self._folder)
        found = discovery.discover(self._config, discovery.load(folder), only)
        path = discovery.save(found, folder)
        for name, hint in [] if only else stream_names.missing(self._config, found):
            raise SourceNotFoundError(f"no such collection: {name}", hint=hint)
        return path

    def open(
        self, stream: str, *, full_refresh: bool = False, partition: Partition | None = None
    ) -> DltSource:
        """The dlt source that extracts one collection, or one partition of it.

        Raises:
            SourceError: the server can't be reached, or the collection not be read.
            ConfigError: its settings contradict what the server has.
        """
        located = self._one(stream)
        from millstream.sources.mongodb import connection

        with connection.connect() as client:  # which says so where the driver is not installed
            from millstream.sources.mongodb import load_spec
            from millstream.sources.mongodb.loads import dispatch

            job = self._job(client, located, full=full_refresh, partition=partition)
            load_spec.check(job, client[_database(located)][located.collection])
        table = table_names.table_name(stream, [each.stream for each in self._located()])
        return dispatch.source(job, table)

    def check(self) -> Sequence[Check]:
        """Whether the server answers, and each collection can be read as configured."""
        from millstream.sources.mongodb import connection

        try:
            with connection.connect() as client:  # says so where the driver is not installed
                from millstream.sources.mongodb import load_spec

                version = client.server_info()["version"]
                found = [Check("MongoDB", True, f"reachable, version {version}")]
                for each in self._located():
                    try:
                        collection = client[_database(each)][each.collection]
                        load_spec.check(self._job(client, each), collection)
                        found.append(Check(each.stream, True, "readable"))
                    except MillstreamError as error:
                        found.append(Check(each.stream, False, error.message, error.hint))
                return found
        except MillstreamError as error:
            return [Check("MongoDB", False, error.message, error.hint)]

    def _job(
        self,
        client: Client,
        located: CollectionRef,
        *,
        full: bool = False,
        partition: Partition | None = None,
    ) -> LoadSpec:
        from millstream.sources.mongodb import load_spec

        what = f"collection {located.stream}"
        facts = load_spec.facts(client, _database(located), located.collection, what)
        settings = self._config.settings_of(located.stream)
        maps = self._maps.get(located.stream, ())
        return load_spec.LoadSpec(self._config, located, settings, facts, full, partition, maps)

    def _located(self) -> Sequence[CollectionRef]:
        return stream_names.locate(self._config, discovery.load(self._folder))

    def _one(self, stream: str) -> CollectionRef:
        for each in self._located():
            if each.stream == stream:
                return each
        raise ConfigError(
            f"no stream {stream!r} in this MongoDB source",
            hint=f"it has {', '.join(each.stream for each in self._located())}",
        )


def _stream(
    located: CollectionRef,
    table: str,
    place: tuple[str, ...],
    settings: MongoDBCollection,
    maps: Sequence[str],
) -> Stream:
    where = f"{located.database}.{located.collection}" if located.database else located.collection
    is_collection = located.kind == "collection"
    return Stream(
        located.stream,
        ("_id",) if is_collection else (),
        f"MongoDB {located.kind} {where}",
        place,
        _lists(tuple(keys for keys in located.lists if _is_read(keys, settings)), maps),
        table,
    )


def _lists(found: tuple[tuple[str, ...], ...], maps: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The lists of a sample, with maps among them, and those in a map below it, whatever the key.

    >>> _lists((("tags",), ("m", "0df0", "tags"), ("m", "3f1a", "tags")), ["m"])
    (('tags',), ('m', 'tags'), ('m',))
    """
    for path in (tuple(each.split(".")) for each in maps):
        below = len(path)
        moved = (
            (*keys[:below], *keys[below + 1 :]) if is_below(keys, path) else keys for keys in found
        )
        found = (*dict.fromkeys((*moved, path)),)
    return found


def _is_read(keys: tuple[str, ...], settings: MongoDBCollection) -> bool:
    """False for a list that a sample held and that loads leave out."""
    path = ".".join(keys) + "."
    if any(path.startswith(f"{each}.") for each in settings.exclude):
        return False
    if not settings.projection or keys[0] == "_id_fields":
        return True
    return any(
        path.startswith(f"{each}.") or f"{each}.".startswith(path) for each in settings.projection
    )


def _place(located: CollectionRef, every: Sequence[CollectionRef]) -> tuple[str, ...]:
    beside = [each.collection for each in every if each.database == located.database]
    collection = table_names.plain(located.collection, beside)
    if located.database is None:
        return (collection,)
    databases = {each.database for each in every if each.database}
    return table_names.plain(located.database, databases), collection


def _database(located: CollectionRef) -> str:
    from millstream.sources.mongodb import connection

    database = located.database or connection.default_database()
    if database is None:
        raise ConfigError(
            f"collection {located.stream}: in which database?",
            hint="`databases: [NAME]`, or a connection string that ends with /NAME?...; /admin "
            "only says where the user is kept, as `authSource=admin` does",
        )
    return database
