"""Files that make tables: where they are, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from millstream.config.base import Model, OneOrMany, check_paths

CSV_TYPE = (
    r"^(text|bigint|double|bool|date|time|timestamp|timestamptz|json|nested"
    r"|decimal(\(\d+, *\d+\))?)$"
)


class FileStream(Model):
    """Files that make one table."""

    path: str = Field(
        description="A file or a pattern (`data/*.jsonl.gz`, `s3://bucket/**/*.json`); relative "
        "paths start from the project. `*`, `?`, `[0-9]` and `**` are patterns; `[[]` stands for a "
        "bracket. gzip and Zstandard are unpacked, whatever the name. `{partition}` stands for a "
        "partition's key, `{partition:%Y/%m/%d}` for the start of its window."
    )
    format: Literal["jsonl", "json", "csv", "parquet"] | None = Field(
        default=None, description="From the file's name when left out."
    )
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="CSV: what is between two values; a comma when left out, a tab in `.tsv`.",
    )
    quote: str | None = Field(
        default='"',
        max_length=1,
        description="CSV: what is around a value with a delimiter or a newline in it; null for "
        "none.",
    )
    header: bool | None = Field(
        default=None,
        description="CSV: whether the first row has the names of the columns. It is taken to, "
        "unless `columns` are named; a first row with a number in it is refused until this says "
        "so.",
    )
    columns: tuple[str, ...] = Field(
        default=(), description="CSV: the names of the columns, instead of the first row's."
    )
    nulls: tuple[str, ...] = Field(
        default=("",),
        description="CSV: values that are null; in quotes they are texts.",
    )
    types: Mapping[str, Annotated[str, Field(pattern=CSV_TYPE)]] = Field(
        default_factory=dict,
        description="CSV: by column, `bigint`, `double`, `decimal`, `decimal(12, 2)`, `bool`, "
        "`date`, `time`, `timestamp`, `timestamptz` (with an offset or Z), `json` or `nested` "
        "(JSON that becomes columns and child tables). All others are text, as the file has it.",
    )
    encoding: str | None = Field(
        default=None,
        description="The text encoding, as Python names it, such as `windows-1252`. Default: "
        "UTF-8; UTF-16 and UTF-32 are detected.",
    )
    primary_key: OneOrMany = Field(
        default=(),
        description="Merge on these; one or a list. `customer.id` is the key `id` of the object "
        "`customer`; of CSV files the column of that name, unless `types` makes `customer` "
        "`nested`. Rows are appended when left out.",
    )
    maps: tuple[str, ...] = Field(
        default=(),
        description="Objects whose keys are data, by path (`users`, `a.b`): a child table with a "
        "row for each key, instead of columns for each.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> FileStream:
        if self.header and self.columns:
            raise ValueError("name `columns` for files without a `header`")
        return self

    @field_validator("maps")
    @classmethod
    def _paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_paths(value)
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            "".encode(value or "utf-8")
        except LookupError:
            raise ValueError(
                f"{value!r} is not a text encoding such as windows-1252 or utf-16"
            ) from None
        return value


class FilesConfig(Model):
    """JSON, CSV and Parquet files, local or remote; those that are new or have changed."""

    type: Literal["files"] = "files"
    streams: Mapping[str, FileStream] = Field(min_length=1, description="Files, by table.")
    options: Mapping[str, Any] = Field(
        default_factory=dict, description="fsspec's storage options, such as `anon`; no secrets."
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description="Where files over HTTP may be redirected to, besides their own host: `host` "
        "or `host:port`. A redirect anywhere else is an error.",
    )
    parallel: int = Field(default=2, ge=1, le=16, description="Chunks checked at once.")

    @field_validator("hosts")
    @classmethod
    def _plain_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not host or set(host) & set("/@*? "):
                raise ValueError(f"{host!r} is not a host such as example.com or example.com:8080")
        return tuple(host.lower() for host in value)
