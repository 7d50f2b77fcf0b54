"""The tables of an SQL database, and how each is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import (
    ConfigDict,
    Field,
    model_validator,
)

from millstream.config.base import Model, OneOrMany


class SqlTable(Model):
    """How one table or view is read."""

    cursor: str | None = Field(
        default=None,
        min_length=1,
        description="Each run reads the rows that have this column at or above the last run's "
        "highest value, or null. Needs a primary key.",
    )
    lag: float = Field(
        default=0,
        ge=0,
        description="How far a run reads back behind the cursor: seconds, days of a column of "
        "dates, or units of a number.",
    )
    primary_key: OneOrMany = Field(
        default=(), description="Merge on these columns; the table's own key when left out."
    )
    columns: tuple[str, ...] = Field(
        default=(), description="Read these columns and the key alone; all when left out."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Read all columns but these.")
    types: Mapping[str, Literal["text", "nested", "json"]] = Field(
        default_factory=dict,
        description="By column: `text` is the value as the database writes it, such as a numeric "
        "of any length; `nested` is text with JSON in it, which becomes columns and child tables; "
        "`json` is JSON that stays one column.",
    )
    chunk_size: int | None = Field(
        default=None, ge=1, description="Rows at once, instead of the source's."
    )
    write_disposition: Literal["merge", "replace", "append"] | None = Field(
        default=None,
        description="`merge` with a key and `replace` without one when left out. `replace` also "
        "drops what was deleted in the source; `append` adds what each run reads, and with a "
        "`cursor` no row twice that is as it was.",
    )
    deletes: Literal["snapshot"] | None = Field(
        default=None,
        description="`snapshot`: each run also reads the key of every row, and deletes what is no "
        "longer among them.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> SqlTable:
        if self.columns and self.exclude:
            raise ValueError("name either `columns` or `exclude`, not both")
        if self.lag and not self.cursor:
            raise ValueError("`lag` is how far a run reads back behind a `cursor`; name one")
        if self.lag and self.write_disposition == "append":
            raise ValueError("`lag` reads rows again, which `append` would double; leave out one")
        if self.deletes and self.write_disposition not in (None, "merge"):
            raise ValueError(
                f"`deletes` is for rows that merge, not for "
                f"`write_disposition: {self.write_disposition}`"
            )
        if self.cursor and self.write_disposition == "replace":
            raise ValueError("with a `cursor` a run reads new rows alone: they can't `replace` all")
        return self


class SqlDatabaseConfig(Model):
    """Tables and views of an SQL database. Its URL comes from `DATABASE_URL` or
    `SOURCES__SQL_DATABASE__CREDENTIALS`."""

    model_config = ConfigDict(populate_by_name=True)

    type: Literal["sql_database"] = "sql_database"
    url_from: str | None = Field(
        default=None,
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="An environment variable's name, in which the URL is instead.",
    )
    # `schema` is a method of pydantic's models
    database_schema: str | None = Field(
        default=None,
        alias="schema",
        min_length=1,
        description="The schema of the tables; the user's default, such as `public`, when left "
        "out.",
    )
    tables: tuple[str, ...] = Field(
        default=("*",),
        min_length=1,
        description="Tables and views, by name or pattern (`*`, `?`). Patterns need `millstream "
        "discover` once.",
    )
    settings: Mapping[str, SqlTable] = Field(
        default_factory=dict, description="Per table, by its name."
    )
    chunk_size: int = Field(default=50_000, ge=1, description="Rows at once.")

    @model_validator(mode="after")
    def _names(self) -> SqlDatabaseConfig:
        for name in self.tables:
            if not name.strip() or "\0" in name:
                raise ValueError(f"{name!r} is not a name")
        return self

    def settings_of(self, stream: str) -> SqlTable:
        """The settings of one table, by the name of its stream."""
        return self.settings.get(stream, SqlTable())
