"""Load ids that only grow, whatever the clock does.

dlt names a load by the time, and takes the state of the highest name for the newest. A clock that
was set back, or a machine whose clock is behind, would make a load that nobody ever looks at: the
next run would start from an older cursor, and load rows twice. dlt's clock never goes back within
a process; here it is told how far the destination has come.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from millstream.dlt_compat.clock import clock_ahead
from millstream.errors import RunError


@contextmanager
def above(newest: str | None, *, stream: str) -> Iterator[None]:
    """Packages that are made within this block get ids above `newest`.

    Only for as long as that takes: a lead of one stream is not handed on to others.

    Raises:
        RunError: this machine's clock is behind, and dlt does not let itself be told.
    """
    from dlt.common.storages import create_load_id

    if newest is None or create_load_id() > newest:
        yield
        return
    with clock_ahead(float(newest)):
        # where another release of dlt has its clock elsewhere, this notices
        if create_load_id() <= newest:
            raise RunError(
                f"{stream}: this machine's clock is behind that of the last load, {newest}: the "
                "next run would not see this one, and load its rows again",
                stream=stream,
                step="extract",
                hint="set the clock; nothing was loaded and no cursor moved",
            )
        yield
