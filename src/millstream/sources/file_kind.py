"""What a file is, by its name, its configuration and its first bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millstream.config import FileStream
from millstream.errors import ConfigError
from millstream.sources import json_document
from millstream.sources.file_listing import ListedFile


def is_document(path: str, content: Any, settings: FileStream) -> bool:
    """Whether a file is one JSON document; a name that says otherwise may be wrong."""
    kind = kind_of(path, settings)[0]
    if settings.format is None and kind == "jsonl" and json_document.is_spread(content.peek()):
        return True
    return kind == "json"


def kind_of(path: str, settings: FileStream) -> tuple[str, bool]:
    """The format, and whether the name says that it is compressed."""
    name = path.lower()
    if path.startswith(("http://", "https://")):
        name = name.partition("?")[0]
    plain = name.removesuffix(".gz").removesuffix(".zst").removesuffix(".zstd")
    packed = plain != name
    if settings.format:
        return settings.format, packed
    if plain.endswith((".jsonl", ".ndjson")):
        return "jsonl", packed
    if plain.endswith((".json", ".geojson")):
        return "json", packed
    if plain.endswith((".csv", ".tsv", ".tab")):
        return "csv", packed
    if plain.endswith((".parquet", ".pq")):
        return "parquet", packed
    raise ConfigError(
        f"{path}: neither .jsonl, .json, .csv nor .parquet",
        hint="name its `format`: `jsonl`, `json`, `csv` or `parquet`",
    )


def is_parquet(path: str, settings: FileStream) -> bool:
    return kind_of(path, settings)[0] == "parquet"


def is_csv(path: str, settings: FileStream) -> bool:
    return kind_of(path, settings)[0] == "csv"


def is_typed(path: str, settings: FileStream) -> bool:
    """Whether a file's rows come as Arrow tables; a pattern may not tell."""
    try:
        return kind_of(path, settings)[0] in ("csv", "parquet")
    except ConfigError:
        return False


def may_be_typed(settings: FileStream, files: Sequence[ListedFile]) -> bool:
    """Whether any of a stream's files comes as Arrow tables."""
    return any(is_typed(name, settings) for name in (settings.path, *(f.url for f in files)))
