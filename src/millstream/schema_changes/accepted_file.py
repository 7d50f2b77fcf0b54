"""The accepted schema: `schema.yaml` beside `defs.yaml`, so that a pull request shows the change.

One line a column, in an order that depends on names alone, without times or counters: two runs
that accept the same schema write the same bytes, and comments that people add stay where they are.

    version: 1
    streams:
      issues:
        issues:
          columns:
            id: bigint, not null, primary key
            n: bigint
            n__v_text: text, variant of n
        issues__labels:
          parent: issues
          columns:
            name: text
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from millstream.common import atomic_write, file_lock
from millstream.config.yaml_limits import ensure_bounded
from millstream.errors import ConfigError
from millstream.formats.json_path import json_path, list_keys, list_path, list_source_keys
from millstream.model import Column, SchemaVersion, Table
from millstream.schema_changes import yaml_column, yaml_comments
from millstream.schema_changes.diff import canonical

FILE_NAME = "schema.yaml"
_LONGEST_KEY = 1000
"""YAML takes a key of more than 1,024 characters only behind a `?`, on a line of its own."""
FORMAT = 1

_HEADER = """\
# The accepted schema. `millstream schema accept` writes it; runs compare with it before they
# change anything in the destination. Commit it. Comments of yours are kept.
"""


def load(folder: Path) -> dict[str, SchemaVersion]:
    """The accepted tables of each stream, by the stream's name; empty where nothing was accepted.

    Args:
        folder: the folder of `defs.yaml`.

    Raises:
        ConfigError: the file can't be read; says at which line, and in which field.
    """
    return read(folder / FILE_NAME)


def read(path: Path) -> dict[str, SchemaVersion]:
    """As `load`, from a file of any name."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from None
    ensure_bounded(text, path)
    return _Reader(path).read(text)


def save(folder: Path, stream: str, version: SchemaVersion, *, add: bool = False) -> bool:
    """Make `version` the accepted schema of a stream; the other streams stay as they are.

    With `add`, tables and columns that were accepted ahead, and did not arrive yet, stay too.

    Safe among concurrent writers: each reads and replaces the file under a lock on the folder,
    and readers see the old file or the new one.

    Returns:
        True when the file changed.

    Raises:
        ConfigError: the file that is there can't be read, or the folder can't be written.
    """
    path = folder / FILE_NAME
    try:
        with file_lock.locked(folder):
            streams = load(folder)
            streams[stream] = merged(streams.get(stream), version) if add else version
            old = path.read_text(encoding="utf-8") if path.exists() else None
            text = render(streams)
            if old is not None:
                text = yaml_comments.carry(old, text)
                if _Reader(path).read(text) != _Reader(path).read(render(streams)):
                    text = render(streams)  # comments in places that no one foresaw
            if text == old:
                return False
            atomic_write.write(path.resolve(), text)
            return True
    except OSError as error:
        raise ConfigError(
            f"{path}: can't be written: {error.strerror or error}",
            hint="accept the change where the project can be written, and deploy it from there",
        ) from None


def merged(accepted: SchemaVersion | None, new: SchemaVersion) -> SchemaVersion:
    """What is accepted once `new` is loaded: all of it, and what was accepted ahead."""
    if accepted is None:
        return new
    plans, coming = accepted.table, new.table
    tables = []
    for table in new.tables:
        plan, there = plans.get(table.name), table.column
        ahead = [column for column in plan.columns if column.name not in there] if plan else []
        tables.append(replace(table, columns=(*table.columns, *ahead)))
    tables += [table for table in accepted.tables if table.name not in coming]
    return SchemaVersion(tuple(tables))


def parse(text: str) -> dict[str, SchemaVersion]:
    """What `render` wrote, without a file.

    Raises:
        ConfigError: it is something else.
    """
    return _Reader(Path(FILE_NAME)).read(text)


def render(streams: Mapping[str, SchemaVersion], *, header: bool = True) -> str:
    """The file's text for these streams."""
    lines = [_HEADER.rstrip("\n")] if header else []
    lines += [f"version: {FORMAT}", "streams:" if streams else "streams: {}"]
    for stream in sorted(streams):
        tables = canonical(streams[stream]).tables
        lists = _list_paths(tables)
        lines.append(f"  {yaml_column.key(stream)}:{'' if tables else ' {}'}")
        for table in tables:
            lines.append(f"    {yaml_column.key(table.name)}:")
            if table.parent is not None:
                lines.append(f"      parent: {yaml_column.key(table.parent)}")
                both = lists[table.name]
                if keys := list_keys((path for path, _ in both), table.parent, table.name):
                    lines.append(f"      key: {yaml_column.key(keys)}")
                if keys := list_source_keys(both):
                    lines.append(f"      from: {yaml_column.key(keys)}")
            lines.append(f"      columns:{'' if table.columns else ' {}'}")
            for column in table.columns:
                key = yaml_column.key(column.name)
                if len(key) > _LONGEST_KEY:
                    lines.append(f"        ? {key}")
                    key = ""
                lines.append(f"        {key}: {yaml_column.write(column)}")
    return "\n".join(lines) + "\n"


def _list_paths(tables: Sequence[Table]) -> dict[str, list[tuple[str, str]]]:
    """Both paths of the lists whose items are rows of a table, as its columns have them.

    A list whose items are lists or objects alone has columns in the tables below it only.

    Args:
        tables: parents first.
    """
    parents = {table.name: table.parent for table in tables}
    found: dict[str, list[tuple[str, str]]] = {table.name: [] for table in tables}
    for table in tables:
        own = [(each.path, each.source_path) for each in table.columns if "[]" in each.path]
        name: str | None = table.name
        while own and name in found and not found[name]:
            found[name] = own
            own = [(_list_above(path), _list_above(source)) for path, source in own]
            own = [(path, source) for path, source in own if path]
            name = parents[name]
    return found


