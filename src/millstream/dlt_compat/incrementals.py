"""Incrementals that begin where they have to: where the run began, or where another table does."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from decimal import Decimal, localcontext
from math import ceil
from typing import Any

import dlt

_DIGITS = 100
"""Of a decimal less its `lag`."""


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


def value_before(value: Any, lag: float) -> Any:
    """A value so far below a cursor's highest one: seconds, days, or units of a number.

    >>> value_before(2**60 + 129, 1.0) - 2**60, value_before(Decimal("2.50"), 0.5)
    (128, Decimal('2.00'))

    Raises:
        ValueError: of a text that is not a time there is none.
    """
    from dlt.extract.incremental.lag import apply_lag

    if isinstance(value, int):
        return value - ceil(lag)
    if isinstance(value, Decimal):
        with localcontext() as context:
            context.prec = _DIGITS
            return value - Decimal(str(lag))
    try:
        return apply_lag(lag, None, value, max)
    except (ArithmeticError, TypeError) as error:
        raise ValueError(str(error)) from None


def checked(
    check: Callable[[MutableMapping[str, Any]], object],
    passes_by: Callable[[Any], bool],
    go_back: Callable[[Any, float], Any],
) -> type[dlt.sources.incremental[Any]]:
    """An incremental that has the state of its resource looked at before it takes its start of it.

    dlt copies and binds an incremental as often as it likes; so must `check` be called.

    Args:
        passes_by: whether an item is none of what the incremental goes by. dlt would put the cursor
            back to where it was before Arrow tables of the same run, if rows that come behind them
            as dictionaries have none.
        go_back: from the highest value, by the `lag`. dlt's own takes none from decimals, and
            rounds large integers.
    """

    class Checked(dlt.sources.incremental[Any]):
        def bind(self, pipe: Any) -> Checked:
            check(dlt.current.resource_state(pipe.name))
            lag, self.lag = self.lag, None
            super().bind(pipe)
            if lag and self.start_value is not None:
                self.start_value = go_back(self.start_value, lag)
            self.lag = lag
            return self

        def __call__(self, rows: Any, meta: Any = None) -> Any:
            return rows if passes_by(rows) else super().__call__(rows, meta)

    return Checked
