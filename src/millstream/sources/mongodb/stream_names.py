"""Streams and the collections behind them, by name alone.

One database: a stream has its collection's name. Several: `database.collection`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from millstream.config import MongoDBConfig
from millstream.errors import ConfigError
from millstream.sources.table_names import did_you_mean, is_pattern

if TYPE_CHECKING:
    from millstream.sources.mongodb.discovery import Catalog


@dataclass(frozen=True, slots=True)
class CollectionRef:
    """Where a stream's documents are. `database` is None for the connection string's own.

    Attributes:
        lists: that a sample of its documents held, as `Stream.lists`.
    """

    stream: str
    database: str | None
    collection: str
    kind: str = "collection"
    lists: tuple[tuple[str, ...], ...] = ()


def locate(config: MongoDBConfig, catalog: Catalog | None) -> tuple[CollectionRef, ...]:
    """The streams that are configured, in the order of the configuration, patterns resolved.

    Raises:
        ConfigError: there are patterns, and nothing was discovered yet, or one matches nothing.
    """
    found: dict[str, CollectionRef] = {}
    for pattern in config.collections:
        for each in _named(config, catalog, pattern):
            found.setdefault(each.stream, each)
    unknown = sorted(set(config.settings) - set(found))
    if unknown:
        close = get_close_matches(unknown[0], found, n=1)
        raise ConfigError(
            f"`settings` name {unknown[0]!r}, which is no collection of this source",
            hint=f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(found)}",
        )
    return tuple(found.values())


def stream_name(config: MongoDBConfig, database: str, collection: str) -> str:
    """What the stream of a collection is called."""
    return f"{database}.{collection}" if len(config.databases) > 1 else collection


def is_configured(config: MongoDBConfig, stream: str) -> bool:
    """True for a stream that the configuration names, or that one of its patterns matches."""
    return any(
        fnmatchcase(stream, each) if is_pattern(each) else stream == each
        for each in config.collections
    )


def is_complete(config: MongoDBConfig) -> bool:
    """True where every collection is named, so that there is nothing to discover first."""
    return not any(is_pattern(each) for each in config.collections)


def missing(config: MongoDBConfig, catalog: Catalog) -> list[tuple[str, str]]:
    """The collections that are configured and not in the catalog, each with a hint."""
    known = _streams(config, catalog)
    return [
        (name, did_you_mean(name, known, "there are no collections"))
        for name in config.collections
        if name not in known and not is_pattern(name)
    ]


def _streams(config: MongoDBConfig, catalog: Catalog) -> dict[str, CollectionRef]:
    databases: Sequence[str] = config.databases or catalog.databases
    return {
        (stream := stream_name(config, database, each.name)): CollectionRef(
            stream, database, each.name, each.kind, each.lists
        )
        for database in databases
        for each in catalog.collections(database)
    }


def _named(config: MongoDBConfig, catalog: Catalog | None, name: str) -> Sequence[CollectionRef]:
    """The streams that one entry of `collections` stands for."""
    if not is_pattern(name):
        return [_explicit(config, catalog, name)]
    if catalog is None:
        raise ConfigError(
            f"the collections that {name!r} stands for are not known yet",
            hint="`millstream discover` asks the server once and keeps the answer beside defs.yaml",
        )
    known = _streams(config, catalog)
    if name in known:  # a collection may have such a name
        return [known[name]]
    found = [each for stream, each in known.items() if fnmatchcase(stream, name)]
    if not found:
        raise ConfigError(
            f"`collections`: {name!r} matches no collection",
            hint=f"{did_you_mean(name, known)} `millstream discover` asks the server anew",
        )
    return found


def _explicit(config: MongoDBConfig, catalog: Catalog | None, name: str) -> CollectionRef:
    if len(config.databases) > 1:
        # names of databases hold no dots, names of collections may
        first, dot, collection = name.partition(".")
        database: str | None = first
        if not dot or first not in config.databases:
            raise ConfigError(
                f"collection {name!r}: which of the databases {', '.join(config.databases)}?",
                hint=f"write {config.databases[0]}.{name}",
            )
    else:
        database, collection = _only(config), name
    known = catalog.find(database, collection) if catalog else None
    if known is None:
        return CollectionRef(name, database, collection)
    return CollectionRef(name, database, collection, known.kind, known.lists)


def _only(config: MongoDBConfig) -> str | None:
    return config.databases[0] if config.databases else None
