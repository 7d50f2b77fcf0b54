"""What dbt is to know of the tables: sources, their tests, and staging models."""

from millstream.dbt.nested import DIALECTS, nested_models
from millstream.dbt.sources_file import SourceTable, merged, sources, unproven
from millstream.dbt.staging import staging_models

__all__ = [
    "DIALECTS",
    "SourceTable",
    "merged",
    "nested_models",
    "sources",
    "staging_models",
    "unproven",
]
