"""How DuckDB's file is opened for bulk loads: small row groups, bounded memory.

DuckDB compresses a row group on one core, and holds all of its columns until then: 122,880 rows.
How many rows a group has can only be said where a file is attached, and dlt connects to it
instead. So dlt's connection is made to a database in memory, and the file is attached to that, by
what dlt's credentials offer for it; where they connect to is all that is replaced here. The file
is as any other: groups of all sizes lie side by side in it, and nothing needs to know of them.

The database in memory is one for each file and process. A run keeps it from its begin to its end,
since making one takes twenty times as long as attaching a file to it; the file is detached, and so
written back and free for others, as soon as no connection of the process has it open.

Memory has a limit as well, since DuckDB otherwise keeps what it wrote. It spills beside the file,
and where even that does not do, the limit is lifted and dlt tries again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import Annotated, Any
from weakref import WeakSet

import duckdb
from dlt.common.configuration import configspec
from dlt.common.configuration.specs.base_configuration import NotResolved
from dlt.common.data_writers.escape import escape_duckdb_literal, escape_postgres_identifier
from dlt.destinations.impl.duckdb.configuration import DuckDbConnectionPool, DuckDbCredentials

from millstream.common.cores import cores
from millstream.destinations.duckdb_file import duckdb_catalog
from millstream.dlt_compat import contract
from millstream.dlt_compat.databases import connection_string

ROW_GROUP = 30_720
"""A quarter of DuckDB's own: 100,000 wide rows load in 0.6 of the time, with half the memory, and
take a sixth more space (bench/bulk.py). A multiple of its vectors of 2,048 rows, as it has to be.
"""
MEMORY_PER_THREAD = 150
"""Megabytes: each thread fills a row group of its own."""
_CHECKPOINT = "16MB"
"""Of the write-ahead log; DuckDB's own default. dlt lets a gigabyte pile up, which then is written,
read and written again."""
_IN_USE = "Unique file handle conflict"

_opening = RLock()
"""Attaches and detaches: what one thread opens, another must not detach."""
_kept: dict[str, list[duckdb.DuckDBPyConnection]] = {}
_pools: WeakSet[_Pool] = WeakSet()


def tuned(found: DuckDbCredentials, file: Path) -> DuckDbCredentials:
    """Credentials for bulk loads, as far as dlt's own configuration says nothing else."""
    # rows may be stored in any order: otherwise inserts wait for each other, with all they hold
    settings = {"preserve_insertion_order": False, **(found.global_config or {})}
    found.global_config = settings
    if found.pragmas is None:
        found.pragmas = [f"checkpoint_threshold='{_CHECKPOINT}'"]
    catalog = duckdb_catalog(file)
    # DuckDB would take the database in memory for a file of that name, and keep nothing
    if found.read_only or not _fits() or catalog.casefold() == "memory":
        return found
    made = _Attached()
    made.update(found)
    made.plain = found
    threads = int(settings.get("threads") or cores())
    made.global_config = {
        "threads": threads,
        "memory_limit": f"{MEMORY_PER_THREAD * max(threads, 2)}MB",
        **settings,
    }
    made.spills_into = made.global_config.pop("temp_directory", f"{file}.tmp")
    name = escape_postgres_identifier(catalog)
    made.catalog = name
    attach = f"ATTACH IF NOT EXISTS {escape_duckdb_literal(str(file))} AS {name}"
    made.statements = [f"{attach} (ROW_GROUP_SIZE {ROW_GROUP})", *(found.statements or ())]
    # of each connection, before dlt names the dataset
    made.pragmas = [f"schema={escape_duckdb_literal(f'{name}.main')}", *found.pragmas]
    made.resolve()
    return made


@contextmanager
def kept_in_memory(found: DuckDbCredentials) -> Iterator[None]:
    """Keep the database in memory that a file is attached to, and not the file."""
    if not isinstance(found, _Attached):
        yield
        return
    name = connection_string(found)
    with duckdb.connect(name) as memory:
        with _opening:
            _kept.setdefault(name, []).append(memory)
        try:
            yield
        finally:
            with _opening:
                _kept[name].remove(memory)


