"""Of which keys the columns of files are, so that a key has one column in files of all kinds.

JSON names its keys as it is normalized, and the table remembers them (`formats.key_names`). Columns
of CSV and Parquet files are named as they are read: by what JSON decided, then by what files before
them were called, then by dlt's snake case. A key that JSON would name otherwise is decided so; what
files called the other columns is remembered beside, and binds no JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millstream.config import FileStream
from millstream.formats.json_path import json_path
from millstream.formats.key_names import HINT, keys_by_name, natural_name, snake_case
from millstream.quarantine import envelope
from millstream.sources.typed_columns import column_names, primary_roots

_CALLED = "x-called."
"""How the hints of the table begin that hold what a file called a column: its name follows."""


@dataclass(frozen=True, slots=True)
class ColumnKeys:
    """The keys of a table's columns, as far as they are known.

    Attributes:
        table: in dlt's schema; empty where there is none yet.
        naming: of the schema.
        settings: of the stream.
    """

    table: Mapping[str, Any]
    naming: Any
    settings: FileStream

    def names(self, keys: Sequence[str]) -> Mapping[str, str]:
        """The columns of a file, by what it calls them."""
        known = {**self._called, **self._decided}
        return column_names(keys, self.settings.primary_key, known, self._natural)

    def in_rows(self, names: Mapping[str, str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """What rows of a file call its columns.

        Args:
            names: as `names` gives them.

        Returns:
            By the names of columns the keys, where these are others; and hints of the table, for
            what is not known yet.
        """
        roots = {self._natural(each): each for each in primary_roots(self.settings.primary_key)}
        maps = {each.partition(".")[0] for each in self.settings.maps}
        decided, called = self._decided, self._called
        keys: dict[str, str] = {}
        hints: dict[str, str] = {}
        for key, name in names.items():
            if root := roots.get(name):  # its name is decided; one with dots would be a path
                keys[name] = name if "." in root else root
            elif name in maps and key not in maps:  # what is below it is named so
                keys[name] = name
            else:
                known = decided.get(name) or called.get(name)
                keys[name] = known or key
                if known is None:
                    is_json = self.naming.normalize_path(key) == name
                    hints[(_CALLED if is_json else HINT) + name] = key
        return {name: key for name, key in keys.items() if name != key}, hints

    @property
    def _decided(self) -> Mapping[str, str]:
        found = keys_by_name(self.table).items()
        return {path[0]: key for path, key in found if len(path) == 1}

    @property
    def _called(self) -> Mapping[str, str]:
        return {
            hint.removeprefix(_CALLED): key
            for hint, key in self.table.items()
            if hint.startswith(_CALLED)
        }

    def _natural(self, key: str) -> str:
        normalize, columns = self.naming.normalize_identifier, self.table.get("columns", {})
        name = natural_name(key, normalize)
        if name in columns:
            return name
        # of a table from before: a name that was cut after it was written in snake case
        before: str = normalize(natural_name(key, snake_case().normalize_identifier))
        return before if before in columns else name


def renamed(page: Any, keys: Mapping[str, str]) -> Any:
    """Rows, those in envelopes too, with these keys in the place of columns' names."""
    if not keys or not isinstance(page, list):
        return page
    paths = {json_path("", name): json_path("", key) for name, key in keys.items()}
    return [_renamed(row, keys, paths) for row in page]


def _renamed(row: Any, keys: Mapping[str, str], paths: Mapping[str, str]) -> Any:
    if not envelope.is_one(row):
        return {keys.get(name, name): each for name, each in row.items()}
    if "row" not in row:
        return row
    note = row[envelope.KEY]
    path = note.get("path", "")
    return {
        envelope.KEY: {**note, "path": paths.get(path, path)},
        "row": _renamed(row["row"], keys, paths),
    }
