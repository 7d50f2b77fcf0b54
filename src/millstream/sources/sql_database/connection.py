"""The connection: its URL from the environment, an engine for each use."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream import config as configuration
from millstream.config import SqlDatabaseConfig
from millstream.errors import ConfigError, MissingDependencyError, SourceAuthError
from millstream.sources.sql_database import errors

if TYPE_CHECKING:
    import sqlalchemy as sa

NAMES = ("SOURCES__SQL_DATABASE__CREDENTIALS", "DATABASE_URL")

# what people write, and what SQLAlchemy takes; one driver for each database
_DRIVERS = {
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_PACKAGES = {
    "sqlalchemy": ("SQLAlchemy", "sql_database"),
    "psycopg2": ("psycopg2", "sql_database,postgres"),
    "pymysql": ("pymysql", "sql_database,mysql"),
}
_SECONDS = 10
"""How long a server may take to answer."""
_OPTIONS: dict[str, dict[str, Any]] = {
    "postgresql": {"connect_timeout": _SECONDS, "application_name": "millstream"},
    # times in UTC, whatever the server's own zone; all of Unicode
    "mysql": {
        "connect_timeout": _SECONDS,
        "init_command": "SET time_zone = '+00:00'",
        "charset": "utf8mb4",
    },
}


def address(config: SqlDatabaseConfig) -> str:
    """The URL; it may hold a password, so it goes nowhere but into SQLAlchemy.

    Raises:
        SourceAuthError: none is set.
    """
    names = (config.url_from,) if config.url_from else NAMES
    found = configuration.credential(*names)
    if not found:
        raise SourceAuthError(
            "no database URL is set",
            hint=f"put `{names[-1]}=postgresql://USER:PASSWORD@HOST:5432/DATABASE` into .env or "
            "the environment; mysql://... and sqlite:///FILE are read, too",
        )
    return found


def engine(config: SqlDatabaseConfig, project: Path) -> sa.Engine:
    """An engine that has not connected yet; each use of it is a connection of its own.

    Raises:
        ConfigError: the URL can't be read.
        MissingDependencyError: the driver is not installed.
    """
    try:
        import sqlalchemy as sa
    except ImportError:
        raise _missing("sqlalchemy") from None
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    from millstream.sources.sql_database.columns import SPATIAL

    text = address(config)
    try:
        url = sa.make_url(text)
        if "@" in (url.host or ""):  # part of a password, which errors of the driver would show
            raise ValueError
        url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
        kind = url.get_backend_name()
        if kind == "sqlite":
            url = _sqlite(url, project)
        given = {name.lower() for name in url.query}
        options = _OPTIONS.get("mysql" if kind == "mariadb" else kind, {})
        made = sa.create_engine(
            url,
            poolclass=sa.NullPool,
            connect_args={name: each for name, each in options.items() if name not in given},
        )
    except NoSuchModuleError:
        raise ConfigError(
            f"the database URL begins with {text.partition(':')[0]!r}, which SQLAlchemy does not "
            "know",
            hint="postgresql://, mysql://, mariadb://, sqlite:///, or what the package of another "
            "SQLAlchemy dialect documents",
        ) from None
    except ModuleNotFoundError as error:
        raise _missing(str(error.name)) from None
    except (ArgumentError, ValueError, TypeError) as error:
        # the message may quote the URL, password and all
        raise ConfigError(
            f"the database URL can't be read ({type(error).__name__})",
            hint="it has the form postgresql://USER:PASSWORD@HOST:5432/DATABASE; characters such "
            "as @ : / in a password are written %40 %3A %2F",
        ) from None
    if kind in ("mysql", "mariadb"):
        dialect: Any = made.dialect
        dialect.ischema_names = {**dialect.ischema_names, **SPATIAL}
    return made


@contextmanager
def connect(config: SqlDatabaseConfig, project: Path, what: str) -> Iterator[sa.Connection]:
    """A connection that is closed at the end, whose errors are explained.

    Args:
        what: for people: `table orders`.

    Raises:
        SourceError: not reachable, not with these credentials, or the server refused.
    """
    made = engine(config, project)
    with errors.explained(what), made.connect() as connection:
        yield connection


@contextmanager
def unknown_types_are_texts() -> Iterator[None]:
    """While tables are described: SQLAlchemy would warn of each column whose type it lacks."""
    from sqlalchemy.exc import SAWarning

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Did not recognize type", SAWarning)
        yield


def _sqlite(url: sa.URL, project: Path) -> sa.URL:
    """A file, from the project's folder on; SQLite would make one that is not there."""
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        return url
    file = project / name
    if not file.is_file():
        raise ConfigError(
            f"the database URL names the file {name}, which is not there",
            hint=f"relative paths start from {project}; an absolute one has four slashes: "
            "sqlite:////data/shop.db",
        )
    return url.set(database=str(file))


def _missing(module: str) -> MissingDependencyError:
    module = module.partition(".")[0]
    if module not in _PACKAGES:
        return MissingDependencyError(
            f"this database needs the package {module}", hint=f"pip install {module}"
        )
    package, extra = _PACKAGES[module]
    return MissingDependencyError(
        f"this database needs the package {package}", hint=f"pip install 'millstream[{extra}]'"
    )
