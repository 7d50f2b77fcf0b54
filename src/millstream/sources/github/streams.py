"""What each stream reads, from where, and how a later run knows what is new: one table."""

from __future__ import annotations

from calendar import timegm
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import strptime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from millstream.sources.github.state import Repository

Row = dict[str, Any]
Reading = Literal["since", "newest_first", "commits", "whole"]

STAR = "application/vnd.github.star+json"  # the media type that has `starred_at`


@dataclass(frozen=True)
class Spec:
    """One stream.

    Attributes:
        path: below `/repos/OWNER/NAME`.
        primary_key: ids are unique in all of GitHub; where there are none, within a repository.
        reading: how a later run finds what is new, see `incremental.py`.
        time: the row's field that says when it last changed; None where no field does.
        newest_first: the parameters that put what changed last on the first page.
        other_end: the parameters that put the same list in the opposite order, for lists of which
            GitHub shows a limited number of pages; None where GitHub knows one order alone.
    """

    path: str
    description: str
    primary_key: tuple[str, ...] = ("id",)
    reading: Reading = "whole"
    time: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    newest_first: Mapping[str, str] = field(default_factory=dict)
    other_end: Mapping[str, str] | None = None
    accept: str = "application/vnd.github+json"


_BY_CREATION = {"sort": "created", "direction": "asc"}
_NEWEST_FIRST = {"sort": "created", "direction": "desc"}

STREAMS: Mapping[str, Spec] = {
    "issues": Spec(
        "issues",
        "Issues and, marked by `is_pull_request`, the issue side of pull requests.",
        reading="since",
        time="updated_at",
        params={"state": "all", **_BY_CREATION},
        other_end={"state": "all", **_NEWEST_FIRST},
    ),
    "issue_comments": Spec(
        "issues/comments",
        "Comments on issues and in the conversation of pull requests.",
        reading="since",
        time="updated_at",
        params=_BY_CREATION,
        other_end=_NEWEST_FIRST,
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
        other_end={"state": "all", **_NEWEST_FIRST},
    ),
    "labels": Spec("labels", "The labels that a repository offers."),
    "milestones": Spec(
        "milestones",
        "Milestones, open and closed.",
        time="updated_at",
        params={"state": "all", "sort": "due_on", "direction": "asc"},
        other_end={"state": "all", "sort": "due_on", "direction": "desc"},
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
        committer = (row.get("commit") or {}).get("committer")
        value = committer.get("date") if committer else None
    else:
        value = row.get(spec.time) if spec.time else None
    return value if isinstance(value, str) else None


def key(spec: Spec, row: Row) -> object:
    """What makes a row the same row on another page, within one repository; None without a key."""
    if "id" in spec.primary_key:
        return row.get("id")
    if spec.path == "commits":
        return row.get("sha")
    user = row.get("user")
    return user.get("id") if isinstance(user, dict) else None


def parents(rows: list[Row]) -> set[str]:
    """The commits that the rows, which are commits, stand on."""
    found = (parent for row in rows for parent in row.get("parents") or ())
    return {str(parent["sha"]) for parent in found if parent and parent.get("sha")}


def complete_rows(stream: str, spec: Spec, repository: Repository, rows: list[Row]) -> list[Row]:
    """The rows of a page as they are loaded: with their repository, and what GitHub says only
    between the lines.
    """
    anonymous: Counter[int] = Counter()
    for row in rows:
        row["repository"] = repository.name
        if repository.number is not None:
            row["repository_id"] = repository.number
        if stream == "issues":
            row["is_pull_request"] = row.get("pull_request") is not None
        elif stream == "stargazers":
            row["user_id"] = key(spec, row)
            if row.get("user") is None and (second := _second(row)) is not None:
                # GitHub lists null in place of a suspended account: such a star is identified by
                # its time, as a negative number that no user has, and by its place among those of
                # one second, which a wave of such accounts may have given
                row["user_id"] = -1000 * second - anonymous[second]
                anonymous[second] += 1
        row.setdefault(spec.primary_key[-1], None)  # without a key, it goes to quarantine
    return rows


def _second(star: Row) -> int | None:
    try:
        return timegm(strptime(star["starred_at"], "%Y-%m-%dT%H:%M:%SZ"))
    except (KeyError, TypeError, ValueError):
        return None
