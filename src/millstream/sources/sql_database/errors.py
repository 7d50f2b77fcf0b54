"""What the driver or the server said -> an error with its fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from millstream.common.redact import redact_foreign
from millstream.errors import (
    SourceAuthError,
    SourceError,
    SourceNotFoundError,
    SourceUnavailableError,
)

_Kind = type[SourceError]

# https://www.postgresql.org/docs/current/errcodes-appendix.html: of a failed login libpq tells none
_POSTGRES: dict[str, _Kind] = {
    "28": SourceAuthError,
    "42501": SourceAuthError,
    "3D": SourceNotFoundError,
    "3F": SourceNotFoundError,
    "42P01": SourceNotFoundError,
    "42703": SourceNotFoundError,
    "08": SourceUnavailableError,
    "53": SourceUnavailableError,
    "57": SourceUnavailableError,
}
# https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html
_MYSQL: dict[int, _Kind] = {
    1044: SourceAuthError,
    1045: SourceAuthError,
    1142: SourceAuthError,
    1143: SourceAuthError,
    1698: SourceAuthError,
    1049: SourceNotFoundError,
    1054: SourceNotFoundError,
    1146: SourceNotFoundError,
    2002: SourceUnavailableError,
    2003: SourceUnavailableError,
    2006: SourceUnavailableError,
    2013: SourceUnavailableError,
}
_SAID: tuple[tuple[str, _Kind], ...] = (
    ("password authentication failed", SourceAuthError),
    ("no password supplied", SourceAuthError),
    ("no pg_hba.conf entry", SourceAuthError),
    ("login failed", SourceAuthError),  # SQL Server
    ("permission denied", SourceAuthError),
    ("does not exist", SourceNotFoundError),
    ("no such", SourceNotFoundError),  # SQLite
    ("unknown database", SourceNotFoundError),
    ("could not translate host name", SourceUnavailableError),
    ("connection refused", SourceUnavailableError),
    ("timeout", SourceUnavailableError),
    ("timed out", SourceUnavailableError),
    ("could not connect", SourceUnavailableError),
    ("can't connect", SourceUnavailableError),
    ("server closed the connection", SourceUnavailableError),
    ("unable to open database file", SourceUnavailableError),
    ("database is locked", SourceUnavailableError),
)
_WORDS: dict[_Kind, tuple[str, str]] = {
    SourceAuthError: (
        "refused",
        "check the user and the password in the URL, and whether the user may read (SELECT)",
    ),
    SourceNotFoundError: (
        "not found",
        "check the database in the URL, `schema`, and `tables`; `millstream discover` asks what "
        "there is",
    ),
    SourceUnavailableError: (
        "can't be reached",
        "is the server running, is the address in the URL right, and does a firewall let this "
        "machine in?",
    ),
}


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Errors of the driver as ours.

    Args:
        what: for people: `table orders`.
    """
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        yield
    except DBAPIError as error:
        raise explain(error.orig or error, what) from None
    except SQLAlchemyError as error:
        raise SourceError(f"{what}: {_first(error)}") from None


def explain(error: BaseException, what: str) -> SourceError:
    """The error to raise for what a driver raised while it read `what`."""
    said = _first(error)
    kind = _kind(error, said.lower())
    if kind is None:
        return SourceError(f"{what}: the database says: {said}")
    words, hint = _WORDS[kind]
    return kind(f"{what}: {words}: {said}", hint=hint)


def _kind(error: BaseException, said: str) -> _Kind | None:
    code: Any = getattr(error, "pgcode", None)
    if code:
        for length in (5, 2):
            if code[:length] in _POSTGRES:
                return _POSTGRES[code[:length]]
        return None
    number = error.args[0] if error.args else None
    if isinstance(number, int) and number in _MYSQL:
        return _MYSQL[number]
    return next((kind for text, kind in _SAID if text in said), None)


def _first(error: BaseException) -> str:
    """What was said, in a line, without the statement that SQLAlchemy adds."""
    arguments = error.args
    if len(arguments) > 1 and isinstance(arguments[0], int):  # of MySQL: a number and a text
        text = f"{arguments[1]} ({arguments[0]})"
    else:
        text = str(error)
    lines = [line.strip() for line in redact_foreign(text).splitlines() if line.strip()]
    return " ".join(lines[:3])[:500] or type(error).__name__
