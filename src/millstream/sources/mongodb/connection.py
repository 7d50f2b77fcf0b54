"""The connection: its address from the environment, one client for each run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from millstream import config as configuration
from millstream.errors import ConfigError, MissingDependencyError, SourceAuthError
from millstream.sources.mongodb import errors

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.client_session import ClientSession

    Client = MongoClient[dict[str, Any]]

NAMES = (
    "SOURCES__MONGODB__CONNECTION_URL",
    "SOURCES__MONGODB__CONNECTION__URL",
    "MONGODB_URI",
)

DEFAULTS: dict[str, Any] = {
    "appname": "millstream",
    "serverSelectionTimeoutMS": 10_000,
    "connectTimeoutMS": 10_000,
    # retried by us, from the last document on: the driver's own retry repeats whole commands only
    "retryReads": True,
}


def address() -> str:
    """The connection string; it may hold a password, so it goes nowhere but into the driver.

    Raises:
        SourceAuthError: none is set.
    """
    found = configuration.credential(*NAMES)
    if not found:
        raise SourceAuthError(
            "no MongoDB connection string is set",
            hint=f"put `{NAMES[-1]}=mongodb://USER:PASSWORD@HOST:27017/DATABASE` into .env or the "
            f"environment, or set {NAMES[0]}",
        )
    return found


# they hold users and the server's own data; a string may end in /admin to say who logs in where
SYSTEM_DATABASES = frozenset({"admin", "config", "local"})


def default_database() -> str | None:
    """The database that the connection string names, if it names one of data."""
    found = _parsed().get("database")
    return None if found in SYSTEM_DATABASES else found


def _parsed() -> dict[str, Any]:
    try:
        from pymongo.uri_parser import parse_uri
    except ImportError:
        raise MissingDependencyError(
            "MongoDB needs the package pymongo", hint="pip install 'millstream[mongodb]'"
        ) from None
    from pymongo.errors import PyMongoError

    try:
        return dict(parse_uri(address(), warn=False))
    except (PyMongoError, ValueError) as error:
        if errors.is_unresolved(error):  # mongodb+srv:// is a name to look up
            raise errors.explain(error, "the MongoDB server") from None
        # the driver's message may quote the string, password and all
        raise ConfigError(
            f"the MongoDB connection string can't be read ({type(error).__name__})",
            hint="it has the form mongodb://USER:PASSWORD@HOST:27017/DATABASE?option=value or "
            "mongodb+srv://...; characters such as @ : / in a password are written %40 %3A %2F",
        ) from None


@contextmanager
def connect() -> Iterator[Client]:
    """A client that has reached the server and is closed at the end.

    Raises:
        SourceError: not reachable, or not with these credentials.
    """
    _parsed()
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    url = address()
    try:
        given = {key.lower() for key in _options(url)}
        defaults = {k: v for k, v in DEFAULTS.items() if k.lower() not in given}
        client: Client = MongoClient(url, **defaults)
    except (PyMongoError, ValueError, OSError) as error:
        raise errors.explain(error, "the MongoDB server") from None
    with client:
        try:
            client.admin.command("ping")
        except (PyMongoError, OSError) as error:
            raise errors.explain(error, "the MongoDB server") from None
        yield client


def _options(url: str) -> list[str]:
    query = url.partition("?")[2]
    return [pair.partition("=")[0] for pair in query.split("&") if pair]


@contextmanager
def causal(client: Client, after: ClientSession | None = None) -> Iterator[ClientSession | None]:
    """A session whose reads see at least what `after` saw, on whichever member they land.

    Secondaries lag behind each other: without it, a cursor's highest value could come from a member
    that is ahead of the one that is then read. None where the server keeps no such clock.
    """
    if not is_replicated(client):
        yield None
        return
    with client.start_session(causal_consistency=True) as session:
        if after is not None:
            if after.cluster_time is not None:
                session.advance_cluster_time(after.cluster_time)
            if after.operation_time is not None:
                session.advance_operation_time(after.operation_time)
        yield session


def is_replicated(client: Client) -> bool:
    """True on a replica set or a sharded cluster, where change streams and causal reads work."""
    hello = client.admin.command("hello")
    return bool(hello.get("setName")) or hello.get("msg") == "isdbgrid"
