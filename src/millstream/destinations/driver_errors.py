"""What a driver said -> which error, with the fix and without the secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.common.redact import redact_foreign
from millstream.common.sql_client import sql_client
from millstream.config import TargetConfig
from millstream.destinations.factory import credentials_variable, not_installed
from millstream.errors import (
    ConfigError,
    DestinationAuthError,
    DestinationError,
    DestinationNotFoundError,
    DestinationUnavailableError,
    MillstreamError,
)

if TYPE_CHECKING:
    import dlt

_LOCKED = r"Could not set lock|Conflicting lock"
_NO_CONNECTION_FREE = "too many (clients|connections)|connection slots are reserved"
# The first pattern found in the driver's text decides. Drivers give no code for a connection that
# failed (psycopg2's `pgcode` is None then), so the text is all there is.
_MEANINGS: tuple[tuple[str, type[DestinationError]], ...] = (
    # PostgreSQL: libpq and the server
    (r"password authentication failed|no password supplied", DestinationAuthError),
    (r"authentication failed|no pg_hba\.conf entry|role \S+ does not exist", DestinationAuthError),
    (r"database \S+ does not exist", DestinationNotFoundError),
    (r"could not translate host name|Name or service not known", DestinationUnavailableError),
    (r"connection refused|timeout expired|timed out|no route to host", DestinationUnavailableError),
    (rf"{_NO_CONNECTION_FREE}|starting up|shutting down", DestinationUnavailableError),
    # Google
    (r"invalid_grant|RefreshError|Invalid JWT|invalid_client", DestinationAuthError),
    (r"Could not deserialize key|No key could be detected|Malformed|PEM", DestinationAuthError),
    (r"DefaultCredentialsError|default credentials were not found", DestinationAuthError),
    (r"Not found: Project|bucket does not exist|NoSuchBucket", DestinationNotFoundError),
    (r"TransportError|Max retries exceeded|NewConnectionError", DestinationUnavailableError),
    # DuckDB
    (_LOCKED, DestinationUnavailableError),
    (r"not a valid DuckDB database file|serialization", DestinationError),
    # all of them
    (r"\b40[13]\b|permission denied|access denied|forbidden|unauthorized", DestinationAuthError),
    (r"insufficient privilege|InvalidAccessKeyId|Unable to locate cred", DestinationAuthError),
    (r"\b404\b|not found|does not exist|No such file", DestinationNotFoundError),
)

# https://duckdb.org/docs/stable/internals/storage: behind a checksum of eight bytes
_DUCKDB_MAGIC = b"DUCK"
_ANOTHER_FILE = "name another file as `database`: this one is left as it is"

# fields of dlt's configuration that users don't set
_SET_BY_US = frozenset({"dataset_name", "local_dir"})

_CHECK = "23514"
_CHECK_DEFINITION = """
    SELECT pg_get_constraintdef(c.oid), ARRAY(
        SELECT a.attname::text FROM pg_attribute AS a
        WHERE a.attrelid = t.oid AND a.attnum = ANY (c.conkey) ORDER BY a.attnum
    )
    FROM pg_constraint AS c
    JOIN pg_class AS t ON t.oid = c.conrelid
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    WHERE n.nspname = %s AND t.relname = %s AND c.conname = %s
"""
_ROW_IN_DETAIL = frozenset({"23502", _CHECK})
"""Null where none may be, and a check that failed: "Failing row contains (1, ...)"."""
_DATA_EXCEPTION = "22"
"""Their context names a column and its value, all others' the whole row."""

_ADDRESS = re.compile(r"\b(GET|POST|PUT) https?://\S+: ")
_SECRET_NAMES = re.compile(r"passw|secret|token|private_key|passphrase|_key$", re.IGNORECASE)


