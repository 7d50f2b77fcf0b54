"""A destination's settings, looked up once for each way in which they are asked for.

dlt looks up each of some twenty settings again, in the environment and in its files, for each of a
hundred questions that one run asks of its destination: a third of a short run's CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any


@contextmanager
def unlogged() -> Iterator[None]:
    """Within, dlt does not log what it looks up: for the trace of a run, which is not written.

    The log of one run is 1.3 MB of settings and errors, and lives as long as the process.
    """
    from dlt.common.configuration.utils import get_resolved_traces

    log = get_resolved_traces()
    before, log.logging_enabled = log.logging_enabled, False
    try:
        yield
    finally:
        log.logging_enabled = before


def settle(destination: Any) -> None:
    """Let a destination, for as long as it lives, remember its settings.

    Its credentials are to be resolved already: those that are not would be shared.
    """
    destination.configuration = _Settled(destination.configuration)


def change(destination: Any, setting: str, value: Any) -> None:
    """Set what dlt looks up, and let a destination look it up again.

    Args:
        setting: as `dlt.config` names it. The environment goes before it.
    """
    import dlt

    dlt.config[setting] = value
    if isinstance(destination.configuration, _Settled):
        destination.configuration.known.clear()


class _Settled:
    """`Destination.configuration`, asked once for each question."""

    def __init__(self, look_up: Any) -> None:
        self.known: dict[Any, Any] = {}
        self._look_up = look_up

    def __call__(self, initial_config: Any, accept_partial: bool = False) -> Any:
        question = _question(initial_config, accept_partial)
        if question is None:
            return self._look_up(initial_config, accept_partial=accept_partial)
        if question not in self.known:
            self.known[question] = self._look_up(initial_config, accept_partial=accept_partial)
        return copy(self.known[question])  # dlt writes into what it gets


def _question(initial: Any, accept_partial: bool) -> Any:
    """What the answer hangs on, and nothing where that can't be compared."""
    from dlt.common.configuration.container import Container
    from dlt.common.configuration.specs import ConfigSectionContext

    if initial is None or initial.is_resolved():
        return None
    given = tuple((name, value) for name, value in initial.items() if name != "credentials")
    question = (Container()[ConfigSectionContext].pipeline_name, accept_partial, given)
    try:
        hash(question)
    except TypeError:
        return None
    return question
