"""A message as Slack's Block Kit, within the limits that Slack documents.

https://docs.slack.dev/reference/block-kit/blocks and
https://docs.slack.dev/messaging/formatting-message-text
"""

from __future__ import annotations

import re
from typing import Any

from millstream.alerts.delivery import post, secret
from millstream.alerts.message import (
    ROWS_OF_HELD,
    ROWS_OF_KEPT_OUT,
    Message,
    _rows,
    change_words,
)
from millstream.config import SlackAlert

BLOCKS = 50
HEADER = 150
SECTION = 3000
TEXT = 40_000
_SIGNS = {
    "safe": ":large_green_circle:",
    "risky": ":large_yellow_circle:",
    "breaking": ":red_circle:",
}


def send(alert: SlackAlert, message: Message) -> None:
    """Send it once; see `delivery.post`."""
    post(secret(alert.url_from), payload(message))


def payload(message: Message) -> dict[str, Any]:
    """The JSON of one message to an incoming webhook."""
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": cut(message.title, HEADER)}}
    ]
    for table, decisions in message.tables():
        lines = [f"*{escape(table)}* ({_rows(message, table)})"]
        lines += [
            f"{_SIGNS[d.change.severity]} {escape(change_words(d))} (_{d.action}_)"
            for d in decisions
        ]
        blocks += [_section(part) for part in parts(lines)]
    if message.left_out:
        blocks.append(_section(f"and {message.left_out} more"))
    if message.command:
        blocks.append(_section(f"{ROWS_OF_HELD}\n`{escape(message.command)}`"))
    if message.quarantine_command:
        blocks.append(_section(f"{ROWS_OF_KEPT_OUT}\n`{escape(message.quarantine_command)}`"))
    if message.context.downstream:
        names = cut(f"Downstream: {escape(', '.join(message.context.downstream))}", SECTION)
        blocks.append(_section(names))
    if message.context.links:
        links = [f"<{escape(a)}|{escape(label)}>" for label, a in message.context.links.items()]
        blocks += [_section(part) for part in parts(links)]
    if len(blocks) > BLOCKS:
        blocks = [*blocks[: BLOCKS - 1], _section("the rest did not fit into one message")]
    # `text` is what notifications show, and screen readers read
    return {"text": cut(escape(message.title), TEXT), "blocks": blocks}


def escape(text: str) -> str:
    """Text that Slack shows as it is, and that mentions nobody.

    >>> escape("<!channel> & @here")
    '&lt;!channel&gt; &amp; @\\u2060here'
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # clients that parse names fully would still see one here: a word joiner takes it apart
    return re.sub(r"@(?=channel|here|everyone)", "@\u2060", text, flags=re.IGNORECASE)


def cut(text: str, limit: int) -> str:
    """The text, or as much of it as fits, and an ellipsis; never half an entity."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    return re.sub(r"&[a-z]{0,3}$", "", text[: limit - 1]) + "\u2026"


def parts(lines: list[str]) -> list[str]:
    """The lines in texts that each fit into a section."""
    found: list[str] = []
    for line in lines:
        line = cut(line, SECTION)
        if found and len(found[-1]) + 1 + len(line) <= SECTION:
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found


def _section(text: str) -> dict[str, Any]:
    # verbatim: Slack makes no links or mentions of its own out of names
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}
