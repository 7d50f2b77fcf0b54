"""One staging model a table: its columns by name, for people to go on from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from millstream.dbt.sources_file import SourceTable

_LEFT_OUT = ("_dlt_root_id", "_dlt_load_id")


def staging_models(
    source: str, tables: Sequence[SourceTable], quote: str
) -> Iterator[tuple[str, str]]:
    """File names and texts of models.

    Args:
        quote: the character around identifiers: `"` or a backtick.
    """
    for found in tables:
        names = [column.name for column in found.table.columns if column.name not in _LEFT_OUT]
        columns = ",\n".join(f"    {quote}{name}{quote}" for name in names)
        relation = "{{ source('" + source + "', '" + found.table.name + "') }}"
        yield f"stg_{source}__{found.table.name}.sql", f"select\n{columns}\nfrom {relation}\n"
