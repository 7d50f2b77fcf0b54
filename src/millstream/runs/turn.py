"""A run's turn among the runs that load the same tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType

from millstream import destinations
from millstream.runs.context import RunContext


class Turn:
    """No other run loads the same stream, or the same partition, within the block.

    Attributes:
        check: raises where another machine may be loading the same by now.
    """

    def __init__(self, context: RunContext) -> None:
        self.check: Callable[[], None] = lambda: None
        self._context = context
        self._has_stream = context.partition is None
        self._held = ExitStack()

    def __enter__(self) -> Turn:
        context = self._context
        self.check = self._held.enter_context(
            destinations.turn(
                context.target,
                context.name,
                what=context.what,
                credentials=context.credentials,
            )
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.__exit__(kind, error, traceback)

    @contextmanager
    def of_stream(self) -> Iterator[None]:
        """Keep other partitions, and runs of the whole stream, from loading meanwhile."""
        if self._has_stream:
            yield
            return
        context = self._context
        with destinations.turn(
            context.target,
            context.schema,
            what=f"the stream {context.target.name}.{context.stream}",
            credentials=context.credentials,
        ) as self.check:
            self._has_stream = True
            try:
                yield
            finally:
                self._has_stream = False

    def keep_stream(self) -> None:
        """As `of_stream`, for the rest of the block."""
        self._held.enter_context(self.of_stream())
