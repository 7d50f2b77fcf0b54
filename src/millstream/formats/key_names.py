"""What each key of a stream's rows is called in the destination: decided once, and remembered.

dlt's snake case names a key without looking at others, so that `1` and `-1`, or all keys in
Chinese, share a column. Here a name belongs to one key at one path of one stream:

- a key is called as dlt's snake case writes it (`createdAt` -> `created_at`), what is not ASCII
  transliterated first (`Größe` -> `grosse`);
- where another key has that name, a digest of the key follows: `foo_x0beec7`;
- names of columns that the stream has already stay theirs.

What was decided is kept in the schema, as hints of the root table, `x-name.PATH: KEY`; so it comes
with the schema from the destination, to whatever machine. docs/decisions/0012 says why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from hashlib import sha1
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from millstream.common import file_lock
from millstream.formats.system_columns import free_column

if TYPE_CHECKING:
    from dlt.common.normalizers.naming.snake_case import NamingConvention
    from dlt.common.schema import Schema
    from dlt.sources import DltResource

HINT = "x-name."
"""How the hints of the root table begin that hold names: the path of names follows, with dots."""

UNKNOWN = "x-names-unknown"
"""A hint of a root table whose columns are known, while what keys they are of is not."""

EMPTY = "_empty"
"""dlt's name for keys without a visible character."""

SEPARATOR = "__"

Path = tuple[str, ...]
"""Names from the root row on, whether an object or a list lies between two of them."""

_LINKS = frozenset({"_dlt_id", "_dlt_load_id", "_dlt_parent_id", "_dlt_root_id", "_dlt_list_idx"})
# dlt makes `a__v_text` for texts among the numbers of `a`: `a: {v_text: 1}` must not meet it
_VARIANT = re.compile(r"v_(text|double|bool|timestamp|bigint|binary|json|decimal|wei|date|time)\Z")
_DIGITS = (6, 12, 40)


