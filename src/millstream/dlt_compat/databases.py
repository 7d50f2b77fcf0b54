"""What clients of dlt's destinations know, and do not offer."""

from __future__ import annotations

import sys
from typing import Any

from millstream.dlt_compat import contract


def database_error(client: Any, error: Exception) -> Exception:
    """dlt's error for one of the driver: it says whether another attempt may help.

    Args:
        client: an SQL client of dlt's.
    """
    made: Exception = client._make_database_exception(error)
    return made


def connection_string(credentials: Any) -> str:
    """Where dlt's credentials of DuckDB connect to."""
    return str(credentials._conn_str())


def schema_names_in_files(client: Any) -> list[str] | None:
    """The names of the schemas that lie in files, which name them; None for other destinations.

    Raises:
        DestinationUndefinedEntity: there are none yet.
        MillstreamError: the installed dlt has them elsewhere.
    """
    files = sys.modules.get("dlt.destinations.impl.filesystem.filesystem")
    if files is None or not isinstance(client, files.FilesystemClient):
        return None
    contract.require("filesystem")
    return sorted({parts[0] for _, parts in client._iter_stored_schema_files()})
