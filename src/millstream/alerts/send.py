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
from urllib.parse import urlsplit

from millstream.alerts import mail, slack, webhook
from millstream.alerts.message import Message, compose, plain
from millstream.common import atomic_write
from millstream.config import (
    AlertConfig,
    AppriseAlert,
    EmailAlert,
    SlackAlert,
    WebhookAlert,
    credential,
    data_dir,
)
from millstream.errors import ConfigError
from millstream.model import Decision

ATTEMPTS = 3
TIMEOUT = 10.0
LONGEST_WAIT = 20.0
"""Seconds; a server that wants us to wait longer is not waited for: a load should end."""
QUIET = timedelta(hours=24)
"""The same message is not sent again for so long, such as by a held run that is retried hourly."""

logger = logging.getLogger(__name__)
Sleep = Callable[[float], None]


class _RefusedError(Exception):
    """It was sent and refused; `wait` is when to try again, or None: never."""

    def __init__(self, message: str, wait: float | None) -> None:
        self.wait = wait
        super().__init__(message)


def send(
    alerts: Sequence[AlertConfig],
    pipeline: str,
    stream: str,
    decisions: Sequence[Decision],
    rows: Mapping[str, int],
    *,
    sleep: Sleep = time.sleep,
) -> tuple[str, ...]:
    """Tell everyone in `alerts` what a run decided; never raises.

    Returns:
        One line for each alert that could not be sent, without addresses, which are secrets.
    """
    failures = []
    for number, alert in enumerate(alerts, start=1):
        message = compose(pipeline, stream, decisions, rows, at_least=alert.at_least)
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


def _deliver(alert: AlertConfig, message: Message, sleep: Sleep) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _once(alert, message)
            return
        except _RefusedError as error:
            if error.wait is None or error.wait > LONGEST_WAIT or attempt == ATTEMPTS:
                raise
            sleep(error.wait or 2.0 ** (attempt - 1))
        except (OSError, smtplib.SMTPServerDisconnected):  # requests' errors are OSErrors too
            if attempt == ATTEMPTS:
                raise
            sleep(2.0 ** (attempt - 1))


def _once(alert: AlertConfig, message: Message) -> None:
    if isinstance(alert, SlackAlert):
        _post(_secret(alert.url_from), slack.payload(message))
    elif isinstance(alert, WebhookAlert):
        _post(_secret(alert.url_from), webhook.payload(message))
    elif isinstance(alert, EmailAlert):
        user = _secret(alert.user_from) if alert.user_from else None
        password = _secret(alert.password_from) if alert.password_from else None
        try:
            mail.post(mail.mail(message, alert), alert, user, password)
        except smtplib.SMTPResponseException as error:
            # 4xx is for now, 5xx for good (RFC 5321, 4.2.1)
            wait = 0.0 if 400 <= error.smtp_code < 500 else None
            raise _RefusedError(f"the server said {error.smtp_code}", wait) from None
    else:
        _apprise(alert, message)


def _post(address: str, payload: Mapping[str, Any]) -> None:
    import requests

    answer = requests.post(address, json=payload, timeout=TIMEOUT, allow_redirects=False)
    if answer.status_code < 300:
        return
    wait: float | None = None
    if answer.status_code == 429 or answer.status_code >= 500:
        wait = _seconds(answer.headers.get("Retry-After"))
    said = " ".join(answer.text[:80].split())
    raise _RefusedError(f"{_host(address)} said {answer.status_code} {said}".rstrip(), wait)


def _apprise(alert: AppriseAlert, message: Message) -> None:
    try:
        import apprise
    except ImportError:
        raise ConfigError("apprise is not installed: pip install 'millstream[apprise]'") from None

    service = apprise.Apprise()
    if not service.add(_secret(alert.url_from)):
        raise ConfigError(f"{alert.url_from} holds no address that apprise knows")
    # as text, so that apprise escapes what a service would read as markup
    kind = apprise.NotifyFormat.TEXT
    if not service.notify(title=message.title, body=plain(message), body_format=kind):
        raise _RefusedError("the service refused it", 0.0)


def _secret(name: str) -> str:
    value = credential(name)
    if value is None:
        raise ConfigError(f"{name} is not set")
    return value


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0


def _reason(error: Exception) -> str:
    """Why, in words that hold no address: what `requests` says has the webhook's path in it."""
    if isinstance(error, (_RefusedError, ConfigError)):
        return str(error)
    return type(error).__name__


def _host(address: str) -> str:
    return urlsplit(address).hostname or "the address"


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
