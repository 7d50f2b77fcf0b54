"""A message as JSON, for whoever takes a POST. The form is stable; fields may be added."""

from __future__ import annotations

from typing import Any

from millstream.alerts.delivery import post, secret
from millstream.alerts.message import Message
from millstream.config import WebhookAlert
from millstream.schema_changes.evaluate import fingerprint


def send(alert: WebhookAlert, message: Message) -> None:
    """Send it once; see `delivery.post`."""
    post(secret(alert.url_from), payload(message))


def payload(message: Message) -> dict[str, Any]:
    """Every change that is worth saying, none left out."""
    return {
        "version": 1,
        "event": "schema_changes",
        "pipeline": message.pipeline,
        "stream": message.stream,
        "partition": message.partition,
        "outcome": "held" if message.held else "loaded",
        "severity": message.severity,
        "title": message.title,
        "accept": message.command,
        "rows": dict(message.rows),
        "changes": [
            {
                "id": fingerprint(decision.change),
                "kind": decision.change.kind,
                "table": decision.change.table,
                "column": decision.change.column,
                "old": decision.change.old,
                "new": decision.change.new,
                "severity": decision.change.severity,
                "message": decision.change.message,
                "action": decision.action,
                "reason": decision.reason,
            }
            for decision in message.decisions
        ],
        "downstream": list(message.context.downstream),
        "links": dict(message.context.links),
    }
