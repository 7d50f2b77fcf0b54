"""DuckDB's database file: where it is, and what DuckDB calls it."""

from __future__ import annotations

import os
from pathlib import Path

from millstream.config import TargetConfig
from millstream.errors import ConfigError

# DuckDB keeps these catalog names, in any case, to itself and attaches such a file as NAME_db.
_RESERVED_CATALOGS = frozenset({"main", "system", "temp"})


def duckdb_file(config: TargetConfig, credentials: str | None = None) -> Path:
    """DuckDB's database file, as an absolute path.

    `database` in the configuration wins, then `credentials`, then `NAME_db.duckdb`: a file
    `NAME.duckdb` would give the catalog the name that the dataset has by default.

    Raises:
        ConfigError: not a file, or a name that DuckDB could not tell from the dataset's.
    """
    database = config.destination.database or (credentials or "").removeprefix("duckdb:///")
    database = database or f"{config.name}_db.duckdb"
    if database.startswith(("md:", "motherduck:")):
        raise ConfigError(
            "destination.database: a MotherDuck database is a destination of its own",
            hint="set `type: motherduck`",
        )
    if ":" in database[:1] or "://" in database:
        raise ConfigError(
            f"destination.database: {database!r} is not a file, so nothing would be kept",
            hint=f"name a file, such as {config.name}_db.duckdb",
        )
    file = Path(os.path.abspath(config.project / Path(database).expanduser()))  # noqa: PTH100
    if duckdb_catalog(file).casefold() == config.dataset.casefold():
        # "Ambiguous reference to catalog or schema": each load fails, and so does each reader
        raise ConfigError(
            f"destination.database: DuckDB can't tell the database {file.name} from the dataset "
            f"{config.dataset!r} in it, since both have the same name",
            hint=f"rename one of them, for example `database: {config.dataset}_db.duckdb`",
        )
    return file


def lock_folder(file: Path) -> Path:
    """The folder with the locks of those who write to a file, whatever their `MILLSTREAM_HOME`.

    Beside the file: that is the one place that all of them share.
    """
    real = file.resolve()
    return real.with_name(f".{real.name}.locks")


def duckdb_catalog(file: Path) -> str:
    """The name under which DuckDB attaches a file: up to its first dot.

    >>> duckdb_catalog(Path("data/github.v2.duckdb"))
    'github'
    """
    stem = file.name.lstrip(".").split(".", 1)[0]
    return f"{stem}_db" if stem.casefold() in _RESERVED_CATALOGS else stem
