"""What dlt's `incremental` says of a row without a cursor, in our words."""

from __future__ import annotations

from millstream.errors import SourceDataError


def explain(error: BaseException) -> SourceDataError | None:
    """The error for a row that lacks the field which an incremental goes by; None for any other."""
    from dlt.extract.incremental.exceptions import (
        IncrementalCursorPathHasValueNone,
        IncrementalCursorPathMissing,
    )

    if not isinstance(error, (IncrementalCursorPathMissing, IncrementalCursorPathHasValueNone)):
        return None
    lacks = "has null in" if isinstance(error, IncrementalCursorPathHasValueNone) else "has no"
    fields = f"; it has {', '.join(map(str, error.item))}" if isinstance(error.item, dict) else ""
    return SourceDataError(
        f"{error.pipe_name}: a row {lacks} `{error.json_path}`, by which `incremental` reads on",
        hint=f"correct `cursor_path`{fields}; or `on_cursor_value_missing: include` loads such "
        "rows",
    )
