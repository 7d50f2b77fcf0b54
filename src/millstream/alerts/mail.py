"""A message as mail through an SMTP server."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from millstream.alerts.delivery import RefusedError, secret
from millstream.alerts.message import Message, plain
from millstream.config import EmailAlert

TIMEOUT = 15.0


def send(alert: EmailAlert, message: Message) -> None:
    """Send it once.

    Raises:
        RefusedError: the server refused, with when to try again.
        OSError, smtplib.SMTPException: it did not get so far.
    """
    user = secret(alert.user_from) if alert.user_from else None
    password = secret(alert.password_from) if alert.password_from else None
    try:
        post(mail(message, alert), alert, user, password)
    except smtplib.SMTPResponseException as error:
        # 4xx is for now, 5xx for good (RFC 5321, 4.2.1)
        wait = 0.0 if 400 <= error.smtp_code < 500 else None
        raise RefusedError(f"the server said {error.smtp_code}", wait) from None


def mail(message: Message, alert: EmailAlert) -> EmailMessage:
    """The mail; a name with a line break in it adds no header."""
    made = EmailMessage()
    made["Subject"] = " ".join(message.title.split())
    made["From"] = alert.sender
    made["To"] = ", ".join(alert.to)
    made["Date"] = formatdate()
    made["Message-ID"] = make_msgid(domain=alert.sender.rpartition("@")[2])
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies
    made.set_content(plain(message))
    return made


def post(made: EmailMessage, alert: EmailAlert, user: str | None, password: str | None) -> None:
    """Hand the mail to the server.

    Raises:
        OSError: it can't be reached, or not in the security that is asked for.
        smtplib.SMTPException: it refused.
    """
    context = ssl.create_default_context()
    server: smtplib.SMTP
    if alert.security == "tls":
        server = smtplib.SMTP_SSL(alert.host, alert.port, timeout=TIMEOUT, context=context)
    else:
        server = smtplib.SMTP(alert.host, alert.port, timeout=TIMEOUT)
    with server:
        if alert.security == "starttls":
            server.starttls(context=context)
        if user:
            server.login(user, password or "")
        server.send_message(made)
