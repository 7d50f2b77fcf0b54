"""From configuration to a dlt destination. Connects to nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from millstream.common.cores import cores
from millstream.common.sql_client import kind_of
from millstream.config import TargetConfig
from millstream.destinations import driver_warnings, nul_characters
from millstream.destinations.duckdb_file import duckdb_file
from millstream.destinations.settled_settings import settle, unlogged
from millstream.destinations.table_formats import refuse_not_installed
from millstream.destinations.upserts import leave_deleted_out
from millstream.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from dlt.common.destination.reference import AnyDestination

# Chosen by measurement: docs/decisions/0003-loader-formats.md, bench/formats.py. A destination that
# is not listed gets what dlt prefers for it.
_LOADER_FORMATS = {
    "duckdb": "parquet",
    "filesystem": "parquet",
    "bigquery": "jsonl",
    "postgres": "csv",
}

# dlt offers these, and they change values on the way without a word (seen with dlt 1.31).
_LOSSY = {
    ("duckdb", "jsonl"): "stores bytes as the text of their base64",
}

# Drivers that are extras of Millstream; those of other destinations are extras of dlt.
_EXTRAS = frozenset({"postgres", "bigquery"})

# Dagster names a kind after the service, dlt after the protocol.
_BUCKET_KINDS = {
    "s3": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "azure": "azure",
    "adl": "azure",
    "abfs": "azure",
    "abfss": "azure",
}

_FORMAT_KINDS = {"delta": "deltalake", "iceberg": "iceberg"}


@dataclass(frozen=True, slots=True)
class _Known:
    """The destinations that were made, by configuration and credentials, and what they keep."""

    made: dict[tuple[int, str | None], tuple[TargetConfig, AnyDestination]] = field(
        default_factory=dict
    )
    kept: ExitStack = field(default_factory=ExitStack)


_known: ContextVar[_Known | None] = ContextVar("known", default=None)


@contextmanager
def built_once() -> Iterator[None]:
    """Within, a configuration's destination is made once, and what is known of it stays known.

    A run needs it a dozen times; to make it and look up its settings is a fifth of a small one.
    """
    known = _Known()
    before = _known.set(known)
    try:
        with known.kept, unlogged():
            yield
    finally:
        _known.reset(before)


def build(config: TargetConfig, credentials: str | None = None) -> AnyDestination:
    """The dlt destination that a pipeline loads into.

    For DuckDB, makes the folder that the file is to lie in.

    Args:
        config: names the destination; relative paths start from `config.project`.
        credentials: a connection string or JSON that wins over what dlt finds by itself in the
            environment and in `secrets.toml`.

    Raises:
        ConfigError: no such destination, option or loader file format.
        MissingDependencyError: the destination's driver is not installed.
    """
    known = _known.get()
    if known is None:
        return _build(config, credentials)
    question = id(config), credentials
    if question not in known.made:
        # the configuration too, so that no other gets its place in memory
        known.made[question] = config, _build(config, credentials)
    return known.made[question][1]


def _build(config: TargetConfig, credentials: str | None) -> AnyDestination:
    from dlt.common.destination.configuration import ParquetFormatConfiguration
    from dlt.common.destination.exceptions import UnknownDestinationModule
    from dlt.common.destination.reference import Destination
    from dlt.common.exceptions import MissingDependencyException

    name = config.destination.type
    arguments = dict(config.destination.options)
    driver_warnings.hide()
    if name == "duckdb":
        file = duckdb_file(config, credentials)
        make_folder(file, config.project)
        # as a mapping: dlt would read a path as a URL, for which it imports SQLAlchemy if it can
        arguments["credentials"] = {"database": str(file)}
        # its files are read once, a moment later, on this machine
        arguments.setdefault("parquet_format", ParquetFormatConfiguration(compression="none"))
        # each insert keeps rows for all of its columns in memory, and uses all cores by itself
        arguments.setdefault("max_parallel_load_jobs", cores())
        # dlt 1.31 knows only of DuckDB's transactions for DDL, and commits each statement of a job
        # that has none: a replacement that DuckDB refuses would leave its table empty
        arguments.setdefault("supports_transactions", True)
    elif credentials:
        arguments["credentials"] = credentials
    if bucket := bucket_url(config):
        arguments["bucket_url"] = bucket
        if urlparse(bucket).scheme in ("", "file"):
            folder = Path(bucket.removeprefix("file://"))
            _refuse_mistyped(folder, config.project, "destination.options.bucket_url")
            if "'" in str(folder):
                raise ConfigError(
                    f"destination.options.bucket_url: dlt can't read files in {folder}: it puts "
                    "the path into SQL as it is, with its apostrophe",
                    hint="choose a path without one",
                )
    destination: Any
    try:
        destination = Destination.from_reference(name)
        if destination is None:
            raise _unknown(name)
        _refuse_unknown_options(config, destination)
        if kind_of(destination) == "ducklake":
            _refuse_newer_duckdb()
        if escape := nul_characters.keeping(destination.capabilities().escape_literal):
            arguments.setdefault("escape_literal", escape)
        destination = Destination.from_reference(name, **arguments)
        assert destination is not None
        _ = destination.client_class  # imports the driver
        leave_deleted_out()
        if found := _settled_credentials(destination, config):
            if name == "duckdb":
                from millstream.destinations.duckdb_bulk import kept_in_memory, tuned

                found = tuned(found, file)
                if known := _known.get():
                    known.kept.enter_context(kept_in_memory(found))
            arguments["credentials"] = found
            destination = Destination.from_reference(name, **arguments)
            assert destination is not None
        if name == "postgres":
            from millstream.destinations.copy_job import CopyPostgres

            destination = CopyPostgres(**arguments)
        elif name == "filesystem":
            from millstream.destinations.open_tables.client import OpenTables

            destination = OpenTables(**arguments)
        if found:
            settle(destination)
    except UnknownDestinationModule:
        raise _unknown(name) from None
    except (MissingDependencyException, ModuleNotFoundError) as error:
        raise not_installed(name, error) from None
    _refuse_unknown_format(config, destination)
    _refuse_unknown_table_format(config, destination)
    made: AnyDestination = destination
    return made


def settings(destination: AnyDestination, config: TargetConfig) -> Any:
    """The destination's settings with the dataset, for dlt to fill in the rest."""
    made: Any = destination.spec()
    if hasattr(made, "dataset_name"):
        made.dataset_name = config.dataset
    return made