class KeyNames:
    """The names of one root table's keys, at all paths.

    Args:
        root: the root table.
        normalize: dlt's name for one key, without a `__` of its own.
        as_before: the name that dlt's normalizer gives by itself, which splits keys at `__`.
        hints: of the root table, with what was decided before.
        columns: tables and their columns that the stream has, whoever made them.
        dialect: of the destination's SQL, as dlt names it; it refuses some names.
    """

    def __init__(
        self,
        root: str,
        normalize: Callable[[str], str],
        as_before: Callable[[str], str],
        hints: Mapping[str, Any],
        columns: Mapping[str, Iterable[str]],
        dialect: str | None = None,
    ) -> None:
        self.root = root
        self.paths: dict[str, Path] = {root: ()}
        """Tables that are known to be the root's, and the path of their rows."""
        self._normalize = normalize
        self._as_before = as_before
        self._dialect = dialect
        self._scopes: dict[Path, dict[str, str]] = {}
        self._owners: dict[str, tuple[Path, str]] = {}
        self._new: dict[str, str] = {}
        for names, key in keys_by_name(hints).items():
            self._take(names[:-1], key, names[-1])
        self._there = set(_prefixes(columns))
        self._trusts = bool(hints.get(UNKNOWN))
        self._shared: SharedNames | None = None

    @classmethod
    def of(cls, schema: Schema, root: str, dialect: str | None = None) -> KeyNames:
        """The names that a schema remembers for a root table."""
        naming = schema.naming
        table: Mapping[str, Any] = schema.tables.get(root) or {}
        columns = {
            name: [column for column, its in each["columns"].items() if _is_of_a_key(its)]
            for name, each in schema.tables.items()
            if name == root or name.startswith(root + SEPARATOR)
        }
        normalize = naming.normalize_identifier
        return cls(root, normalize, naming.normalize_path, table, columns, dialect)

    def share(self, file: FilePath) -> None:
        """Decide as other processes do that name keys of the same rows by the same file."""
        self._shared = SharedNames(file)

    def scope(self, path: Path) -> Mapping[str, str]:
        """The names that are decided below a path, by key; those decided later will be in it."""
        found = self._scopes.get(path)
        if found is None:
            found = self._scopes[path] = {}
        return found

    def name(self, path: Path, key: str) -> str:
        """The name of a key at a path; decided now where it was not."""
        found = self.scope(path).get(key)
        if found is None:
            self.decide(path, (key,))
            found = self._scopes[path][key]
        return found

    def key(self, path: Path, name: str) -> str:
        """The key that the last name of a path is decided of; `name` where none is."""
        above, key = self._owners.get(self._joined(path[:-1], path[-1]), ((), name))
        return key if above == path[:-1] else name

    def decide(self, path: Path, keys: Iterable[str]) -> None:
        """Name keys that come together, in an order that does not depend on theirs.

        A key that is its own name goes first, then those that need the least change.
        """
        if self._shared is None:
            self._decide(path, keys)
            return
        with self._shared.locked() as (decided, tell):
            for above, key, name in decided:
                self._take(above, key, name)
            before = dict(self.scope(path))
            self._decide(path, keys)
            tell((path, key, name) for key, name in self.scope(path).items() if key not in before)

    def _decide(self, path: Path, keys: Iterable[str]) -> None:
        scope = self.scope(path)
        fresh = [(natural_name(key, self._normalize), key) for key in keys if key not in scope]
        fresh.sort(key=_least_change)
        for natural, key in fresh:
            name = self._choose(path, key, natural)
            self._take(path, key, name)
            self._new[HINT + ".".join((*path, name))] = key

    def column(
        self,
        path: str,
        name: Callable[[Path, str], str] | None = None,
        hinted: Container[str] = (),
    ) -> str:
        """The column of a root row's value at a path of keys, `customer.id`.

        A key that has dots of its own is known by them, once it has come, unless the column of the
        path is in use.

        Args:
            name: what a key at a path is called; it is decided now, unless this says otherwise.
            hinted: the columns in use, from the loads before.
        """
        keys = path.split(".")
        whole = not all(keys) or path in self.scope(())
        if whole and (not all(keys) or self.column_so_far(keys) not in hinted):
            keys = [path]
        found: Path = ()
        for key in keys:
            found = (*found, (name or self.name)(found, key))
        return SEPARATOR.join(found)

    def column_so_far(self, keys: Iterable[str]) -> str | None:
        """The column at a path of keys, if each of them has come."""
        found: Path = ()
        for key in keys:
            name = self.scope(found).get(key)
            if name is None:
                return None
            found = (*found, name)
        return SEPARATOR.join(found)

    def column_to_come(self, path: str, hinted: Container[str] = ()) -> str:
        """The same as `column`, deciding nothing: the key may be written as its column is."""
        return self.column(
            path, lambda above, key: self.scope(above).get(key) or self._probable(key), hinted
        )

    def _probable(self, key: str) -> str:
        return self._as_before(key) if key.isascii() else natural_name(key, self._normalize)

    def new(self) -> dict[str, str]:
        """What was decided since this was last asked, as hints of the root table."""
        found, self._new = self._new, {}
        return found

    def locate(self, keys: Iterable[str]) -> tuple[list[Path], str]:
        """Where the values at a path of keys go: tables below the root, and the column.

        Args:
            keys: from the root on; `[]` for any element of a list.

        Returns:
            The names that lead to each list on the way, and the column's name.
        """
        tables: list[Path] = []
        above: Path = ()
        below: Path = ()
        for key in keys:
            if key == "[]":
                if not below:
                    below = (self.name(above, "list"),)
                tables.append(below)
                above, below = (*above, *below), ()
            else:
                below = (*below, self.name((*above, *below), key))
        return tables, free_column(SEPARATOR.join(below) or "value", self._dialect)

    def _choose(self, path: Path, key: str, natural: str) -> str:
        reserved = natural in _LINKS or bool(path and _VARIANT.match(natural))
        digest = sha1(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
        # of a stream from before: columns that this key made, and nobody else claimed yet
        plain = self._normalize(key) if key.strip() else EMPTY
        before = self._as_before(key) if key.strip() else EMPTY
        for name in (f"{plain}_x{digest[:6]}", f"{natural}_x{digest[:6]}", before):
            if name not in _LINKS and self._is_free(path, name) and self._is_there(path, name):
                return name
        another = natural not in (before, key) and self._is_there(path, natural)
        if not reserved and self._is_free(path, natural) and (self._trusts or not another):
            return natural
        # a name of the longest form is the key's alone
        names = [f"{natural}_x{digest[:size]}" for size in _DIGITS]
        return next((name for name in names if self._is_free(path, name)), names[-1])

    def _take(self, path: Path, key: str, name: str) -> None:
        self._scopes.setdefault(path, {})[key] = name
        self._owners[self._joined(path, name)] = (path, key)

    def _is_free(self, path: Path, name: str) -> bool:
        return self._joined(path, name) not in self._owners

    def _is_there(self, path: Path, name: str) -> bool:
        return self._joined(path, name) in self._there

    def _joined(self, path: Path, name: str) -> str:
        return SEPARATOR.join((self.root, *path, name))


Decided = tuple[Path, str, str]
"""A path, a key, and its name."""


class SharedNames:
    """What processes that work on one package have decided, a line each."""

    def __init__(self, file: FilePath) -> None:
        self._file = file
        self._read = 0

    @contextmanager
    def locked(self) -> Iterator[tuple[list[Decided], Callable[[Iterable[Decided]], None]]]:
        """What others have decided since the last time; and a way to tell them. One at a time."""
        with file_lock.locked(self._file), self._file.open("a+b") as file:
            file.seek(self._read)
            found = [json.loads(line) for line in file]

            def tell(decided: Iterable[Decided]) -> None:
                file.write(b"".join(json.dumps(each).encode() + b"\n" for each in decided))

            yield [((*path,), key, name) for path, key, name in found], tell
            self._read = file.tell()


def keys_by_name(hints: Mapping[str, Any]) -> dict[Path, str]:
    """The keys that a root table's hints remember, by the names that lead to each."""
    return {
        tuple(hint[len(HINT) :].split(".")): key
        for hint, key in hints.items()
        if hint.startswith(HINT)
    }


def name_primary_key(schema: Schema, resource: DltResource, dialect: str | None = None) -> None:
    """Name the keys of a resource's primary key first, and remember them with its other hints.

    `customer.id` is the key `id` of the object `customer`.
    dlt would look for the column by its own name for the key, which another key may have.
    """
    table = resource.compute_table_schema()
    keys = [key for key, column in table["columns"].items() if column.get("primary_key")]
    root = schema.naming.normalize_tables_path(str(table["name"]))
    names = KeyNames.of(schema, root)
    names.decide((), [key for key in keys if "." not in key])
    before = _hinted(schema, root, "primary_key")
    columns = [free_column(names.column(key, hinted=before), dialect) for key in keys]
    if hints := names.new():
        resource.apply_hints(primary_key=columns, additional_table_hints=dict(hints))
    elif columns != keys:
        resource.apply_hints(primary_key=columns)


def sort_column(schema: Schema, resource: DltResource, path: str) -> str:
    """The column of a resource's table that a path of keys, or a column's own name, stands for."""
    root = schema.naming.normalize_tables_path(str(resource.compute_table_schema()["name"]))
    if path in (schema.tables.get(root) or {"columns": {}})["columns"]:
        return path
    return KeyNames.of(schema, root).column_to_come(path, _hinted(schema, root, "dedup_sort"))


def _hinted(schema: Schema, root: str, hint: str) -> set[str]:
    """Columns that have values and a hint, from the loads before."""
    columns = (schema.tables.get(root) or {"columns": {}})["columns"]
    return {name for name, its in columns.items() if its.get("data_type") and its.get(hint)}


@cache
def snake_case() -> NamingConvention:
    """dlt's names for keys, where no schema says otherwise."""
    from dlt.common.normalizers.naming.snake_case import NamingConvention

    return NamingConvention()


def natural_name(key: str, normalize: Callable[[str], str]) -> str:
    """What a key is called where no other key has that name.

    >>> normalize = snake_case().normalize_identifier
    >>> [natural_name(key, normalize) for key in ("createdAt", "+1", "__v", "Größe", "名前", "🙂")]
    ['created_at', 'x1', '_v', 'grosse', 'ming_qian', 'slight_smile']
    """
    if not key.strip():
        return EMPTY
    if key.isascii():
        return normalize(key)
    if text := _transliterated(key):
        return normalize(text)
    digest = sha1(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    return f"x{digest[:6]}"


@lru_cache(maxsize=65_536)
def _transliterated(key: str) -> str:
    """The words of a key in ASCII; empty where it has none."""
    from anyascii import anyascii

    # its punctuation stands for letters that ASCII lacks, or is none of the words
    words = re.findall(r"[A-Za-z0-9]+", re.sub(r"['`]", "", anyascii(key)))
    return "_".join(words)


def _least_change(pair: tuple[str, str]) -> tuple[bool, bool, bool, str]:
    natural, key = pair
    return natural != key, key not in natural, not key.isascii(), key


def _is_of_a_key(column: Mapping[str, Any]) -> bool:
    """False for variants, which dlt makes for values of another type, and for hints alone."""
    return bool(column.get("data_type")) and not column.get("variant")


def _prefixes(columns: Mapping[str, Iterable[str]]) -> Iterable[str]:
    """Each column and each table that there is, and each object around them, as joined paths."""
    for table, names in columns.items():
        for whole in (table, *(f"{table}{SEPARATOR}{name}" for name in names)):
            parts = whole.split(SEPARATOR)
            for end in range(1, len(parts) + 1):
                yield SEPARATOR.join(parts[:end])
