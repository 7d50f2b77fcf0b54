"""Incrementals that begin where they have to: where the run began, or where another table does."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import dlt


class StableIncremental(dlt.sources.incremental[Any]):
    """As dlt's, for a transformer.

    dlt binds an incremental anew whenever its function is called, and a transformer's is called for
    each page of its parent: the start moves to the newest value so far, and all rows below it that
    come with later pages are dropped.
    """

    _is_bound = False

    def bind(self, pipe: Any) -> StableIncremental:
        if not self._is_bound:
            super().bind(pipe)
            self._is_bound = True
        return self

    @property
    def last_value(self) -> Any:
        """What requests ask from."""
        return self.start_value


def checked(
    check: Callable[[MutableMapping[str, Any]], object],
    passes_by: Callable[[Any], bool],
) -> type[dlt.sources.incremental[Any]]:
    """An incremental that has the state of its resource looked at before it takes its start of it.

    dlt copies and binds an incremental as often as it likes; so must `check` be called.

    Args:
        passes_by: whether an item is none of what the incremental goes by. dlt would put the cursor
            back to where it was before Arrow tables of the same run, if rows that come behind them
            as dictionaries have none.
    """

    class Checked(dlt.sources.incremental[Any]):
        def bind(self, pipe: Any) -> Checked:
            check(dlt.current.resource_state(pipe.name))
            super().bind(pipe)
            return self

        def __call__(self, rows: Any, meta: Any = None) -> Any:
            return rows if passes_by(rows) else super().__call__(rows, meta)

    return Checked
