"""The demo's project, its Dagster UI and a browser, on real issues that change between two runs."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from millstream.config import GitHubConfig
from millstream.demo import processes
from millstream.demo.workspace import Workspace
from services import browser
from services.github import GitHubServer

REPOSITORY = "duckdb/duckdb"
PATIENCE = 180_000
"""Milliseconds. A run takes ten seconds where nothing else runs, a busy machine takes its time."""
_NEW_FIELD = "reactions"


@dataclass(frozen=True)
class Demo:
    """Dagster's UI on the demo project, and the GitHub that it loads from.

    Attributes:
        rows: issues after the first run; with more fields, `rows_after` after the next one.
        to_load: rows that the next run loads.
    """

    url: str
    github: GitHubServer
    rows: int
    rows_after: int
    to_load: int

    def ask(self, query: str, **variables: Any) -> Any:
        """What Dagster's GraphQL API answers, as its UI asks it."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


@pytest.fixture(scope="module")
def demo(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """After a first run: the UI knows the child tables, and GitHub has news since."""
    browser.executable()
    page = json.loads((shared_data / "github_issues_page.json").read_text(encoding="utf-8"))
    page.sort(key=lambda issue: issue["updated_at"])
    older = [{k: v for k, v in row.items() if k != _NEW_FIELD} for row in page[:80]]
    comments = [
        {"id": n, "body": "+1", "created_at": at, "updated_at": at, "user": {"login": "ann"}}
        for n, at in enumerate(["2024-05-01T10:00:00Z", "2024-05-02T10:00:00Z"])
    ]
    dataset = {REPOSITORY: {"issues": older, "issue_comments": comments}}
    workspace = Workspace(tmp_path_factory.mktemp("demo"))
    with pytest.MonkeyPatch.context() as patch, GitHubServer(dataset) as github:
        patch.delenv("GITHUB_TOKEN", raising=False)
        workspace.prepare(
            repositories=[REPOSITORY], streams=["issues", "issue_comments"], base_url=github.url
        )
        (_,) = processes.runs(workspace)
        github.hub.put(REPOSITORY, "issues", *page[80:])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with processes.user_interface(workspace, port) as ui:
            lag = GitHubConfig(repositories=(REPOSITORY,)).lag_seconds
            again = _updated(older[-1]) - timedelta(seconds=lag)
            to_load = sum(_updated(issue) >= again for issue in page)
            yield Demo(ui.url, github, len(older), len(page), to_load)


def _updated(issue: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(issue["updated_at"].replace("Z", "+00:00"))


@pytest.fixture
def page() -> Iterator[Any]:
    """A tab of a headless Chromium."""
    path = browser.executable()
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(browser.ARGUMENTS))
        try:
            tab = chromium.new_page(viewport={"width": 1680, "height": 1250})
            tab.set_default_timeout(PATIENCE)
            yield tab
        finally:
            chromium.close()
