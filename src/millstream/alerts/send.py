"""Send a run's message everywhere it belongs: once, with retries, and never at the load's cost."""

from __future__ import annotations

import json
import logging
import smtplib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

from millstream.alerts import apprise_service, mail, slack, webhook
from millstream.alerts.delivery import RefusedError
from millstream.alerts.message import Message, compose
from millstream.common import atomic_write, retry
from millstream.common.retry import Sleep
from millstream.config import AlertConfig, data_dir
from millstream.errors import ConfigError
from millstream.model import Decision

ATTEMPTS = 3
LONGEST_WAIT = 20.0
"""Seconds; a server that wants us to wait longer is not waited for: a load should end."""
QUIET = timedelta(hours=24)
"""The same message is not sent again for so long, such as by a held run that is retried hourly."""

logger = logging.getLogger(__name__)


def send(
    alerts: Sequence[AlertConfig],
    pipeline: str,
    stream: str,
    decisions: Sequence[Decision],
    rows: Mapping[str, int],
    *,
    partition: str | None = None,
    sleep: Sleep = time.sleep,
) -> tuple[str, ...]:
    """Tell everyone in `alerts` what a run decided; never raises.

    Returns:
        One line for each alert that could not be sent, without addresses, which are secrets.
    """
    failures = []
    for number, alert in enumerate(alerts, start=1):
        message = compose(
            pipeline, stream, decisions, rows, at_least=alert.at_least, partition=partition
        )
        if message is None:
            continue
        try:
            memory = _Memory(message, number, alert)
            if memory.sent_lately():
                continue
            _deliver(alert, message, sleep)
            with suppress(OSError):  # it was sent; at worst it is sent again
                memory.remember()
        except Exception as error:  # whatever it is, the load comes first
            failures.append(f"alert {number} ({alert.type}) was not sent: {_reason(error)}")
            logger.warning("%s.%s: %s", pipeline, stream, failures[-1])
    return tuple(failures)


_SENDERS: Mapping[str, Callable[[Any, Message], None]] = {
    "slack": slack.send,
    "webhook": webhook.send,
    "email": mail.send,
    "apprise": apprise_service.send,
}
"""The sender of each kind of alert, by its `type`; each sends one message once."""


def _deliver(alert: AlertConfig, message: Message, sleep: Sleep) -> None:
    retries = retry.Retries(ATTEMPTS, first=1.0, sleep=sleep)
    retry.call(lambda: _SENDERS[alert.type](alert, message), retries, _delay)


def _delay(error: Exception, planned: float) -> float | None:
    """The seconds until another attempt; None where none would help."""
    if isinstance(error, RefusedError):
        is_final = error.wait is None or error.wait > LONGEST_WAIT
        return None if is_final else error.wait or planned
    # requests' errors are OSErrors too
    return planned if isinstance(error, (OSError, smtplib.SMTPServerDisconnected)) else None


def _reason(error: Exception) -> str:
    """Why, in words that hold no address: what `requests` says has the webhook's path in it."""
    if isinstance(error, (RefusedError, ConfigError)):
        return str(error)
    return type(error).__name__


class _Memory:
    """What was sent on this machine: `DATA_DIR/alerts/DIGEST.json`, one per alert and stream."""

    def __init__(self, message: Message, number: int, alert: AlertConfig) -> None:
        name = json.dumps([message.pipeline, message.stream, number, alert.type])
        self.file = data_dir() / "alerts" / f"{sha256(name.encode()).hexdigest()[:16]}.json"
        self.key = sha256(message.key.encode()).hexdigest()

    def sent_lately(self) -> bool:
        try:
            known = json.loads(self.file.read_text(encoding="utf-8"))
            then = datetime.fromisoformat(known["at"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        ago = datetime.now(timezone.utc) - then
        # a time to come was told by a clock that was wrong
        return bool(known.get("key") == self.key and timedelta(0) <= ago < QUIET)

    def remember(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        now = datetime.now(timezone.utc).isoformat()
        atomic_write.write(self.file, json.dumps({"key": self.key, "at": now}))
