"""A list of GitHub's in memory, behind the real client: its pages, links, ETags and limits."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from email.utils import format_datetime
from hashlib import sha1
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from requests.adapters import BaseAdapter

from millstream.config import GitHubConfig
from millstream.sources.github.client import Client
from millstream.sources.github.pagination import Listing, Pager
from sources.github_kit import NOW, FakeClock

BASE = "http://github.test"
Row = dict[str, Any]


class Lists(BaseAdapter):
    """Answers requests from lists, by path.

    Attributes:
        lists: rows by path, as GitHub has them: by creation.
        most_pages: it refuses further ones with 422.
        before_answer: called with the number of the request, to change the lists meanwhile.
    """

    def __init__(self, **lists: list[Row]) -> None:
        super().__init__()
        self.lists = {f"/repos/a/b/{path}": rows for path, rows in lists.items()}
        self.most_pages: int | None = None
        self.before_answer: Callable[[int], None] = lambda number: None
        self.asked: list[dict[str, str]] = []
        self.unchanged = 0
        self._lock = threading.Lock()

    def send(self, request: Any, **_: Any) -> requests.Response:
        with self._lock:
            split = urlsplit(request.url)
            query = dict(parse_qsl(split.query))
            self.before_answer(len(self.asked))
            self.asked.append(query)
            return self._answer(request, split.path, query)

    def close(self) -> None:
        pass

    def _answer(self, request: Any, path: str, query: dict[str, str]) -> requests.Response:
        rows = list(self.lists[path])
        if query.get("state") in ("open", "closed"):
            rows = [row for row in rows if row["state"] == query["state"]]
        if since := query.get("since"):
            rows = [row for row in rows if row["updated_at"] >= since]
        rows.sort(key=lambda row: row["updated_at" if query.get("sort") == "updated" else "id"])
        if query.get("direction") == "desc":
            rows.reverse()
        per_page, number = int(query.get("per_page", 30)), int(query.get("page", 1))
        pages = max(-(-len(rows) // per_page), 1)
        shown = min(pages, self.most_pages or pages)
        response = requests.Response()
        response.request, response.url = request, request.url
        response.headers["Date"] = format_datetime(
            datetime.fromtimestamp(NOW, timezone.utc), usegmt=True
        )
        if number > (self.most_pages or number):
            response.status_code, response.reason = 422, "Unprocessable"
            response.raw = io.BytesIO(b'{"message": "pagination is limited"}')
            return response
        page = rows[(number - 1) * per_page : number * per_page]
        links = {"next": number + 1, "last": shown} if number < shown else {}
        response.headers["Link"] = ", ".join(
            f'<{BASE}{path}?{urlencode({**query, "page": n})}>; rel="{name}"'
            for name, n in links.items()
        )
        content = json.dumps(page).encode()
        response.headers["ETag"] = f'"{sha1(content).hexdigest()}"'
        is_same = request.headers.get("If-None-Match") == response.headers["ETag"]
        self.unchanged += is_same
        response.status_code = 304 if is_same else 200
        response.raw = io.BytesIO(b"" if is_same else content)
        return response


def client_of(lists: Lists) -> Client:
    client = Client(BASE, None, clock=FakeClock(), cancelled=threading.Event(), connections=4)
    client._session.mount("http://", lists)
    return client


def pager_of(lists: Lists, parallel: int = 4) -> Pager:
    return Pager(client_of(lists), parallel)


def config(**options: Any) -> GitHubConfig:
    return GitHubConfig.model_validate(
        {"base_url": BASE, "repositories": ["a/b"], "per_page": 3, **options}
    )


def listing(path: str = "issues", per_page: int = 3, **options: Any) -> Listing:
    return Listing(
        path=f"/repos/a/b/{path}",
        params={"per_page": per_page},
        about="repository a/b",
        key=lambda row: row["id"],
        **options,
    )


def row(number: int, updated: str = "2023-01-01T00:00:00Z", **more: Any) -> Row:
    return {"id": number, "created_at": "2020-01-01T00:00:00Z", "updated_at": updated, **more}