def explain(
    error: BaseException, config: TargetConfig, *, where: str, secrets: Iterable[str] = ()
) -> MillstreamError:
    """The error to raise for what a driver raised.

    Args:
        where: the destination's place, such as `postgres at db.example.com:5432/warehouse`.
        secrets: values that must not be shown, whatever the driver makes of them.
    """
    if isinstance(error, MillstreamError):
        return error
    if (open_elsewhere := in_use(error)) is not None:
        return open_elsewhere
    root = root_error(error)
    if isinstance(root, ImportError):
        return not_installed(config.destination.type, root)
    said = redact_foreign(_said(root), secrets) or type(root).__name__
    kind = _meaning(f"{type(root).__name__}: {said}")
    return kind(f"{where}: {said}", hint=_hint(kind, config, said))


def error_text(error: BaseException) -> str:
    """What a driver said, without the texts of whole rows that PostgreSQL adds.

    The column and the value that a row was refused for are kept, where the server names them.
    https://www.postgresql.org/docs/current/errcodes-appendix.html
    """
    said = getattr(error, "diag", None)
    if said is None or not said.message_primary:
        return str(error)
    state = str(said.sqlstate or "")
    parts = [said.message_primary]
    if said.message_detail and state not in _ROW_IN_DETAIL:
        parts.append(said.message_detail)
    if said.context and state.startswith(_DATA_EXCEPTION):
        parts.append(said.context)
    elif said.context and (place := re.match(r"COPY [^,\n]+, [^,:\n]+", said.context)):
        parts.append(place[0])
    return "\n".join(parts)


def violated_check(pipeline: dlt.Pipeline, error: BaseException) -> str | None:
    """The columns and the condition of the check that PostgreSQL refused a row by; None of others.

    The server names the constraint alone: of other constraints it names columns itself.
    """
    said = getattr(root_error(error), "diag", None)
    if said is None or said.sqlstate != _CHECK or not said.table_name:
        return None
    opened = sql_client(pipeline)
    if opened is None:
        return None
    with suppress(Exception), opened as client:  # a help, where the server still answers
        rows = client.execute_sql(
            _CHECK_DEFINITION, said.schema_name, said.table_name, said.constraint_name
        )
        for definition, columns in rows or ():
            return f"it is {definition}, on {', '.join(f'`{name}`' for name in columns)}"
    return None


def in_use(error: BaseException) -> DestinationUnavailableError | None:
    """The error to raise where another process has a DuckDB file open; None for other errors."""
    said = str(root_error(error))
    if not re.search(_LOCKED, said):
        return None
    found = re.search(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)", said)
    named = re.search(r"lock on file \"(.+?)\"", said)
    file = f" {named[1]}" if named else ""
    whose = f"process {found['pid']} ({found['program']})" if found else "another process"
    return DestinationUnavailableError(
        f"duckdb: {whose} has the DuckDB file{file} open",
        hint="close the file there, or end that process; then run again. No data was lost: what "
        "was extracted already is loaded first",
    )


def _is_open_here(file: Path) -> bool:
    """Whether this process has a file open."""
    known = file.stat()
    for descriptor in Path("/dev/fd").iterdir():
        with suppress(OSError):
            found = os.fstat(int(descriptor.name))
            if (found.st_dev, found.st_ino) == (known.st_dev, known.st_ino):
                return True
    return False


def refuse_other_files(file: Path) -> None:
    """Refuse a file that is no database of DuckDB's.

    A database that this process has open is not opened here again: closing it would end DuckDB's
    lock, which is the process's (fcntl(2)), and let another process write at the same time.

    It opens CSV, JSON and Parquet, too: as a database in memory, with a view on the file. What is
    loaded there is gone without a word.

    Raises:
        DestinationError: with the fix.
    """
    if file.is_dir():
        raise DestinationError(
            f"duckdb at {file}: is a directory", hint="name a file in it as `database`"
        )
    if _is_open_here(file):
        return
    with file.open("rb") as opened:
        head = opened.read(12)
    if head[8:] != _DUCKDB_MAGIC:
        raise DestinationError(
            f"duckdb at {file}: not a valid DuckDB database file", hint=_ANOTHER_FILE
        )


