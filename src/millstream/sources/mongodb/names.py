"""Streams and the collections behind them, by name alone.

One database: a stream has its collection's name. Several: `database.collection`. The table is dlt's
form of the stream's name (`userProfiles` -> `user_profiles`, `shop.orders` -> `shop_orders`); since
that form never holds two underscores in a row, no collection's table can be another's child table.
Where two names share a form, the one that is not written in it gets a digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from hashlib import sha1

from millstream.config import MongoDBConfig
from millstream.errors import ConfigError
from millstream.sources.mongodb.discovery import Catalog


@dataclass(frozen=True, slots=True)
class Located:
    """Where a stream's documents are. `database` is None for the connection string's own."""

    stream: str
    database: str | None
    collection: str
    kind: str = "collection"


def locate(config: MongoDBConfig, catalog: Catalog | None) -> tuple[Located, ...]:
    """The streams that are configured, in the order of the configuration, patterns resolved.

    Raises:
        ConfigError: there are patterns, and nothing was discovered yet.
    """
    found: dict[str, Located] = {}
    for pattern in config.collections:
        matches = (
            list(_matching(config, catalog, pattern))
            if _is_pattern(pattern)
            else [_explicit(config, catalog, pattern)]
        )
        for each in matches:
            found.setdefault(each.stream, each)
    unknown = sorted(set(config.settings) - set(found))
    if unknown:
        close = get_close_matches(unknown[0], found, n=1)
        raise ConfigError(
            f"`settings` name {unknown[0]!r}, which is no collection of this source",
            hint=f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(found)}",
        )
    return tuple(found.values())


def table_name(stream: str, streams: Iterable[str], normalize: Callable[[str], str]) -> str:
    """The root table of a stream, apart from those of all other streams.

    >>> table_name("fs.files", ["fs.files", "users"], lambda name: name.replace(".", "_"))
    'fs_files'
    """
    name = normalize(stream)
    rivals = [each for each in streams if each != stream and normalize(each) == name]
    if rivals and stream != name:
        return f"{name}_x{sha1(stream.encode(), usedforsecurity=False).hexdigest()[:6]}"
    return name


def _is_pattern(name: str) -> bool:
    return any(character in name for character in "*?[")


def _explicit(config: MongoDBConfig, catalog: Catalog | None, name: str) -> Located:
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
    kind = catalog.kind(database, collection) if catalog else None
    return Located(name, database, collection, kind or "collection")


def _matching(config: MongoDBConfig, catalog: Catalog | None, pattern: str) -> Iterable[Located]:
    if catalog is None:
        raise ConfigError(
            f"the collections that {pattern!r} stands for are not known yet",
            hint="`millstream discover` asks the server once and keeps the answer beside defs.yaml",
        )
    databases: Sequence[str] = config.databases or catalog.databases
    several = len(config.databases) > 1
    for database in databases:
        for collection in catalog.collections(database):
            stream = f"{database}.{collection.name}" if several else collection.name
            if fnmatchcase(stream, pattern):
                yield Located(
                    stream,
                    database,
                    collection.name,
                    collection.kind,
                )


def _only(config: MongoDBConfig) -> str | None:
    return config.databases[0] if config.databases else None
