"""Is the destination there, reachable and allowed? Asked before anything is extracted."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from millstream.common import retry
from millstream.common.sql_client import kind_of
from millstream.config import TargetConfig
from millstream.destinations import driver_errors
from millstream.destinations.factory import build, credentials_variable, settings
from millstream.destinations.table_names import dataset_name
from millstream.errors import (
    DestinationAuthError,
    DestinationError,
    DestinationUnavailableError,
    MillstreamError,
)
from millstream.model import Check

if TYPE_CHECKING:
    from dlt.common.destination.client import JobClientBase

_T = TypeVar("_T")

# Seconds. Drivers give up first, so that they get to say why; the deadline is for those that hang.
_DEADLINE = 30.0
_DRIVER_TIMEOUT = 8

# What credentials without a host name: a file, a MotherDuck database, a warehouse behind HTTP.
_NAMES = ("server_hostname", "account", "endpoint_url", "catalog", "database", "http_path")


def preflight(config: TargetConfig, credentials: str | None = None) -> list[Check]:
    """What `millstream doctor` says of the destination; changes nothing there.

    Returns:
        One check per step, in order; after the first that fails nothing more is tried.
    """
    checks = []
    for name, step in _steps(_Probe(config, credentials), create=False):
        try:
            checks.append(Check(name, True, step()))
        except MillstreamError as error:
            checks.append(Check(name, False, error.message, error.hint))
            break
    return checks


def ensure_ready(config: TargetConfig, credentials: str | None = None) -> str:
    """Return once the destination can be loaded into; dlt has made the dataset by then.

    The dataset is made here, not during the load, so that whoever may not make it learns so before
    anything is extracted, and so that runs side by side do not race for it.

    Returns:
        Its address.

    Raises:
        ConfigError: no such destination or option, or a setting is missing.
        DestinationAuthError: no or bad credentials, or a missing permission.
        DestinationNotFoundError: no such database, project or bucket.
        DestinationUnavailableError: no connection within ten seconds, or locked.
    """
    probe = _Probe(config, credentials)
    for _, step in _steps(probe, create=True):
        step()
    return probe.address()


def ensure_reachable(config: TargetConfig, credentials: str | None = None) -> None:
    """Return once the destination answers; makes nothing there.

    Raises:
        ConfigError, DestinationError: as `ensure_ready`, but for what must be made.
    """
    probe = _Probe(config, credentials)
    for step in (probe.prepare, probe.resolve, probe.connect):
        step()


def resolved_credentials(config: TargetConfig, credentials: str | None = None) -> Any:
    """The destination's credentials as dlt found them.

    Raises:
        ConfigError: no such destination or option, or a setting is missing.
        DestinationAuthError: there are none, or they can't be read.
    """
    probe = _Probe(config, credentials)
    probe.prepare()
    probe.resolve()
    return probe.resolved.credentials


def address(config: TargetConfig, credentials: str | None = None) -> str:
    """A name of the destination and the dataset in it, whoever signs in; the same in every run.

    Raises:
        ConfigError, DestinationAuthError: as `resolved_credentials`.
    """
    probe = _Probe(config, credentials)
    probe.prepare()
    probe.resolve()
    return probe.address()


def _steps(probe: _Probe, *, create: bool) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "destination", probe.prepare
    yield "credentials", probe.resolve
    yield "connection", probe.connect
    yield "dataset", probe.make_dataset if create else probe.look_for_dataset


class _Probe:
    """One connection attempt, in steps that build on each other; each returns a line for people."""

    def __init__(self, config: TargetConfig, credentials: str | None) -> None:
        self.config = config
        self.credentials = credentials
        self.kind = config.destination.type
        self.where = self.kind
        self.secrets = [credentials] if credentials else []

    def prepare(self) -> str:
        self.destination = build(self.config, self.credentials)
        self.kind = kind_of(self.destination)
        tables = self.config.destination.table_format
        kind = self.config.destination.type + (f" with {tables} tables" if tables else "")
        return f"{kind}, its driver is installed"

    def resolve(self) -> str:
        from dlt.common.configuration.exceptions import (
            ConfigFieldMissingException,
            ConfigurationException,
        )

        problem: MillstreamError
        try:
            self.resolved: Any = self.destination.configuration(
                settings(self.destination, self.config)
            )
        except ConfigFieldMissingException as error:
            problem = driver_errors.missing(error, self.config)
        except ConfigurationException:
            problem = driver_errors.unreadable(self.config)
        except Exception as error:  # a driver's own check of a key, for example
            problem = driver_errors.explain(
                error, self.config, where=self.where, secrets=self.secrets
            )
        else:
            if "@" in str(getattr(self.resolved.credentials, "host", "")):  # part of a password
                raise driver_errors.unreadable(self.config)
            self.secrets += driver_errors.secrets_of(self.resolved.credentials)
            self.where = _place(self.kind, self.resolved)
            _shorten_timeouts(self.resolved)
            return _found(self.kind, self.config)
        # outside of `except`, so that no traceback carries what the driver said
        raise problem

    def address(self) -> str:
        where = _place(self.kind, self.resolved, with_user=False)
        known = f"{where}\n{self.resolved.fingerprint()}\n{self.config.dataset}"
        return sha256(known.encode()).hexdigest()[:16]

    def connect(self) -> str:
        if self.kind == "duckdb" and not Path(self.resolved.credentials.database).exists():
            # connecting would make the file
            return f"{self.where}, made by the first run"
        if self.kind == "duckdb":
            driver_errors.refuse_other_files(Path(self.resolved.credentials.database))
        self._guarded(lambda client: _ask(self.kind, client))
        return self.where

    def look_for_dataset(self) -> str:
        if self.kind == "duckdb" and not Path(self.resolved.credentials.database).exists():
            _writable(Path(self.resolved.credentials.database).parent)
            return f"{self._dataset()}, made by the first run"
        found = self._guarded(self._dataset_there)
        return self._dataset() if found else f"{self._dataset()}, made by the first run"

    def make_dataset(self) -> str:
        self._guarded(self._make)
        return self._dataset()

    def _dataset(self) -> str:
        name, wanted = dataset_name(self.config), self.config.dataset
        return name if name == wanted else f"{name} ({wanted!r}, normalized by dlt)"

    def _dataset_there(self, client: JobClientBase) -> bool:
        found = bool(client.is_storage_initialized())
        if self.kind == "postgres":
            _may_create(client)
        elif self.kind == "filesystem" and self.resolved.is_local_filesystem:
            _writable(Path(self.resolved.make_local_path(self.resolved.bucket_url)))
        return found

    def _make(self, client: JobClientBase) -> None:
        if self._dataset_there(client):
            return

        def make() -> None:
            try:
                client.initialize_storage()
            except Exception:
                # a run beside this one may be first, and not done yet
                if not client.is_storage_initialized():
                    raise

        retry.call(make, retry.Retries(attempts=5, first=0.1))

    def _guarded(self, work: Callable[[JobClientBase], _T]) -> _T:
        import dlt

        def attempt() -> _T:
            schema = dlt.Schema(self.config.name)
            with self.destination.client(schema, self.resolved) as client:
                return work(client)

        try:
            return _within(_DEADLINE, attempt)
        except TimeoutError:
            problem: MillstreamError = DestinationUnavailableError(
                f"{self.where}: no answer within {_DEADLINE:.0f} seconds",
                hint=f"is the server up, and is {credentials_variable(self.config)} right?",
            )
        except Exception as error:
            problem = driver_errors.explain(
                error, self.config, where=self.where, secrets=self.secrets
            )
        raise problem


def _ask(kind: str, client: Any) -> None:
    """One question that only a working connection answers."""
    if kind == "bigquery":
        # a dry run costs nothing, and needs the right to run jobs
        from google.cloud.bigquery import QueryJobConfig

        connection = client.sql_client.native_connection
        connection.query("SELECT 1", job_config=QueryJobConfig(dry_run=True))
    elif kind == "filesystem":
        client.fs_client.exists(client.dataset_path)
    elif hasattr(client, "sql_client"):
        client.sql_client.execute_sql("SELECT 1")
    else:
        client.is_storage_initialized()


def _may_create(client: Any) -> None:
    """PostgreSQL says beforehand whether the dataset may be made, and tables in it."""
    sql = client.sql_client
    name, database, user = sql.dataset_name, sql.database_name, sql.credentials.username
    # not the information schema, which hides what the user may not use
    rows = sql.execute_sql(
        "SELECT has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE') "
        "FROM pg_catalog.pg_namespace WHERE nspname = %s",
        name,
    )
    if rows:
        allowed, grant = rows[0][0], f'GRANT CREATE, USAGE ON SCHEMA "{name}" TO "{user}"'
        what = f"in the schema {name!r}"
    else:
        rows = sql.execute_sql("SELECT has_database_privilege(current_database(), 'CREATE')")
        allowed, grant = rows[0][0], f'GRANT CREATE ON DATABASE "{database}" TO "{user}"'
        what = f"in the database {database!r}, and the schema {name!r} is not there yet"
    if not allowed:
        raise DestinationAuthError(
            f"postgres: the user {user!r} may not create anything {what}", hint=grant
        )


def _writable(folder: Path) -> None:
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        raise DestinationError(f"{nearest}: not a folder, so nothing can be written below it")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise DestinationAuthError(f"{nearest}: no permission to write here")


def _place(kind: str, resolved: Any, *, with_user: bool = True) -> str:
    credentials = resolved.credentials
    if kind == "duckdb":
        return f"duckdb at {credentials.database}"
    if kind == "filesystem":
        return f"filesystem at {resolved}"
    if kind == "bigquery":
        return f"bigquery project {resolved.project_id or credentials.project_id}"
    host = getattr(credentials, "host", None)
    if host:
        port = f":{credentials.port}" if getattr(credentials, "port", None) else ""
        user = getattr(credentials, "username", None) if with_user else None
        database = getattr(credentials, "database", None) or ""
        return f"{kind} at {f'{user}@' if user else ''}{host}{port}/{database}"
    named = [str(found) for each in _NAMES if (found := getattr(credentials, each, None))]
    return f"{kind} at {'/'.join(named)}" if named else kind


def _found(kind: str, config: TargetConfig) -> str:
    return "none needed" if kind == "duckdb" else f"found for {config.destination.type}"


def _shorten_timeouts(resolved: Any) -> None:
    if hasattr(resolved.credentials, "connect_timeout"):
        wanted = int(resolved.credentials.connect_timeout or _DRIVER_TIMEOUT)
        resolved.credentials.connect_timeout = min(wanted, _DRIVER_TIMEOUT)
    for name in ("http_timeout", "retry_deadline"):
        if hasattr(resolved, name):
            setattr(resolved, name, float(_DRIVER_TIMEOUT))


def _within(seconds: float, work: Callable[[], _T]) -> _T:
    """Do the work in a thread that is left behind when it hangs.

    Raises:
        TimeoutError: not done in time.
    """
    result: list[_T] = []
    failure: list[BaseException] = []

    def call() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=call, name="millstream-preflight", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError
    if failure:
        raise failure[0]
    return result[0]
