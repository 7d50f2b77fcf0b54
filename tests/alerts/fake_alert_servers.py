"""Where alerts go: a server that takes only what Slack takes, and one that speaks SMTP."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Slack:
    """An incoming webhook, with the limits of Slack's documentation.

    Attributes:
        taken: payloads that were accepted.
        asked: requests, accepted or not.
        answers: status, headers and body to give first, one per request, before it is itself again.
    """

    url: str = ""
    taken: list[Any] = field(default_factory=list)
    asked: int = 0
    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=list)

    def post(self, path: str, content_type: str, body: bytes) -> tuple[int, dict[str, str], str]:
        self.asked += 1
        if self.answers:
            return self.answers.pop(0)
        if path != "/services/T000/B000/XXXsecret":
            return 404, {}, "no_service"
        if not content_type.startswith("application/json"):
            return 400, {}, "invalid_payload"
        try:
            payload = json.loads(body)
        except ValueError:
            return 400, {}, "invalid_payload"
        if complaint := complain(payload):
            return 400, {}, complaint
        self.taken.append(payload)
        return 200, {}, "ok"


def complain(payload: Any) -> str | None:
    """What Slack would find wrong with a message; None if nothing."""
    if not isinstance(payload, dict) or not payload.get("text"):
        return "no_text"
    if len(payload["text"]) > 40_000:
        return "msg_too_long"
    blocks = payload.get("blocks", [])
    if len(blocks) > 50:
        return "invalid_blocks: more than 50"
    for block in blocks:
        if block["type"] not in ("header", "section", "context", "divider", "actions"):
            return "invalid_blocks: unknown type"
        limit, kind = (150, "plain_text") if block["type"] == "header" else (3000, "mrkdwn")
        text = block.get("text", {})
        if text.get("type") != kind or not 0 < len(text.get("text", "")) <= limit:
            return "invalid_blocks: text"
        if set(text) - {"type", "text", "emoji", "verbatim"}:
            return "invalid_blocks: fields"
    return None


def mentions(payload: Any) -> list[str]:
    """Whom Slack would notify: `<!here>`, `<@U1>`, `<#C1>`; and bare names, unless verbatim."""
    found: list[str] = []
    texts = [{"text": payload["text"]}, *(block["text"] for block in payload["blocks"])]
    for text in texts:
        if text.get("type") == "plain_text":
            continue  # formatted as it stands
        found += re.findall(r"<[!@#][^>]*>", text["text"])
        found += re.findall(r"@(?:channel|here|everyone)", text["text"])
    return found


@contextmanager
def slack() -> Iterator[Slack]:
    office = Slack()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, said = office.post(
                self.path, self.headers.get("Content-Type", ""), body
            )
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    office.url = f"http://127.0.0.1:{server.server_port}/services/T000/B000/XXXsecret"
    with _serving(server):
        yield office


@dataclass
class Smtp:
    """A mail server: RFC 5321 as far as clients go, and AUTH PLAIN.

    Attributes:
        refusals: answers to give to the next MAIL commands, before it takes one.
    """

    port: int = 0
    user: str | None = None
    password: str | None = None
    refusals: list[str] = field(default_factory=list)
    mails: list[tuple[str, list[str], bytes]] = field(default_factory=list)


@contextmanager
def smtp() -> Iterator[Smtp]:
    office = Smtp()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 ready")
            sender, to = "", []
            while line := self.rfile.readline():
                text = line.decode().strip()
                verb = text.split(" ")[0].upper()
                if verb == "EHLO":
                    self.say("250-here\r\n250 AUTH PLAIN")
                elif verb == "AUTH":
                    given = b64decode(text.split(" ")[2]).split(b"\0")[1:]
                    known = [(office.user or "").encode(), (office.password or "").encode()]
                    self.say("235 welcome" if given == known else "535 who are you")
                elif verb == "MAIL":
                    if office.refusals:
                        self.say(office.refusals.pop(0))
                    else:
                        sender = text.partition(":")[2]
                        self.say("250 ok")
                elif verb == "RCPT":
                    to.append(text.partition(":")[2])
                    self.say("250 ok")
                elif verb == "DATA":
                    self.say("354 go on")
                    lines = []
                    while (part := self.rfile.readline()) != b".\r\n":
                        lines.append(part)
                    office.mails.append((sender, to, b"".join(lines)))
                    self.say("250 ok")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    office.port = server.server_address[1]
    with _serving(server):
        yield office


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
