"""What is in the databases, asked once and kept in a file beside `defs.yaml`.

Definitions are then known with the server down, and reading the file needs neither dlt nor pymongo.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.config import MongoDBConfig
from millstream.errors import ConfigError, SourceAuthError, SourceNotFoundError
from millstream.sources import catalog_file
from millstream.sources.mongodb import stream_names
from millstream.sources.mongodb.bson_types import keys
from millstream.sources.table_names import did_you_mean

if TYPE_CHECKING:
    from millstream.sources.mongodb.connection import Client

FILE = "collections.yaml"
SAMPLE = 100
_PATIENCE = 30_000
"""Milliseconds that the sample of one collection may take; some views compute for hours."""


@dataclass(frozen=True, slots=True)
class Collection:
    """One collection.

    Attributes:
        kind: `collection`, `view` or `timeseries`.
        documents: about how many, or None for a view.
        fields: by path (`address.city`, `tags[]`), the BSON types that a sample held, each with
            the share of the sampled documents that have it.
    """

    name: str
    kind: str = "collection"
    documents: int | None = None
    fields: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def lists(self) -> tuple[tuple[str, ...], ...]:
        """The lists that were not empty in the sample, each by the keys that lead to it.

        A list within a list is at `list` in it, as dlt names it.
        """
        found: set[tuple[str, ...]] = set()
        for path in self.fields:
            at: list[str] = []
            was_list = False
            for key in keys(path):
                if key == "[]":
                    at += ["list"] if was_list else []
                    found.add(tuple(at))
                elif not at and key == "_id":
                    at.append("_id_fields")  # beside the `_id` itself, which is one value
                else:
                    at.append(key)
                was_list = key == "[]"
        return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class Catalog:
    """The collections of each database, sorted by name."""

    content: Mapping[str, Sequence[Collection]]

    @property
    def databases(self) -> tuple[str, ...]:
        return tuple(self.content)

    def collections(self, database: str) -> Sequence[Collection]:
        return self.content.get(database, ())

    def find(self, database: str | None, name: str) -> Collection | None:
        """A collection, or None where it was not found; None asks all databases."""
        for each in [database] if database else self.databases:
            for collection in self.collections(each):
                if collection.name == name:
                    return collection
        return None


def discover(
    config: MongoDBConfig, old: Catalog | None = None, only: Sequence[str] = ()
) -> Catalog:
    """Ask the server for databases and collections, and look at a sample of those configured.

    Args:
        only: the streams to look at; of all others, what `old` knows stays as it is.

    Raises:
        SourceError: it can't be reached, nothing may be seen, or a stream of `only` is not there.
    """
    from millstream.sources.mongodb import connection

    def wanted(database: str, name: str) -> bool:
        stream = stream_names.stream_name(config, database, name)
        if name.startswith("system."):
            return False
        return stream in only if only else stream_names.is_configured(config, stream)

    with connection.connect() as client:
        found = {
            database: tuple(_collections(client, database, wanted))
            for database in _databases(client, config)
        }
    if not only:
        return Catalog(found)
    missing = set(only) - {
        stream_names.stream_name(config, database, each.name)
        for database, collections in found.items()
        for each in collections
    }
    if missing:
        raise SourceNotFoundError(f"no such collection: {', '.join(sorted(missing))}")
    content = {}
    for database, collections in found.items():
        known = {each.name: each for each in (old or Catalog(found)).collections(database)}
        known |= {each.name: each for each in collections if wanted(database, each.name)}
        content[database] = tuple(known[name] for name in sorted(known))
    return Catalog(content)


def save(catalog: Catalog, folder: Path) -> Path:
    """Write the catalog beside `defs.yaml`, in an order that keeps differences small.

    Raises:
        ConfigError: the folder can't be written.
    """
    content = {
        database: {
            each.name: {
                "kind": each.kind,
                "documents": each.documents,
                "fields": {path: dict(types) for path, types in sorted(each.fields.items())},
            }
            for each in collections
        }
        for database, collections in catalog.content.items()
    }
    return catalog_file.write(folder / FILE, "MongoDB", {"databases": content})


def load(folder: Path | None) -> Catalog | None:
    """The catalog beside `defs.yaml`; None where nothing was discovered yet.

    Raises:
        ConfigError: the file is not one.
    """
    if folder is None:
        return None

    def made(content: Any) -> Catalog:
        return Catalog(
            {
                database: tuple(
                    Collection(
                        name, found["kind"], found.get("documents"), found.get("fields") or {}
                    )
                    for name, found in collections.items()
                )
                for database, collections in content["databases"].items()
            }
        )

    return catalog_file.read(folder / FILE, "collections", made)


def _databases(client: Client, config: MongoDBConfig) -> Sequence[str]:
    from pymongo.errors import PyMongoError

    from millstream.sources.mongodb import connection, errors

    if config.databases:
        return config.databases
    own = connection.default_database()
    if own:
        return [own]
    try:
        names = sorted(set(client.list_database_names()) - connection.SYSTEM_DATABASES)
    except PyMongoError as error:
        raise errors.explain(error, "the MongoDB server") from None
    if len(names) == 1:
        return names
    raise ConfigError(
        "which database? neither the configuration nor the connection string names one with data",
        hint=f"`databases: [{', '.join(names)}]`" if names else "this user sees none",
    )


def _collections(
    client: Client, database: str, wanted: Callable[[str, str], bool]
) -> Iterator[Collection]:
    from pymongo.errors import PyMongoError

    from millstream.sources.mongodb import connection, errors

    try:
        found = list(client[database].list_collections(authorizedCollections=True, nameOnly=True))
    except PyMongoError as error:
        raise errors.explain(error, f"database {database}") from None
    if not found:
        try:
            databases = client.list_database_names()
        except PyMongoError:  # not allowed to list them
            databases = [database]
        if database not in databases:
            others = {*databases} - connection.SYSTEM_DATABASES
            raise SourceNotFoundError(
                f"no such database: {database}", hint=did_you_mean(database, others)
            )
        raise SourceAuthError(f"database {database}: there is no collection that this user may see")
    for each in sorted(found, key=lambda each: each["name"]):
        name = each["name"]
        kind = each.get("type", "collection")
        if wanted(database, name):
            yield _look(client, database, name, kind)
        elif not name.startswith("system."):
            yield Collection(name, kind)  # known by name, for patterns that are changed later


def _look(client: Client, database: str, name: str, kind: str) -> Collection:
    from bson.codec_options import CodecOptions
    from bson.raw_bson import RawBSONDocument
    from pymongo.errors import PyMongoError

    from millstream.sources.mongodb.bson_types import types_of

    raw: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
    collection: Any = client[database].get_collection(name, codec_options=raw)
    try:
        documents = None if kind == "view" else collection.estimated_document_count()
        seen: Counter[tuple[str, str]] = Counter()
        sampled = 0
        sample = [{"$sample": {"size": SAMPLE}}]
        for document in collection.aggregate(sample, maxTimeMS=_PATIENCE):
            sampled += 1
            # a copy: the driver returns large documents as a view of the whole reply
            seen.update(set(types_of(bytes(document.raw))))
    except PyMongoError:
        # not allowed, or a view that fails or takes too long: its own run says why
        return Collection(name, kind)
    fields: dict[str, dict[str, float]] = {}
    for (path, bson_type), count in sorted(seen.items()):
        fields.setdefault(path, {})[bson_type] = round(count / sampled, 2)
    return Collection(name, kind, documents, fields)
