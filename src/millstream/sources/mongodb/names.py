"""Streams and the collections behind them, by name alone.

One database: a stream has its collection's name. Several: `database.collection`. The table is dlt's
form of the stream's name (`userProfiles` -> `user_profiles`, `shop.orders` -> `shop_orders`); since
that form never holds two underscores in a row, no collection's table can be another's child table.
Where two names share a form, the one that is not written in it gets a digest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from hashlib import sha1
from typing import TYPE_CHECKING

from millstream.config import MongoDBConfig
from millstream.errors import ConfigError

if TYPE_CHECKING:
    from millstream.sources.mongodb.discovery import Catalog

# what dlt's snake case leaves as it is, but for dots
_PLAIN = re.compile(r"[a-z][a-z0-9]*([._][a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Located:
    """Where a stream's documents are. `database` is None for the connection string's own.

    Attributes:
        lists: that a sample of its documents held, as `Stream.lists`.
    """

    stream: str
    database: str | None
    collection: str
    kind: str = "collection"
    lists: tuple[tuple[str, ...], ...] = ()


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


def table_name(stream: str, streams: Iterable[str]) -> str:
    """The root table of a stream, apart from those of all other streams.

    >>> table_name("fs.files", ["fs.files", "users"])
    'fs_files'
    """
    name = normalized(stream)
    rivals = [each for each in streams if each != stream and normalized(each) == name]
    if rivals and stream != name:
        return f"{name}_x{sha1(stream.encode(), usedforsecurity=False).hexdigest()[:6]}"
    return name


@cache
def normalized(name: str) -> str:
    """dlt's name for a table, in snake case."""
    if _PLAIN.fullmatch(name):
        return name.replace(".", "_")
    # rare, and needs dlt, which takes a second to import
    from dlt.common.normalizers.naming.snake_case import NamingConvention

    return NamingConvention().normalize_table_identifier(name)


def plain(name: str, others: Iterable[str]) -> str:
    """A database or a collection, as Dagster can name assets and jobs after it.

    >>> plain("userProfiles", []), plain("fs.files", []), plain("orders__items", [])
    ('userProfiles', 'fs_files', 'orders_items')
    """
    if re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", name):
        return name
    return table_name(name, others)


def stream_name(config: MongoDBConfig, database: str, collection: str) -> str:
    """What the stream of a collection is called."""
    return f"{database}.{collection}" if len(config.databases) > 1 else collection


def is_configured(config: MongoDBConfig, stream: str) -> bool:
    """True for a stream that the configuration names, or that one of its patterns matches."""
    return any(
        fnmatchcase(stream, each) if _is_pattern(each) else stream == each
        for each in config.collections
    )


def is_complete(config: MongoDBConfig) -> bool:
    """True where every collection is named, so that there is nothing to discover first."""
    return not any(_is_pattern(each) for each in config.collections)


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
    known = catalog.find(database, collection) if catalog else None
    if known is None:
        return Located(name, database, collection)
    return Located(name, database, collection, known.kind, known.lists)


def _matching(config: MongoDBConfig, catalog: Catalog | None, pattern: str) -> Iterable[Located]:
    if catalog is None:
        raise ConfigError(
            f"the collections that {pattern!r} stands for are not known yet",
            hint="`millstream discover` asks the server once and keeps the answer beside defs.yaml",
        )
    databases: Sequence[str] = config.databases or catalog.databases
    for database in databases:
        for each in catalog.collections(database):
            stream = stream_name(config, database, each.name)
            if fnmatchcase(stream, pattern):
                yield Located(stream, database, each.name, each.kind, each.lists)


def _only(config: MongoDBConfig) -> str | None:
    return config.databases[0] if config.databases else None
