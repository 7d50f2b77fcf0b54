"""What the senders of all kinds share: secrets from the environment, POSTs, and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from millstream.config import credential
from millstream.errors import ConfigError

TIMEOUT = 10.0


class RefusedError(Exception):
    """It was sent and refused; `wait` is when to try again, or None: never."""

    def __init__(self, message: str, wait: float | None) -> None:
        self.wait = wait
        super().__init__(message)


def secret(name: str) -> str:
    """The value of an environment variable.

    Raises:
        ConfigError: it is not set.
    """
    value = credential(name)
    if value is None:
        raise ConfigError(f"{name} is not set")
    return value


def post(address: str, payload: Mapping[str, Any]) -> None:
    """POST a message as JSON.

    Raises:
        RefusedError: with what was answered, and without the address, which is a secret.
        OSError: there was no answer.
    """
    import requests

    answer = requests.post(address, json=payload, timeout=TIMEOUT, allow_redirects=False)
    if answer.status_code < 300:
        return
    wait: float | None = None
    if answer.status_code == 429 or answer.status_code >= 500:
        wait = _seconds(answer.headers.get("Retry-After"))
    said = " ".join(answer.text[:80].split())
    raise RefusedError(f"{_host(address)} said {answer.status_code} {said}".rstrip(), wait)


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0


def _host(address: str) -> str:
    return urlsplit(address).hostname or "the address"
