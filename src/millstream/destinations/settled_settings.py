"""A destination's settings, looked up once for each way in which they are asked for.

dlt looks up each of some twenty settings again, in the environment and in its files, for each of a
hundred questions that one run asks of its destination: a third of a short run's CPU.
"""

from __future__ import annotations

from copy import copy
from typing import Any


def settle(destination: Any) -> None:
    """Let a destination, for as long as it lives, remember its settings.

    Its credentials are to be resolved already: those that are not would be shared.
    """
    look_up = destination.configuration
    known: dict[Any, Any] = {}

    def configuration(initial_config: Any, accept_partial: bool = False) -> Any:
        question = _question(initial_config, accept_partial)
        if question is None:
            return look_up(initial_config, accept_partial=accept_partial)
        if question not in known:
            known[question] = look_up(initial_config, accept_partial=accept_partial)
        return copy(known[question])  # dlt writes into what it gets

    destination.configuration = configuration


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