def _settled_credentials(destination: AnyDestination, config: TargetConfig) -> Any:
    """The credentials, looked up once; None where they are missing, or hang on a pipeline."""
    from dlt.common.storages import WithLocalFiles

    # a local file may be named after the pipeline, which is not known here; DuckDB's is named
    if issubclass(destination.spec, WithLocalFiles) and config.destination.type != "duckdb":
        return None
    try:
        return destination.configuration(settings(destination, config)).credentials
    except Exception:  # whoever needs them says better what is wrong
        return None


def server(config: TargetConfig) -> str | None:
    """Host and port of the destination's server; None where it is not one, or nothing tells."""
    found = _settled_credentials(build(config), config)
    host, port = getattr(found, "host", None), getattr(found, "port", None)
    # a host with an `@` has part of a password, which was not percent-encoded
    return f"{host}:{port}" if host and port and "@" not in str(host) else None


def loader_file_format(
    config: TargetConfig, destination: AnyDestination | None = None, *, engine_fits: bool = True
) -> Any:
    """The loader file format that the configuration says, else the fastest measured.

    None leaves the choice to dlt.

    Args:
        destination: is asked what it loads, where nothing was measured.
        engine_fits: False where only dlt's own writers can write, with whatever dlt they come.
    """
    kind, wanted = config.destination.type, config.destination.loader_file_format
    found = wanted or _LOADER_FORMATS.get(kind)
    if found is None and destination is not None and engine_fits:
        return _instead_of_inserts(destination.capabilities())
    # dlt's own CSV turns empty text into null, and refuses bytes
    return "insert_values" if (kind, found) == ("postgres", "csv") and not engine_fits else found


def _instead_of_inserts(capabilities: Any) -> str | None:
    """A format that the engine writes, where dlt would write INSERT statements; else None."""
    preferred = capabilities.preferred_loader_file_format
    supported = [*(capabilities.supported_loader_file_formats or ())]
    if choose := capabilities.loader_file_format_selector:  # what drivers are there for
        preferred, supported = choose(preferred, supported, table_schema={"columns": {}})
    if preferred != "insert_values":
        return None
    return next((each for each in ("parquet", "jsonl") if each in supported), None)


def storage_kind(config: TargetConfig) -> str:
    """The kind that Dagster shows on the assets: `duckdb`, `postgres`, `s3`, `iceberg`, ..."""
    name = config.destination.type.rsplit(".", 1)[-1]
    if config.destination.table_format:
        return _FORMAT_KINDS[config.destination.table_format]
    if name == "filesystem":
        scheme = urlparse(bucket_url(config) or "").scheme
        return _BUCKET_KINDS.get(scheme, "filesystem")
    return name


def bucket_url(config: TargetConfig) -> str | None:
    """The filesystem destination's `bucket_url`, local paths made absolute; None if not configured.

    A URL that is only in the environment is dlt's to find.
    """
    url = config.destination.options.get("bucket_url")
    if not isinstance(url, str) or not url:
        return None
    if urlparse(url).scheme:
        return url
    return os.path.abspath(config.project / Path(url).expanduser())  # noqa: PTH100