@configspec(init=False)
class _Attached(DuckDbCredentials):
    """Credentials of a file that is attached to a database in memory, one for the whole process.

    Attributes:
        plain: the same, to connect to the file itself.
        catalog: what the file is attached as, as SQL names it.
        spills_into: a folder; beside the file, unless dlt's configuration says where.
    """

    plain: Annotated[Any, NotResolved()] = None
    catalog: Annotated[Any, NotResolved()] = None
    spills_into: Annotated[Any, NotResolved()] = None

    def on_resolved(self) -> None:
        super().on_resolved()
        self.conn_pool = _Pool(self)
        _pools.add(self.conn_pool)

    def _conn_str(self) -> str:
        # its name tells DuckDB which connections of the process share one
        return f":memory:{sha256(self.database.encode()).hexdigest()[:16]}"

    def __str__(self) -> str:
        # what dlt names the destination by; its own way imports SQLAlchemy where it is installed
        return f"{self.drivername}:///{self.database}"


class _Pool(DuckDbConnectionPool):
    """Connections to an attached file; to the file itself where this process has it open already.

    A notebook may: DuckDB does not attach what is open.
    """

    credentials: _Attached
    _direct: DuckDbConnectionPool | None = None

    @property
    def name(self) -> str:
        """Of the database in memory."""
        return connection_string(self.credentials)

    @property
    def is_open(self) -> bool:
        return self._conn is not None

    def borrow_conn(self, *args: Any, **settings: Any) -> Any:
        with _opening, self._conn_lock:
            if self._direct is None:
                try:
                    with self._spilling():
                        borrowed = super().borrow_conn(*args, **settings)
                    return _Connection(borrowed, self.credentials)
                except Exception as error:
                    self._detach()
                    if not isinstance(error, duckdb.Error) or _IN_USE not in str(error):
                        raise
                self._direct = DuckDbConnectionPool(self.credentials.plain)
            return self._direct.borrow_conn(*args, **settings)

    def return_conn(self, borrowed_conn: Any) -> int:
        with _opening, self._conn_lock:
            if self._direct is None or isinstance(borrowed_conn, _Connection):
                left = super().return_conn(borrowed_conn)
                if not left:
                    self._detach()
                return left
            left = self._direct.return_conn(borrowed_conn)
            if not left:
                self._direct = None
            return left

    def _detach(self) -> None:
        """Close the file, if no connection has it open; without a kept database it is closed."""
        kept = _kept.get(self.name)
        if kept and not any(pool.is_open for pool in _pools if pool.name == self.name):
            kept[-1].execute(f"DETACH DATABASE IF EXISTS {self.credentials.catalog}")

    @contextmanager
    def _spilling(self) -> Iterator[None]:
        """DuckDB refuses to be told where it spills again, once it has spilled."""
        if self.is_open:
            yield
            return
        folder = self.credentials.spills_into
        with duckdb.connect(self.name) as first:
            now = first.execute("SELECT current_setting('temp_directory')").fetchone()
            if now != (folder,):
                first.execute("SET GLOBAL temp_directory = ?", (folder,))
            yield


class _Connection:
    """A connection that lifts DuckDB's limit of memory where a statement can't do with it."""

    def __init__(self, connection: Any, credentials: _Attached) -> None:
        self._connection = connection
        self._credentials = credentials

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, *args: Any, **more: Any) -> Any:
        try:
            return self._connection.execute(*args, **more)
        except duckdb.OutOfMemoryException:
            # for those to come too; dlt does again what failed
            settings = dict(self._credentials.global_config or {})
            if settings.pop("memory_limit", None):
                self._credentials.global_config = settings
                self._connection.duplicate().execute("RESET GLOBAL memory_limit")
            raise


class _Probe(DuckDbCredentials):
    """Credentials that note whether they were asked where to connect to."""

    asked = False

    def _conn_str(self) -> str:
        type(self).asked = True
        return ":memory:"


@cache
def _fits() -> bool:
    """Whether dlt is as this file expects: it connects to what `_conn_str` says."""
    if contract.problem("duckdb"):
        return False
    probe = _Probe()  # without a connection string: reading one imports SQLAlchemy
    probe.database = ":memory:"
    pool = DuckDbConnectionPool(probe)
    pool.return_conn(pool.borrow_conn(pragmas=[]))
    return _Probe.asked and "statements" in DuckDbCredentials.get_resolvable_fields()
