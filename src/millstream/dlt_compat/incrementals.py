"""An incremental that begins where the run began, however often its resource is called."""

from __future__ import annotations

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
