"""An API of lists: pages by number, offset, link and cursor, with faults on demand."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

SIZE = 5
Row = dict[str, Any]


@dataclass
class Reply:
    """An answer in place of the regular one."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


class ApiServer(ThreadingHTTPServer):
    """Serves `lists` by name, in pages of `SIZE` rows, each kind of page below a path of its own.

    Attributes:
        faults: called with each request's path and query before it is answered; what it returns
            is answered instead.
        token: what requests must carry; empty for none.
        etags: whether answers have an `ETag`, of their bodies.
        headers_of_304: whether 304 has the other headers, too.
        unchanged: the requests that were answered with 304.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lists: dict[str, list[Row]] = {}
        self.requests: list[str] = []
        self.token = ""
        self.etags = False
        self.headers_of_304 = True
        self.unchanged: list[str] = []
        self.fault: Callable[[str, dict[str, str]], Reply | None] = lambda *_: None
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, kind: str, name: str, query: dict[str, str]) -> Reply:
        rows = self.lists.get(name)
        if rows is None:
            return Reply(404, b'{"message": "no such list"}')
        if since := query.get("since"):
            rows = [row for row in rows if row["at"] >= since]
        there = f"{self.url}/{kind}/{name}"
        page = int(query.get("page", 1))
        start = int(query.get("offset", (page - 1) * SIZE))
        found, more = rows[start : start + SIZE], start + SIZE < len(rows)
        pages = -(-len(rows) // SIZE)

        def link(**new: Any) -> str:
            return f"{there}?{urlencode({**query, **new})}"

        if kind == "link":
            relations = {"first": 1, **({"next": page + 1, "last": pages} if more else {})}
            links = [f'<{link(page=n)}>; rel="{rel}"' for rel, n in relations.items()]
            return _json(found, {"Link": ", ".join(links)})
        if kind == "next":
            following = link(offset=start + SIZE) if more else None
            return _json({"count": len(rows), "next": following, "results": found})
        if kind == "cursor":
            return _json({"items": found, "cursor": str(page + 1) if more else None})
        if kind == "bare":
            return _json(rows)
        totals = {"total_pages": pages, "total": len(rows)}
        return _json({"data": {"items": found}, **totals})


def _json(document: Any, headers: dict[str, str] | None = None) -> Reply:
    return Reply(200, json.dumps(document).encode(), headers or {})


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        query = dict(parse_qsl(split.query))
        with self.server.lock:
            self.server.requests.append(self.path)
            reply = self.server.fault(split.path, query)
            if reply is None and self.server.token not in self.headers.get("Authorization", ""):
                reply = Reply(401, b'{"message": "who are you?"}')
            if reply is None:
                _, kind, name = split.path.split("/", 2)
                reply = self.server.answer(kind, name, query)
            if self.server.etags and reply.status == 200:
                reply = self._tagged(reply)
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(reply.body)))
        for header, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def _tagged(self, reply: Reply) -> Reply:
        tag = f'W/"{hashlib.sha256(reply.body).hexdigest()}"'
        reply.headers["ETag"] = tag
        if self.headers.get("If-None-Match") != tag:
            return reply
        self.server.unchanged.append(self.path)
        return Reply(304, b"", reply.headers if self.server.headers_of_304 else {"ETag": tag})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[ApiServer]:
    with ApiServer() as server:
        # polled often, since each test waits for its end
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
