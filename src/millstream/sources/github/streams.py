"""What each stream reads, from where, and how a later run knows what is new: one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from millstream.errors import SourceDataError

Row = dict[str, Any]
Reading = Literal["since", "newest_first", "commits", "whole"]

STAR = "application/vnd.github.star+json"  # the media type that has `starred_at`


@dataclass(frozen=True)
class Spec:
    """One stream.

    Attributes:
        path: below `/repos/OWNER/NAME`.
        primary_key: ids are unique in all of GitHub; where there are none, within a repository.
        reading: how a later run finds what is new, see `reading.py`.
        time: the row's field that says when it last changed; None where no field does.
        newest_first: the parameters that put what changed last on the first page.
    """

    path: str
    description: str
    primary_key: tuple[str, ...] = ("id",)
    reading: Reading = "whole"
    time: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    newest_first: Mapping[str, str] = field(default_factory=dict)
    accept: str = "application/vnd.github+json"


_BY_CREATION = {"sort": "created", "direction": "asc"}

STREAMS: Mapping[str, Spec] = {
    "issues": Spec(
        "issues",
        "Issues and, marked by `is_pull_request`, the issue side of pull requests.",
        reading="since",
        time="updated_at",
        params={"state": "all", **_BY_CREATION},
    ),
    "issue_comments": Spec(
        "issues/comments",
        "Comments on issues and in the conversation of pull requests.",
        reading="since",
        time="updated_at",
        params=_BY_CREATION,
    ),
    "issue_events": Spec(
        "issues/events",
        "What happened to issues: closed, labeled, assigned and so on.",
        reading="newest_first",
        time="created_at",
    ),
    "pull_requests": Spec(
        "pulls",
        "Pull requests, with their branches.",
        reading="newest_first",
        time="updated_at",
        params={"state": "all", **_BY_CREATION},
        newest_first={"state": "all", "sort": "updated", "direction": "desc"},
    ),
    "labels": Spec("labels", "The labels that a repository offers."),
    "milestones": Spec(
        "milestones",
        "Milestones, open and closed.",
        time="updated_at",
        params={"state": "all", "sort": "due_on", "direction": "asc"},
    ),
    "stargazers": Spec(
        "stargazers",
        "Who starred a repository, and when.",
        primary_key=("repository", "user_id"),
        time="starred_at",
        accept=STAR,
    ),
    "releases": Spec("releases", "Releases, with their assets.", time="published_at"),
    "commits": Spec(
        "commits",
        "Commits of the default branch.",
        primary_key=("repository", "sha"),
        reading="commits",
        time="committed",
    ),
}


def moment(spec: Spec, row: Row) -> str | None:
    """When a row last changed, ISO 8601 in UTC; None where GitHub does not say."""
    if spec.time == "committed":
        committer = row["commit"].get("committer")
        value = committer.get("date") if committer else None
    else:
        value = row.get(spec.time) if spec.time else None
    return value if isinstance(value, str) else None


def key(spec: Spec, row: Row) -> object:
    """What makes a row the same row on another page, within one repository."""
    if "id" in spec.primary_key:
        return row.get("id")
    return row.get("sha") if spec.path == "commits" else (row.get("user") or {}).get("id")


def finish(stream: str, spec: Spec, repository: str, row: Row) -> Row:
    """The row as it is loaded: with its repository, and what GitHub says only between the lines.

    Raises:
        SourceDataError: the row has no key.
    """
    if key(spec, row) is None:
        raise SourceDataError(f"{repository}: a row of {stream} has no {spec.primary_key[-1]}")
    row["repository"] = repository
    if stream == "issues":
        row["is_pull_request"] = row.get("pull_request") is not None
    elif stream == "stargazers":
        row["user_id"] = row["user"]["id"]
    return row