def missing(error: Exception, config: TargetConfig) -> MillstreamError:
    """The error to raise for credentials or settings that dlt found nowhere."""
    name = config.destination.type
    variable = credentials_variable(config)
    fields = _missing_fields(error)
    settings = [
        field for field in fields if not field.startswith("credentials") and field not in _SET_BY_US
    ]
    if settings:
        option = settings[0]
        return ConfigError(
            f"the destination {name!r} needs a setting: {', '.join(settings)}",
            hint=f"put `options: {{{option}: ...}}` under `destination` in defs.yaml, or set "
            f"{variable.removesuffix('CREDENTIALS')}{option.upper()}",
        )
    parts = [field.removeprefix("credentials.") for field in fields if "." in field]
    if config.destination.type == "bigquery":
        parts = []  # dlt lists those of every kind of credentials it knows
    lacking = f": {', '.join(parts)}" if parts else ""
    return DestinationAuthError(
        f"no credentials for the destination {name!r}{lacking}",
        hint=f"set {variable}{_example(name)} in the environment, in .env or in dlt's secrets.toml",
    )


def unreadable(config: TargetConfig) -> MillstreamError:
    """The error to raise for credentials that dlt could not parse; shows nothing of them."""
    variable = credentials_variable(config)
    return DestinationAuthError(
        f"the credentials for the destination {config.destination.type!r} can't be read",
        hint=f"set {variable}{_example(config.destination.type) or ' as dlt documents it'}; "
        "percent-encode special characters in a password (`@` is `%40`)",
    )


def secrets_of(credentials: Any) -> list[str]:
    """The secret values in dlt's resolved credentials."""
    if isinstance(credentials, str):
        return [credentials]
    try:
        items = dict(credentials).items()
    except (TypeError, ValueError):
        return []
    return [
        str(value) for name, value in items if value and _SECRET_NAMES.search(str(name)) is not None
    ]


def root_error(error: BaseException) -> BaseException:
    """The driver's own exception, out of what dlt wrapped around it."""
    for _ in range(10):
        inner = getattr(error, "inner_exc", None) or error.__cause__
        if inner is None and error.args and isinstance(error.args[0], BaseException):
            inner = error.args[0]
        if inner is None or inner is error:
            break
        error = inner
    return error


def _said(error: BaseException) -> str:
    """The driver's words on one line, without what changes from one attempt to the next."""
    # Google's library puts the address first, and a job's number after an empty line
    first = str(error).split("\n\n", 1)[0]
    return " ".join(_ADDRESS.sub("", first).split())[:400]


def _meaning(text: str) -> type[DestinationError]:
    for pattern, kind in _MEANINGS:
        if re.search(pattern, text, re.IGNORECASE):
            return kind
    return DestinationError


def _hint(kind: type[DestinationError], config: TargetConfig, said: str) -> str | None:
    variable = credentials_variable(config)
    if config.destination.type == "duckdb":
        return _duckdb_hint(said)
    if kind is DestinationAuthError:
        return f"check {variable}{_example(config.destination.type)}"
    if kind is DestinationNotFoundError:
        return f"create it, or correct {variable}; dlt makes the dataset, but nothing above it"
    if re.search(_NO_CONNECTION_FREE, said):
        return (
            "the server has no connection free: lower `max_concurrent_streams` in defs.yaml, or "
            "let the server have more"
        )
    if kind is DestinationUnavailableError:
        return f"is the server up, and are host and port in {variable} right?"
    return None


def _duckdb_hint(said: str) -> str | None:
    if "not a valid DuckDB" in said:
        return _ANOTHER_FILE
    return None


def _example(name: str) -> str:
    if name in ("postgres", "redshift"):
        scheme = "postgresql" if name == "postgres" else name
        return f"={scheme}://USER:PASSWORD@HOST:PORT/DATABASE"
    if name == "bigquery":
        return " to a service account's JSON"
    return ""


def _missing_fields(error: Any) -> list[str]:
    found = []
    for field, traces in getattr(error, "traces", {}).items():
        nested = [
            f"{field}.{inner}" for trace in traces for inner in getattr(trace, "traces", {}) or {}
        ]
        # a union of credentials lists every alternative
        found += list(dict.fromkeys(nested)) or [field]
    return found