def credentials_variable(config: TargetConfig) -> str:
    """The environment variable that dlt documents for the destination's credentials."""
    return f"DESTINATION__{config.destination.type.rsplit('.', 1)[-1].upper()}__CREDENTIALS"


def not_installed(name: str, error: ImportError) -> MissingDependencyError:
    """The error to raise when a destination's driver can't be imported."""
    packages = [str(each) for each in getattr(error, "dependencies", ())]
    if not packages:
        packages = [f"millstream[{name}]" if name in _EXTRAS else f"dlt[{name}]"]
    missing = getattr(error, "name", None)
    what = f"the package {missing!r}, which is" if missing else "packages that are"
    return MissingDependencyError(
        f"the destination {name!r} needs {what} not installed",
        hint=f"pip install {' '.join(repr(each) for each in packages)}",
    )


def make_folder(file: Path, project: Path) -> None:
    """Make the folder of a DuckDB file; only below the project, since elsewhere it may be a typo.

    Raises:
        ConfigError: it does not exist and is not the project's, or it can't be made.
    """
    _refuse_mistyped(file, project, "destination.database")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"destination.database: can't make the folder {file.parent}: {error.strerror}"
        ) from None


def _refuse_newer_duckdb() -> None:
    installed = metadata.version("duckdb")
    if int(installed.partition(".")[0]) >= 2:
        raise ConfigError(
            f"DuckLake: dlt {metadata.version('dlt')} does not work with DuckDB {installed}",
            hint="pip install 'duckdb<2'",
        )


def _refuse_mistyped(place: Path, project: Path, what: str) -> None:
    folder = place.parent
    if folder.exists() or folder.is_relative_to(os.path.abspath(project)):  # noqa: PTH100
        return
    nearest = next(each for each in folder.parents if each.exists())
    missing = nearest / folder.relative_to(nearest).parts[0]
    raise ConfigError(
        f"{what}: the folder {missing} does not exist",
        hint=f"correct the path, or make the folder: mkdir -p {folder}",
    )


def _unknown(name: str) -> ConfigError:
    import dlt.destinations

    if name in _FORMAT_KINDS:
        return ConfigError(
            f"destination.type: no such destination: {name!r}",
            hint=f"`type: filesystem`, with `table_format: {name}` beside it",
        )
    known = [each for each in dlt.destinations.__all__ if each not in ("destination", "dummy")]
    close = get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean `{close[0]}`?" if close else f"dlt has {', '.join(sorted(known))}"
    return ConfigError(f"destination.type: no such destination: {name!r}", hint=hint)


def _refuse_unknown_options(config: TargetConfig, destination: AnyDestination) -> None:
    # dlt logs a warning and goes on without them
    from dlt.common.destination.capabilities import DestinationCapabilitiesContext

    known = {
        *destination.spec.get_resolvable_fields(),
        *DestinationCapabilitiesContext.get_resolvable_fields(),
    } - {"credentials", "destination_type", "dataset_name"}
    for option in config.destination.options:
        if option not in known:
            close = get_close_matches(option, known, n=1)
            raise ConfigError(
                f"destination.options: {config.destination.type} has no option {option!r}",
                hint=f"did you mean `{close[0]}`?" if close else None,
            )


def _refuse_unknown_table_format(config: TargetConfig, destination: AnyDestination) -> None:
    wanted, kind = config.destination.table_format, config.destination.type
    if wanted is None:
        return
    supported: list[Any] = list(destination.capabilities().supported_table_formats or [])
    if wanted not in supported:
        raise ConfigError(
            f"destination.table_format: {kind} has no {wanted!r} tables",
            hint=f"it has {', '.join(supported)}"
            if supported
            else "`type: filesystem` has Delta and Iceberg tables; leave it out otherwise",
        )
    if kind != "filesystem":
        return
    file_format = config.destination.loader_file_format
    if file_format not in (None, "parquet"):
        raise ConfigError(
            f"destination.loader_file_format: {wanted!r} tables are made of Parquet files, not "
            f"{file_format!r}",
            hint="leave it out",
        )
    refuse_not_installed(wanted)


def _refuse_unknown_format(config: TargetConfig, destination: AnyDestination) -> None:
    wanted = config.destination.loader_file_format
    if wanted is None:
        return
    if harm := _LOSSY.get((config.destination.type, wanted)):
        raise ConfigError(
            f"destination.loader_file_format: {wanted!r} {harm} on its way to "
            f"{config.destination.type}",
            hint=f"leave it out: {_LOADER_FORMATS[config.destination.type]} is used then",
        )
    supported: list[Any] = list(destination.capabilities().supported_loader_file_formats or [])
    if supported and wanted not in supported:
        raise ConfigError(
            f"destination.loader_file_format: {config.destination.type} can't load {wanted!r}",
            hint=f"it loads {', '.join(supported)}",
        )
