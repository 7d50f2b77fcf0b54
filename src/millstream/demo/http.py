"""The HTTP side of the GitHub server: answers, and how they go over the wire."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import orjson

if TYPE_CHECKING:
    from millstream.demo.github_server import GitHubServer


@dataclass(frozen=True)
class Answer:
    """One answer, before `Date` and the content's length."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def json_answer(value: Any, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(200, orjson.dumps(value), headers)


def error_answer(status: int, message: str) -> Answer:
    return Answer(status, orjson.dumps({"message": message, "status": str(status)}))


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    github: GitHubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # clients that hang up are no news
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: HttpServer

    def do_GET(self) -> None:
        github = self.server.github
        split = urlsplit(self.path)
        query = dict(parse_qsl(split.query))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = 0
        github.enter()
        try:
            if github.latency:
                time.sleep(github.latency)
            answer = self.answer(split.path, query, headers)
            status = answer.status
        finally:
            github.leave(split.path, query, headers, status)
        self.send(answer)

    def do_POST(self) -> None:
        """What tests do with attributes, for those to whom the server is another process."""
        github = self.server.github
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/_fixture/as-of":
            github.hub.as_of = orjson.loads(body)["as_of"]
            self.send(json_answer({"as_of": github.hub.as_of}))
        elif self.path == "/_fixture/forget":
            github.forget()
            self.send(json_answer({}))
        elif self.path == "/_fixture/stats":
            counted = {"requests": len(github.asked), "refused": github.refused}
            self.send(json_answer({**counted, "max_concurrency": github.max_concurrency}))
        else:
            self.send(error_answer(404, "Not Found"))

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        return self.server.github.answer(path, query, headers)

    def send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        names = {name.lower() for name, _ in answer.headers}
        if "date" not in names:
            self.send_header("Date", formatdate(self.server.github.clock(), usegmt=True))
        self.send_header("Content-Type", "application/json; charset=utf-8")
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status != 304:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.status != 304:
            self.wfile.write(answer.body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        pass
