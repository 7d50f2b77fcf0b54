"""The demo's GitHub server, failing in every way that GitHub does."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from millstream.demo import github_server
from millstream.demo.http import Answer, Handler

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


class FaultyHandler(Handler):
    """Answers one request, with the fault that hits it."""

    _fault: Fault | None = None

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        github: Any = self.server.github
        self._fault = fault = github.faults.hit(self.path)
        if fault is None:
            return super().answer(path, query, headers)
        time.sleep(fault.seconds)
        if fault.then is not None:
            fault.then()
        if fault.kind == "slow":
            return super().answer(path, query, headers)
        if fault.kind == "answer":
            body = fault.body if isinstance(fault.body, bytes) else fault.body.encode()
            return Answer(fault.status, body, tuple(fault.headers.items()))
        if fault.kind == "truncated":
            whole = super().answer(path, query, headers)
            return Answer(200, whole.body[: len(whole.body) // 2], whole.headers)
        return Answer(0)

    def send(self, answer: Answer) -> None:
        if self._fault is None or self._fault.kind != "reset":
            super().send(answer)
            return
        # no lingering: the client sees "connection reset by peer" rather than an orderly end
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()


class GitHubServer(github_server.GitHubServer):
    """The demo's server, with faults to switch on."""

    handler = FaultyHandler

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.faults = Faults()
