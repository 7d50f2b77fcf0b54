"""A message as text, through apprise, to any of the services that it knows."""

from __future__ import annotations

from millstream.alerts.delivery import RefusedError, secret
from millstream.alerts.message import Message, plain
from millstream.config import AppriseAlert
from millstream.errors import ConfigError


def send(alert: AppriseAlert, message: Message) -> None:
    """Send it once.

    Raises:
        ConfigError: apprise is not installed, or does not know the address.
        RefusedError: the service refused.
    """
    try:
        import apprise
    except ImportError:
        raise ConfigError("apprise is not installed: pip install 'millstream[apprise]'") from None

    service = apprise.Apprise()
    if not service.add(secret(alert.url_from)):
        raise ConfigError(f"{alert.url_from} holds no address that apprise knows")
    # as text, so that apprise escapes what a service would read as markup
    kind = apprise.NotifyFormat.TEXT
    if not service.notify(title=message.title, body=plain(message), body_format=kind):
        raise RefusedError("the service refused it", 0.0)
