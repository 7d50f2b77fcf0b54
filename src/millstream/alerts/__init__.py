"""Who is told of schema changes: one message a run, to each place that `alerts` names.

message     what a run has to say, and to whom it is worth it
slack, webhook, mail, apprise_service   how it is said there, and sent once
delivery    what these share
send        retries, what was sent before, and what could not be sent

An alert that can't be sent never fails a load; it is reported.
"""

from __future__ import annotations

from millstream.alerts.message import Context, Message, about
from millstream.alerts.send import send

__all__ = ["Context", "Message", "about", "send"]
