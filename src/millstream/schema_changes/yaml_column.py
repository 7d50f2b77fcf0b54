"""One column as one line of YAML: `decimal(38,9), not null, primary key`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from difflib import get_close_matches

from millstream.formats.json_path import json_path, own_keys, source_keys
from millstream.model import Column
from millstream.schema_changes.messages import type_words

DATA_TYPES = (
    "text",
    "double",
    "bool",
    "timestamp",
    "bigint",
    "binary",
    "json",
    "decimal",
    "wei",
    "date",
    "time",
)
"""dlt's data types."""

_TRAITS = ("not null", "primary key", "merge key", "cursor")
_TYPE = re.compile(
    r"(?P<type>[a-z]+)(\((?P<precision>\d+)?(,(?P<scale>-?\d+))?\))?"
    r"( (?P<timezone>with|without) time zone)?"
)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_KEYS = re.compile(r"[\w$@/.\[\]-]+( [\w$@/.\[\]-]+)*")
_LINE = re.compile(r"[a-z][\w$@/.\[\](), -]*")
"""What YAML reads as a text without quotes."""
_YAML_WORDS = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null", "nan"})


def write(column: Column) -> str:
    """The line of a column, without its name.

    >>> write(Column("id", "bigint", nullable=False, primary_key=True))
    'bigint, not null, primary key'
    """
    traits = [type_words(column)]
    flags = (not column.nullable, column.primary_key, column.merge_key, column.cursor)
    traits += [name for name, is_set in zip(_TRAITS, flags) if is_set]
    if keys := own_keys(column.path, column.name):
        traits.append(f"key {keys}")
    if keys := source_keys(column.path, column.source_path):
        traits.append(f"from {source_key(keys)}")
    if column.variant_of is not None:
        traits.append(f"variant of {column.variant_of}")
    line = ", ".join(traits)
    # names of the `direct` convention, and keys, hold any character
    return line if _LINE.fullmatch(line) else json.dumps(line, ensure_ascii=False)


def source_key(keys: str) -> str:
    """Keys as a source has them, without what ends a trait.

    >>> source_key("unitPrice"), source_key('"a, b"')
    ('unitPrice', '"\\\\"a\\\\u002c b\\\\""')
    """
    if _PLAIN_KEYS.fullmatch(keys):
        return keys
    return json.dumps(keys, ensure_ascii=False).replace(",", "\\u002c")


def read_source_key(text: str) -> str:
    """What `source_key` wrote.

    Raises:
        ValueError: it wrote something else.
    """
    return str(json.loads(text)) if text.startswith('"') else text


def read(
    name: str, line: str, path: Callable[[str], str] = lambda base: "", source_prefix: str = ""
) -> Column:
    """The column that a line describes.

    Args:
        path: where a column's values lie in the JSON.
        source_prefix: where its table's rows do, by the keys as the source has them.

    >>> read("n__v_text", "text, variant of n").variant_of
    'n'

    Raises:
        ValueError: not a line that `write` makes.
    """
    line, marker, variant_of = line.partition(", variant of ")
    words, *traits = [part.strip() for part in line.split(", ")]
    match = _TYPE.fullmatch(words)
    if match is None or match["type"] not in DATA_TYPES:
        raise ValueError(f"{words!r} is not a data type{_mean(words.split('(')[0], DATA_TYPES)}")
    where = path(variant_of or name)
    source_keys = ""
    for trait in traits:
        if trait.startswith("key "):
            where = where.removesuffix(json_path("", name)) + trait.removeprefix("key ")
        elif trait.startswith("from "):
            source_keys = read_source_key(trait.removeprefix("from "))
        elif trait not in _TRAITS:
            raise ValueError(f"{trait!r} is not known{_mean(trait, _TRAITS)}")
    return Column(
        name,
        match["type"],
        nullable="not null" not in traits,
        primary_key="primary key" in traits,
        merge_key="merge key" in traits,
        cursor="cursor" in traits,
        variant_of=variant_of if marker else None,
        precision=int(match["precision"]) if match["precision"] else None,
        scale=int(match["scale"]) if match["scale"] else None,
        timezone=None if match["timezone"] is None else match["timezone"] == "with",
        path=where,
        source_path=_source_path(where, source_prefix, source_keys),
    )


def _source_path(path: str, prefix: str, keys: str) -> str:
    if not path:
        return ""
    if path.endswith("[]"):
        return prefix.removesuffix(".")
    return prefix + (keys or path.rpartition("[].")[2])


def key(name: str) -> str:
    """A name as a YAML key or value, quoted where YAML would read something else.

    >>> key("id"), key("no"), key("a: b")
    ('id', '"no"', '"a: b"')
    """
    if _PLAIN.fullmatch(name) and name.lower() not in _YAML_WORDS:
        return name
    return json.dumps(name, ensure_ascii=False)


def _mean(word: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(word, known, n=1)
    return f", did you mean `{close[0]}`?" if close else f"; known are {', '.join(known)}"
