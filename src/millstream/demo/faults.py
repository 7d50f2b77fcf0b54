"""Faults that tests switch on in the fixture server."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["answer", "reset", "truncated", "slow"]


@dataclass(frozen=True)
class Fault:
    """What happens instead of, or before, an answer.

    Attributes:
        match: a regular expression that the request's path and query contain.
        times: how many matching requests it hits; None: all.
        skip: how many matching requests pass before.
        kind: `answer` with `status`, `headers` and `body`; `reset` the connection; send the JSON
            `truncated` (with a content length that fits); `slow`: wait `seconds`, then answer.
        then: called before the answer, for rows that change while a client pages.
    """

    match: str = ""
    times: int | None = 1
    skip: int = 0
    kind: Kind = "answer"
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes = '{"message": "Server Error"}'
    seconds: float = 0.0
    then: Callable[[], None] | None = None

    @classmethod
    def secondary(cls, retry_after: str | None = None, status: int = 403, **more: object) -> Fault:
        """GitHub's secondary rate limit, with or without a `Retry-After`."""
        return cls(
            status=status,
            headers={} if retry_after is None else {"Retry-After": retry_after},
            body='{"message": "You have exceeded a secondary rate limit. Please wait a few '
            'minutes before you try again."}',
            **more,  # type: ignore[arg-type]
        )

    @classmethod
    def during(cls, match: str, then: Callable[[], None], *, seconds: float = 0.0) -> Fault:
        """Change the data just before one matching request is answered, as others do on GitHub.

        Args:
            seconds: how long that request is held back before, so that others overtake it.
        """
        return cls(match=match, kind="slow", then=then, seconds=seconds)


class Faults:
    """The faults that are switched on; the first that matches a request hits it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[tuple[Fault, list[int]]] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append((fault, [0]))

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def hit(self, target: str) -> Fault | None:
        """The fault for a request of this path and query, counted; None where there is none."""
        with self._lock:
            for fault, seen in self._faults:
                if not re.search(fault.match, target):
                    continue
                seen[0] += 1
                if seen[0] > fault.skip and (
                    fault.times is None or seen[0] <= fault.skip + fault.times
                ):
                    return fault
        return None
