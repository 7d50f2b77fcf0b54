"""What the columns of a CSV file are: texts, but for those whose types are declared."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from millstream.config import FileStream
from millstream.errors import SourceDataError
from millstream.sources import findings
from millstream.sources.typed_columns import (
    UNBOUNDED,
    Column,
    NamesOf,
    column_name,
    column_names,
    stored_name,
)


def columns_of(
    names: Sequence[str], types: Mapping[str, str], names_of: NamesOf = column_names
) -> list[Column]:
    """The columns of a file, by the names in its first row."""
    named = names_of(names)
    # the names of each entry alone are asked for where the file does not have it: few, as a rule
    meant = {each: named.get(each) or names_of([each])[each] for each in types}
    entries = _entries(named, meant)
    return [
        _column(named[name], name, types[entries[name]] if name in entries else "text")
        for name in names
    ]


def key_column(key: str, types: Mapping[str, str]) -> str:
    """What of a primary key is a column's name with dots: a CSV file has objects only by `types`.

    >>> key_column("order.id", {}), key_column("order.id", {"order": "nested"})
    ('order_id', 'order.id')
    """
    if "." not in key or types.get(key.partition(".")[0]) == "nested":
        return key
    return column_name(key)


def settled(settings: FileStream, known: Mapping[str, Any]) -> FileStream:
    """The settings without the types of columns that are text in the table, and stay it.

    A text is what the file has, and no other type may give it back: `007` is not a number.

    Args:
        known: the columns of the table in dlt's schema.
    """
    stay = _text_for_good(settings, known)
    if not stay:
        return settings
    findings.warn(
        f"types: {', '.join(f'`{each}`' for each in stay)}: text since an earlier load, and stays "
        "it, with values as the file has them; to give it the type, drop the table and those below "
        "it, and run with --full-refresh"
    )
    types = {name: kind for name, kind in settings.types.items() if name not in stay}
    return settings.model_copy(update={"types": types})


def declared(
    keys: Collection[str], settings: FileStream, known: Mapping[str, Any]
) -> Mapping[str, Column]:
    """The columns, by the keys of a row that waited, whose cells are not texts.

    A row may be called by what files of another kind call its columns.

    Args:
        known: the columns of the table in dlt's schema.
    """
    stay = _text_for_good(settings, known)
    types = {name: kind for name, kind in settings.types.items() if name not in stay}
    named = {each: stored_name(each, known) or column_name(each) for each in {*keys, *types}}
    entries = _entries({key: named[key] for key in keys}, {each: named[each] for each in types})
    return {key: _column(named[key], entry, types[entry]) for key, entry in entries.items()}


def refuse_unknown(settings: FileStream, known: Mapping[str, Any], stream: str) -> None:
    """Stop where `types` names a column that no file has, these ones or earlier ones.

    Args:
        known: the columns of the table in dlt's schema, once the files were read.

    Raises:
        SourceDataError: there is one: what was meant would be text for good.
    """
    if not known or settings.columns or settings.header is False:
        return
    for source, kind in settings.types.items():
        # JSON makes columns and tables below its name, or none
        if stored_name(source, known) is None and kind != "nested":
            there = ", ".join(each for each in known if not each.startswith("_dlt_"))
            raise SourceDataError(
                f"stream {stream!r}: no file has a column {source!r}, which `types` names",
                hint=f"correct `types`; the table's columns are {there}",
            )


def _entries(named: Mapping[str, str], meant: Mapping[str, str]) -> Mapping[str, str]:
    """The entry of `types` for each column that has one, by what its file calls the column.

    An entry is for what is called as it is, or else for the column that it means: files write the
    name of one column in several ways, and one name may be that of several columns.

    Args:
        named: the names of the file's columns, by what it calls them.
        meant: the names of the columns, by the entries.
    """
    found = {key: key for key in named if key in meant}
    others = {name: entry for entry, name in meant.items() if entry not in found}
    for key, name in named.items():
        if key not in found and name in others:
            found[key] = others[name]
    return found


def _text_for_good(settings: FileStream, known: Mapping[str, Any]) -> list[str]:
    """What `types` names of the columns that are text in the table."""
    return [
        each.source
        for each in columns_of(tuple(settings.types), settings.types)
        if each.kind not in ("text", "nested", "any")
        and (name := stored_name(each.source, known)) is not None
        and known[name].get("data_type") == "text"
    ]


def _column(name: str, source: str, kind: Any) -> Column:
    if kind.startswith("timestamp"):
        return Column(name, source, "timestamp", is_zoned=kind == "timestamptz")
    if kind.startswith("decimal"):
        digits = [int(each) for each in re.findall(r"\d+", kind)]
        return Column(name, source, "decimal", (digits[0], digits[1]) if digits else UNBOUNDED)
    return Column(name, source, kind)
