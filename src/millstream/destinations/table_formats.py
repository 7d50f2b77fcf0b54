"""Which tables are Delta's or Iceberg's, and what can't be done with these, refused before a read.

`open_tables` has what is done with them; it imports dlt, and this module does not.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from millstream.config import MongoDBConfig, PipelineConfig, TargetConfig
from millstream.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    import dlt
    from dlt.sources import DltResource

PACKAGES = {"delta": ("deltalake",), "iceberg": ("pyiceberg", "sqlalchemy")}
"""By format, the packages that read and write it; Millstream's extra has the format's name."""

_TITLES = {"delta": "Delta", "iceberg": "Iceberg"}
_FILES = "filesystem"


def format_of(schema: dlt.Schema, table: str) -> str | None:
    """`delta` or `iceberg`; None of a table of plain files. Nested tables have their root's."""
    while parent := schema.tables[table].get("parent"):
        table = parent
    found: Any = schema.tables[table].get("table_format")
    return found if found in PACKAGES else None


def refuse_not_installed(table_format: str) -> None:
    """Stop where a format's packages are missing.

    Raises:
        MissingDependencyError: naming the extra.
    """
    missing = [name for name in PACKAGES[table_format] if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"{_TITLES[table_format]} tables need packages that are not installed: "
            f"{', '.join(missing)}",
            hint=f'pip install "millstream[{table_format}]"',
        )


def is_open(pipeline: dlt.Pipeline, resource: DltResource) -> bool:
    """Whether a resource is loaded into Delta or Iceberg tables of the filesystem destination."""
    return _is_files(pipeline) and _format(resource) is not None


def choose_format(
    target: TargetConfig,
    pipeline: dlt.Pipeline,
    schema: dlt.Schema,
    resource: DltResource,
    what: str,
) -> None:
    """Let a resource be loaded into tables of the configured format, unless it names one itself.

    Args:
        schema: the stream's, as the destination has it.
        what: names the stream in errors.

    Raises:
        ConfigError: its tables have another format, or can't be written as the resource says.
        MissingDependencyError: the format's packages are not installed.
    """
    if resource.table_format is None and target.destination.table_format is not None:
        resource.apply_hints(table_format=target.destination.table_format)
    if not _is_files(pipeline):
        return
    found = _format(resource)
    if found is not None:
        refuse_not_installed(found)
    if found == "iceberg":
        _refuse_folder(pipeline)
    try:
        coming: Any = resource.compute_table_schema()
    except Exception:  # hints that are functions of a row
        return
    stored: Any = schema.tables.get(schema.naming.normalize_tables_path(str(coming["name"])))
    if stored is not None and _has_rows(stored):
        _refuse_other_format(stored, found, what)
    if found is None:
        return
    _refuse_unmergeable(coming, resource.write_disposition, found, what)
    _choose_for_lists(schema, resource, str(coming["name"]), found, what)
    is_mongodb = isinstance(target, PipelineConfig) and isinstance(target.source, MongoDBConfig)
    if is_mongodb and coming.get("write_disposition") == "merge":
        raise ConfigError(
            f"{what}: a collection with `cursor` or `changes` is read whole once, and merged into "
            f"from then on; rows that replaced others in {_TITLES[found]} tables can't be merged",
            hint="leave both out, so that each run reads it anew; or load into a database",
        )


def _choose_for_lists(
    schema: dlt.Schema, resource: DltResource, root: str, found: str, what: str
) -> None:
    """Let lists with a key of their own, which dlt writes as tables of their own, have the format.

    Plain files that are there stay what they are.
    """
    hints: Any = resource.nested_hints
    if not hints or callable(hints):
        return
    naming, chosen = schema.naming, dict(hints)
    apart = {
        str(table["name"]): table
        for table in resource.compute_nested_table_schemas(root, naming)
        if not table.get("parent") and table.get("table_format") is None
    }
    for path, each in hints.items():
        parts = (root, path) if isinstance(path, str) else (root, *path)
        name = naming.shorten_fragments(*map(naming.normalize_table_identifier, parts))
        stored: Any = schema.tables.get(name)
        is_kept = stored is not None and _has_rows(stored) and stored.get("table_format") != found
        if name not in apart or is_kept:
            continue
        _refuse_unmergeable(
            apart[name], each.get("write_disposition"), found, f"{what}: the table {name}"
        )
        chosen[path] = {**each, "table_format": found}
    if chosen != hints:
        resource.apply_hints(nested_hints=chosen)


def _refuse_folder(pipeline: dlt.Pipeline) -> None:
    """dlt makes a URL of a folder, which pyiceberg takes for the folder's name."""
    with pipeline.destination_client() as client:
        config: Any = client.config
        if not config.is_local_filesystem:
            return
        folder = config.make_local_path(config.bucket_url)
    if quote(folder) != folder:
        raise ConfigError(
            f"destination.options.bucket_url: Iceberg tables can't be in {folder}: dlt would write "
            f"them into {quote(folder)}",
            hint="choose a path of letters, digits, `-`, `_` and `.`",
        )


def _refuse_other_format(stored: Any, found: str | None, what: str) -> None:
    before = stored.get("table_format")
    if before not in PACKAGES:
        before = None
    if before != found:
        names = {"": "plain files", **{name: f"{title}'s" for name, title in _TITLES.items()}}
        raise ConfigError(
            f"{what}: the tables that are there are {names[before or '']}, and would become "
            f"{names[found or '']}: the rows in them would be seen by nobody",
            hint="load into another `destination.dataset`, or set "
            + (f"`table_format: {before}`" if before else "no `table_format`"),
        )


def _refuse_unmergeable(table: Any, disposition: Any, found: str, what: str) -> None:
    if table.get("write_disposition") != "merge":
        return
    title = _TITLES[found]
    said = disposition if isinstance(disposition, dict) else {}
    strategy = said.get("strategy") or table.get("x-merge-strategy") or "upsert"
    columns = table["columns"].values()
    if strategy != "upsert":
        raise ConfigError(
            f"{what}: {title} tables are merged by `upsert`, and not by `{strategy}`",
            hint="leave out `strategy`, or load into a database",
        )
    if not any(column.get("primary_key") for column in columns):
        raise ConfigError(
            f"{what}: rows of {title} tables are merged by a primary key, and the stream has none",
            hint="give it one, or let it append or replace",
        )
    if any(column.get("hard_delete") for column in columns):
        raise ConfigError(
            f"{what}: rows that tell of a deletion can't take rows out of {title} tables",
            hint="load without deletions, or into a database",
        )
    options = [name for name in ("source_filter", "destination_scope") if said.get(name)]
    options += ["skip_unchanged_rows"] if said.get("skip_unchanged_rows") else []
    options += ["merge_key"] if any(column.get("merge_key") for column in columns) else []
    if options:
        raise ConfigError(
            f"{what}: {title} tables are not merged by `{options[0]}`",
            hint=f"leave out `{options[0]}`, or load into a database",
        )


def _format(resource: DltResource) -> str | None:
    found: Any = resource.table_format
    return found if found in PACKAGES else None


def _has_rows(table: Any) -> bool:
    from dlt.common.schema.utils import has_table_seen_data

    return has_table_seen_data(table)


def _is_files(pipeline: dlt.Pipeline) -> bool:
    assert pipeline.destination is not None
    return pipeline.destination.destination_name == _FILES
