"""A local server that speaks the part of GitHub's REST API that the GitHub source reads.

It pages with `Link`, filters by `since` and `state`, sorts, answers `If-None-Match` with 304 and
counts its rate limit. It keeps what it was asked.

    python -m millstream.demo.github_server --port 0 --as-of 2017-12-10T00:00:00Z

prints its URL. `POST /_fixture/as-of` with `{"as_of": null}` then serves the present;
`/_fixture/stats` tells what was counted since `/_fixture/forget`.
Format: https://docs.github.com/en/rest/using-the-rest-api
"""

from __future__ import annotations

import argparse
import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from millstream.demo.fake_data import Hub, Query, Row
from millstream.demo.http import Answer, Handler, HttpServer, error_answer, json_answer

_STREAMS = {
    "issues": "issues",
    "issues/comments": "issue_comments",
    "issues/events": "issue_events",
    "pulls": "pull_requests",
    "labels": "labels",
    "milestones": "milestones",
    "stargazers": "stargazers",
    "releases": "releases",
    "commits": "commits",
}
_ISSUES_ONLY = ("issues", "issues/comments", "issues/events", "milestones")
_WINDOW = 3600


@dataclass(frozen=True)
class Asked:
    """One request as it arrived, and the status that it was answered with."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    status: int

    @property
    def conditional(self) -> bool:
        return "if-none-match" in self.headers


class GitHubServer:
    """The server, as a context manager; `url` is the API's base.

    Args:
        dataset: `{"owner/name": {"issues": [rows], ...}}`, see `Hub`; or a list of issues.
        latency: seconds that every answer takes.
        as_of: the ISO 8601 time to serve, None for the present; also `server.hub.as_of = ...`.
        token: the only token that is accepted; None: any, or none.
        rate_limit: requests an hour; a 304 does not count.
        clock: the time in seconds, for rate limits and `Date`; tests bring their own.
        moved: old repository names, answered with a redirect to the new.
        port: 0 for a free one.
    """

    handler: type[Handler] = Handler

    def __init__(
        self,
        dataset: Mapping[str, Mapping[str, Sequence[Row]]] | Sequence[Row],
        *,
        latency: float = 0.0,
        as_of: str | None = None,
        token: str | None = None,
        rate_limit: int = 5000,
        clock: Callable[[], float] = time.time,
        moved: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        if not isinstance(dataset, Mapping):
            dataset = {"octo/hello": {"issues": dataset}}
        self.hub = Hub(dataset, as_of, moved)
        self.asked: list[Asked] = []
        self.latency = latency
        self.token = token
        self.scopes = "repo"
        self.rate_limit = rate_limit
        self.clock = clock
        self.counts = True
        """False: GitHub Enterprise with its rate limit switched off."""
        self.names_last = True
        """False: as for large repositories, `next` links with a cursor, and no last page."""
        self.most_pages: int | None = None
        """Pages of a list that are shown: the last one names no further, which answers 422."""
        self.cursors_from: int | None = None
        """From this page on, issues are shown to those alone who follow `next`, by a cursor."""
        self.used = 0
        self.reset = int(clock()) + _WINDOW
        self.refused = 0
        """Requests that came while none were left: a client that honours the limit makes none."""
        self.max_concurrency = 0
        self._active = 0
        self._lock = threading.Lock()
        self._pages: dict[tuple[object, ...], tuple[list[Row], bytes]] = {}
        self._http = HttpServer(("127.0.0.1", port), self.handler)
        self._http.github = self
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> GitHubServer:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()

    def serve_forever(self) -> None:
        """Serve in this thread, until interrupted."""
        try:
            self._http.serve_forever()
        finally:
            self._http.server_close()

    def requests(self, path: str = "") -> list[Asked]:
        """The requests so far whose path matches a regular expression."""
        return [asked for asked in self.asked if re.search(path, asked.path)]

    def forget(self) -> None:
        """Start counting anew."""
        with self._lock:
            self.asked.clear()
            self.max_concurrency = 0
            self.refused = 0

    # below: one request, on one of the server's threads

    def enter(self) -> None:
        with self._lock:
            self._active += 1
            self.max_concurrency = max(self.max_concurrency, self._active)

    def leave(self, path: str, query: dict[str, str], headers: dict[str, str], status: int) -> None:
        with self._lock:
            self._active -= 1
            if not path.startswith("/_fixture"):
                self.asked.append(Asked(path, query, headers, status))

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        """What GitHub would say, with its rate limit counted."""
        with self._lock:
            now = self.clock()
            if now >= self.reset:
                self.used, self.reset = 0, int(now) + _WINDOW
            if path != "/rate_limit" and self.used >= self.rate_limit:
                self.refused += 1
                limited = error_answer(403, "API rate limit exceeded for user ID 1.")
                return self._with_limits(limited)
            self.used += path != "/rate_limit"
        answer = self._content(path, query, headers)
        if answer.status == 200:
            etag = f'W/"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
            if headers.get("if-none-match") == etag:
                with self._lock:
                    self.used -= 1
                answer = Answer(304)
            answer = Answer(answer.status, answer.body, (*answer.headers, ("ETag", etag)))
        return self._with_limits(answer)

    def _with_limits(self, answer: Answer) -> Answer:
        if not self.counts:
            return answer
        limits = (
            ("X-RateLimit-Limit", str(self.rate_limit)),
            ("X-RateLimit-Remaining", str(max(self.rate_limit - self.used, 0))),
            ("X-RateLimit-Used", str(self.used)),
            ("X-RateLimit-Reset", str(self.reset)),
            ("X-RateLimit-Resource", "core"),
        )
        return Answer(answer.status, answer.body, (*answer.headers, *limits))

    def _content(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        authorization = headers.get("authorization", "")
        if authorization and self.token and authorization != f"Bearer {self.token}":
            return error_answer(401, "Bad credentials")
        if path == "/rate_limit" and not self.counts:
            return error_answer(404, "Rate limiting is not enabled.")
        if path == "/rate_limit":
            core = {"limit": self.rate_limit, "used": self.used, "reset": self.reset}
            core["remaining"] = max(self.rate_limit - self.used, 0)
            return json_answer(
                {"resources": {"core": core}, "rate": core}, _scopes(self, authorization)
            )
        if match := re.fullmatch(r"/orgs/([^/]+)/repos", path):
            names = [n for n in self.hub.names if n.lower().startswith(f"{match[1].lower()}/")]
            if not names:
                return error_answer(404, "Not Found")
            visible = sorted(n for n in names if authorization or n not in self.hub.private)
            return self._page(path, query, [self._repository(n) for n in visible], ("orgs", path))
        name, rest = self._locate(path)
        if name is None or (name in self.hub.private and not authorization):
            return error_answer(404, "Not Found")
        if name.lower() in self.hub.moved:
            target = self.hub.moved[name.lower()]
            suffix = f"?{urlencode(query)}" if query else ""
            location = f"{self.url}/repositories/{self.hub.id(target)}/{rest}".rstrip("/") + suffix
            return Answer(301, b'{"message": "Moved Permanently"}', (("Location", location),))
        if name in self.hub.blocked:
            return _blocked(*self.hub.blocked[name])
        if not rest:
            return json_answer(self._repository(name))
        if rest in _ISSUES_ONLY and name in self.hub.without_issues:
            return error_answer(410, "Issues has been disabled in this repository.")
        if match := re.fullmatch(r"compare/(.+)\.\.\.(.+)", rest):
            return self._compare(path, query, name, match[1], match[2])
        stream = _STREAMS.get(rest)
        if stream is None:
            return error_answer(404, "Not Found")
        return self._list(path, query, headers, name, stream)

    def _locate(self, path: str) -> tuple[str | None, str]:
        """The repository that a path is about, and what follows its name."""
        if match := re.fullmatch(r"/repositories/(\d+)/?(.*)", path):
            ids = {self.hub.id(name): name for name in self.hub.names}
            return ids.get(int(match[1])), match[2]
        if match := re.fullmatch(r"/repos/([^/]+/[^/]+)/?(.*)", path):
            name = match[1] if match[1].lower() in self.hub.moved else self.hub.name(match[1])
            return name, match[2]
        return None, ""

    def _repository(self, name: str) -> Row:
        return {
            "id": self.hub.id(name),
            "node_id": f"R_{self.hub.id(name)}",
            "name": name.split("/")[1],
            "full_name": name,
            "private": name in self.hub.private,
            "has_issues": name not in self.hub.without_issues,
            "default_branch": "main",
        }

    def _list(
        self, path: str, query: dict[str, str], headers: dict[str, str], name: str, stream: str
    ) -> Answer:
        order = "asc" if stream in ("labels", "milestones", "stargazers") else "desc"
        wanted = Query(
            query.get("state", "open")
            if stream in ("issues", "pull_requests", "milestones")
            else "all",
            # pulls, events and the like have no such parameter, and ignore it
            query.get("since") if stream in ("issues", "issue_comments", "commits") else None,
            query.get("sort", "created"),
            query.get("direction", order),
        )
        rows = self.hub.rows(name, stream, wanted)
        if stream == "commits":
            if not rows and not self.hub.view(name, stream):
                return error_answer(409, "Git Repository is empty.")
            if (sha := query.get("sha", "HEAD")) not in ("HEAD", "main"):
                reachable = _ancestors(self.hub.view(name, stream), sha)
                rows = [row for row in rows if row["sha"] in reachable]
        star = "star+json" in headers.get("accept", "")
        if stream == "stargazers" and not star:
            rows = [row["user"] for row in rows]
        key = (name, stream, wanted, query.get("sha"), star, self.hub.as_of)
        # like GitHub, links name the repository by its number
        return self._page(f"/repositories/{self.hub.id(name)}/{path.split('/', 4)[-1]}"
                          if path.startswith("/repos/") else path, query, rows, key)  # fmt: skip

    def _compare(self, path: str, query: dict[str, str], name: str, base: str, head: str) -> Answer:
        rows = self.hub.rows(name, "commits", Query(state="all"))
        shas = {row["sha"] for row in rows}
        if base not in shas or head not in shas:
            return error_answer(404, "Not Found")
        new = _ancestors(rows, head) - _ancestors(rows, base)
        commits = [row for row in reversed(rows) if row["sha"] in new]
        page, links = self._slice(path, query, commits)
        body = {"status": "ahead", "total_commits": len(commits), "commits": page}
        return json_answer(body, links)

    def _page(
        self, path: str, query: dict[str, str], rows: list[Row], key: tuple[object, ...]
    ) -> Answer:
        if refusal := self._unshown(path, query):
            return refusal
        page, links = self._slice(path, query, rows)
        at = (*key, query.get("page"), query.get("per_page"))
        cached = self._pages.get(at)
        if cached is not None and cached[0] == page:
            return Answer(200, cached[1], links)
        answer = json_answer(page, links)
        self._pages[at] = (page, answer.body)
        return answer

    def _unshown(self, path: str, query: dict[str, str]) -> Answer | None:
        """GitHub's answer to a request for a page that it does not show."""
        number = int(query.get("page", "1"))
        if self.most_pages is not None and number > self.most_pages:
            return error_answer(
                422,
                "In order to keep the API fast for everyone, pagination is limited for this "
                "resource. Check the rel=last link relation in the Link response header to see "
                "how far back you can traverse.",
            )
        limited = self.cursors_from is not None and path.endswith("/issues")
        if limited and number >= (self.cursors_from or 0) and "after" not in query:
            return error_answer(
                422,
                "Pagination with the page parameter is not supported for large datasets, please "
                "use cursor based pagination (after/before)",
            )
        return None

    def _slice(
        self, path: str, query: dict[str, str], rows: list[Row]
    ) -> tuple[list[Row], tuple[tuple[str, str], ...]]:
        size = min(int(query.get("per_page", "30")), 100)
        number = int(query.get("page", "1"))
        last = max(-(-len(rows) // size), 1)
        if self.most_pages is not None and "/compare/" not in path:
            last = min(last, self.most_pages)
        targets = {"prev": number - 1, "next": number + 1, "last": last, "first": 1}
        if number >= last:
            del targets["next"], targets["last"]
        if number == 1:
            del targets["prev"], targets["first"]
        if not self.names_last or (self.cursors_from is not None and path.endswith("/issues")):
            targets = {rel: n for rel, n in targets.items() if rel in ("next", "prev")}
            query = {**query, "after": f"cursor{number}"}
        link = ", ".join(
            f'<{self.url}{path}?{urlencode({**query, "page": str(n)})}>; rel="{rel}"'
            for rel, n in targets.items()
        )
        page = rows[(number - 1) * size : number * size]
        return page, (("Link", link),) if link else ()


def _blocked(status: int, reason: str) -> Answer:
    """Format: https://github.com/github/rest-api-description/issues/3314"""
    block = {
        "reason": reason,
        "created_at": "2021-04-22T17:53:56Z",
        "html_url": "https://github.com/tos",
    }
    return replace(
        json_answer({"message": "Repository access blocked", "block": block}), status=status
    )


def _ancestors(rows: Sequence[Row], sha: str) -> set[str]:
    parents = {row["sha"]: [parent["sha"] for parent in row["parents"]] for row in rows}
    found: set[str] = set()
    todo = [sha]
    while todo:
        one = todo.pop()
        if one in parents and one not in found:
            found.add(one)
            todo += parents[one]
    return found


def _scopes(server: GitHubServer, authorization: str) -> tuple[tuple[str, str], ...]:
    return (("X-OAuth-Scopes", server.scopes),) if authorization else ()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the recordings, or generated issues, until interrupted; the first line is the URL."""
    from millstream.demo import recordings
    from millstream.demo.generated import generate

    parser = argparse.ArgumentParser(prog="python -m millstream.demo.github_server")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--as-of", help="ISO 8601; the present when left out")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds an answer takes")
    parser.add_argument("--rate-limit", type=int, default=5000, help="requests an hour")
    parser.add_argument("--cache", type=Path, default=Path(".cache/github3.py"))
    parser.add_argument("--generate", type=int, metavar="ISSUES", help="of octo/hello, made up")
    options = parser.parse_args(arguments)
    if options.generate:
        dataset: Any = {"octo/hello": generate("octo/hello", issues=options.generate)}
        origin = f"{options.generate} generated issues"
    else:
        loaded = recordings.load(options.cache)
        dataset, origin = loaded.dataset, loaded.origin
    server = GitHubServer(
        dataset,
        latency=options.latency,
        as_of=options.as_of,
        rate_limit=options.rate_limit,
        port=options.port,
    )
    print(server.url, flush=True)
    print(f"serving {origin}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