def _list_above(path: str) -> str:
    """The path of the list around a list.

    >>> _list_above("orders[].lines[].sku")
    'orders[]'
    """
    above = path.rpartition("[]")[0].rpartition("[]")
    return above[0] + above[1]


class _Reader:
    """YAML nodes -> SchemaVersions. Nodes know their line, and no column named `no` turns False."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, text: str) -> dict[str, SchemaVersion]:
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            root = yaml.compose(text, Loader=loader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f":{mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or error
            raise ConfigError(
                f"{self.path}{where}: not YAML: {problem}",
                hint="a merge conflict left in the file? Solve it, or restore the file",
            ) from None
        if root is None:
            return {}
        document = self._mapping(root, "the file")
        for name, node in document.items():
            if name not in ("version", "streams"):
                raise self._error(node, f"unknown field `{name}`", "`version` and `streams`")
        version = document.get("version")
        if version is None or version.value != str(FORMAT):  # type: ignore[attr-defined]
            raise self._error(
                version or root, f"`version` is not {FORMAT}", "another release wrote this file?"
            )
        if "streams" not in document:
            raise self._error(root, "`streams` is missing")
        streams = self._mapping(document["streams"], "streams")
        return {name: self._stream(name, node) for name, node in streams.items()}

    def _stream(self, stream: str, node: object) -> SchemaVersion:
        where = f"streams.{stream}"
        tables: dict[str, Table] = {}
        nodes = self._mapping(node, where)
        parents: dict[str, str | None] = {}
        keys: dict[str, str] = {}
        source_keys: dict[str, str] = {}
        for name, table in nodes.items():
            fields = self._mapping(table, f"{where}.{name}")
            for unknown in fields.keys() - {"parent", "key", "from", "columns"}:
                raise self._error(
                    fields[unknown],
                    f"{where}.{name}: unknown field `{unknown}`",
                    "`parent` and `columns`",
                )
            parents[name] = (
                self._text(fields["parent"], f"{where}.{name}.parent")
                if "parent" in fields
                else None
            )
            if "key" in fields:
                keys[name] = self._text(fields["key"], f"{where}.{name}.key")
            if "from" in fields:
                source_keys[name] = self._text(fields["from"], f"{where}.{name}.from")
        paths = self._paths(parents, nodes, where, keys, source_keys)
        for name, table in nodes.items():
            columns = self._mapping(table, "").get("columns")
            if columns is None:
                raise self._error(table, f"{where}.{name}: `columns` is missing")
            tables[name] = Table(
                name,
                parents[name],
                tuple(
                    self._column(column, line, *paths[name], f"{where}.{name}.columns.{column}")
                    for column, line in self._mapping(columns, f"{where}.{name}.columns").items()
                ),
            )
        return canonical(SchemaVersion(tuple(tables.values())))

    def _paths(
        self,
        parents: Mapping[str, str | None],
        nodes: Mapping[str, object],
        where: str,
        keys: Mapping[str, str],
        source_keys: Mapping[str, str],
    ) -> dict[str, tuple[str, str]]:
        """The JSON path of each table, by names and by the source's keys.

        Refuses parents that are missing, or that form a circle.
        """
        paths: dict[str, tuple[str, str]] = {}
        for name in parents:
            chain = [name]
            while (parent := parents[chain[-1]]) is not None:
                if parent not in parents:
                    raise self._error(
                        nodes[chain[-1]], f"{where}.{chain[-1]}: no table `{parent}` to be below"
                    )
                if parent in chain:
                    raise self._error(nodes[name], f"{where}.{name}: is its own parent")
                chain.append(parent)
            path = source_path = ""
            for parent, child in zip(chain[:0:-1], chain[-2::-1]):
                names = f"{keys[child]}[]." if child in keys else list_path(parent, child)
                path += names
                source_path += f"{source_keys[child]}[]." if child in source_keys else names
            paths[name] = path, source_path
        return paths

    def _column(
        self, name: str, node: object, prefix: str, source_prefix: str, where: str
    ) -> Column:
        text = self._text(node, where)
        try:
            return yaml_column.read(
                name,
                text,
                lambda base: "" if _is_own(name) else json_path(prefix, base),
                source_prefix,
            )
        except ValueError as error:
            raise self._error(node, f"{where}: {error}", "e.g. `bigint, not null`") from None

    def _mapping(self, node: object, where: str) -> dict[str, object]:
        import yaml

        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, f"{where}: not a mapping")
        found: dict[str, object] = {}
        for key, value in node.value:
            name = self._text(key, where)
            if name in found:
                raise self._error(key, f"{where}: duplicate key `{name}`")
            found[name] = value
        return found

    def _text(self, node: object, where: str) -> str:
        import yaml

        if not isinstance(node, yaml.ScalarNode) or not node.value:
            raise self._error(node, f"{where}: not a text")
        return str(node.value)

    def _error(self, node: object, message: str, hint: str | None = None) -> ConfigError:
        mark = getattr(node, "start_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        return ConfigError(f"{self.path}{line}: {message}", hint=hint)


def _is_own(column: str) -> bool:
    return column.lower().startswith("_dlt_")
