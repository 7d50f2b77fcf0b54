"""Rows of the same shape as GitHub's, made up: for benchmarks, and where nothing can be fetched."""

from __future__ import annotations

import hashlib
import random
from datetime import datetime, timedelta, timezone
from typing import Any

_START = datetime(2015, 1, 1, tzinfo=timezone.utc)
_WORDS = (  # noqa: SIM905 - it is prose
    "the pipeline fails when a nested list is empty but loads once the schema has a column for it "
    "and every row of the table with null in that field gets a default which nobody asked for"
).split()
_PEOPLE = 60
_LABELS = ("bug", "enhancement", "documentation", "good first issue", "question", "duplicate")
_REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")


def generate(
    repository: str, *, issues: int = 150, seed: int = 0, body_words: int = 120
) -> dict[str, list[dict[str, Any]]]:
    """Every stream of one repository, the same on every call with the same arguments.

    Args:
        repository: `owner/name`.
        issues: how many; every fifth is also a pull request, each has up to two comments.
        body_words: the longest text of an issue, which decides how large a row is.
    """
    dice = random.Random(f"{repository}-{seed}")  # noqa: S311 - data, not secrets
    base = f"https://api.github.com/repos/{repository}"
    first = 10_000_000 * (1 + seed)
    labels = [_label(base, first + i, name) for i, name in enumerate(_LABELS)]
    milestones = [_milestone(base, first + i, i + 1) for i in range(3)]
    rows: dict[str, list[dict[str, Any]]] = {"labels": labels, "milestones": milestones}
    rows["issues"] = [
        _issue(base, first + n, n, dice, labels, milestones, body_words)
        for n in range(1, issues + 1)
    ]
    rows["pull_requests"] = [
        _pull_request(base, repository, row) for row in rows["issues"] if "pull_request" in row
    ]
    rows["issue_comments"] = [
        _comment(base, row, dice) for row in rows["issues"] for _ in range(row["comments"])
    ]
    for i, comment in enumerate(rows["issue_comments"]):
        comment["id"] = first + i
        comment["url"] = f"{base}/issues/comments/{comment['id']}"
    closed = [row for row in rows["issues"] if row["closed_at"]]
    rows["issue_events"] = [_event(base, first + i, row) for i, row in enumerate(closed)]
    rows["stargazers"] = [
        {"starred_at": _iso(_START + timedelta(days=i)), "user": _user(i)} for i in range(_PEOPLE)
    ]
    rows["releases"] = [_release(base, first + i, i) for i in range(5)]
    rows["commits"] = _commits(base, repository, 40)
    return rows


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(dice: random.Random, words: int) -> str:
    return " ".join(dice.choices(_WORDS, k=words))


def _user(n: int) -> dict[str, Any]:
    login = f"person{n % _PEOPLE}"
    url = f"https://api.github.com/users/{login}"
    parts = ("followers", "subscriptions", "repos", "received_events")
    return {
        "login": login,
        "id": 1000 + n % _PEOPLE,
        "node_id": f"MDQ6VXNlcjE{n % _PEOPLE:04d}",
        "avatar_url": f"https://avatars.githubusercontent.com/u/{1000 + n % _PEOPLE}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"https://github.com/{login}",
        **{f"{part}_url": f"{url}/{part}" for part in parts},
        "type": "User",
        "site_admin": False,
    }


def _label(base: str, id_: int, name: str) -> dict[str, Any]:
    return {
        "id": id_,
        "node_id": f"LA_{id_}",
        "url": f"{base}/labels/{name.replace(' ', '%20')}",
        "name": name,
        "color": hashlib.sha256(name.encode()).hexdigest()[:6],
        "default": name == "bug",
        "description": f"About {name}",
    }


def _milestone(base: str, id_: int, number: int) -> dict[str, Any]:
    moment = _START + timedelta(days=100 * number)
    return {
        "url": f"{base}/milestones/{number}",
        "id": id_,
        "node_id": f"MI_{id_}",
        "number": number,
        "title": f"v{number}.0",
        "description": None,
        "creator": _user(number),
        "open_issues": number,
        "closed_issues": 10 * number,
        "state": "open" if number == 3 else "closed",
        "created_at": _iso(moment),
        "updated_at": _iso(moment + timedelta(days=30)),
        "due_on": None,
        "closed_at": None,
    }


def _issue(
    base: str,
    id_: int,
    number: int,
    dice: random.Random,
    labels: list[dict[str, Any]],
    milestones: list[dict[str, Any]],
    body_words: int,
) -> dict[str, Any]:
    created = _START + timedelta(hours=7 * number)
    updated = created + timedelta(minutes=dice.randrange(60_000))
    closed = dice.random() < 0.6
    url = f"{base}/issues/{number}"
    html = f"{base.replace('api.github.com/repos', 'github.com')}"
    row: dict[str, Any] = {
        "url": url,
        "repository_url": base,
        **{f"{part}_url": f"{url}/{part}" for part in ("comments", "events", "timeline")},
        "labels_url": f"{url}/labels{{/name}}",
        "html_url": f"{html}/issues/{number}",
        "id": id_,
        "node_id": f"I_{id_}",
        "number": number,
        "title": _text(dice, 6),
        "user": _user(dice.randrange(_PEOPLE)),
        "labels": dice.sample(labels, dice.randrange(4)),
        "state": "closed" if closed else "open",
        "locked": False,
        "assignees": [_user(dice.randrange(_PEOPLE)) for _ in range(dice.randrange(3))],
        "milestone": dice.choice([None, *milestones]),
        "comments": dice.randrange(3),
        "created_at": _iso(created),
        "updated_at": _iso(updated),
        "closed_at": _iso(updated) if closed else None,
        "author_association": dice.choice(["NONE", "CONTRIBUTOR", "MEMBER"]),
        "active_lock_reason": None,
        "body": _text(dice, 1 + dice.randrange(body_words)) if dice.random() < 0.95 else None,
        "reactions": {
            "url": f"{url}/reactions",
            "total_count": 0,
            **{name: dice.randrange(2) for name in _REACTIONS},
        },
        "state_reason": "completed" if closed else None,
    }
    row["assignee"] = row["assignees"][0] if row["assignees"] else None
    if number % 5 == 0:
        row["pull_request"] = {
            "url": f"{base}/pulls/{number}",
            "html_url": f"{html}/pull/{number}",
            "diff_url": f"{html}/pull/{number}.diff",
            "patch_url": f"{html}/pull/{number}.patch",
            "merged_at": row["closed_at"],
        }
    return row


def _pull_request(base: str, repository: str, issue: dict[str, Any]) -> dict[str, Any]:
    same = ("number", "title", "user", "labels", "state", "locked", "assignees", "assignee", "body",
            "milestone", "created_at", "updated_at", "closed_at", "author_association")  # fmt: skip
    owner, name = repository.split("/")
    return {
        "url": f"{base}/pulls/{issue['number']}",
        "id": issue["id"],
        "node_id": f"PR_{issue['id']}",
        **{key: issue[key] for key in same},
        "merged_at": issue["closed_at"],
        "draft": False,
        "head": {"label": f"{owner}:topic", "ref": "topic", "sha": _sha(base, issue["number"])},
        "base": {
            "label": f"{owner}:main",
            "ref": "main",
            "sha": _sha(base, 0),
            "repo": {"id": issue["id"] // 10_000_000, "name": name, "full_name": repository},
        },
    }


def _comment(base: str, issue: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    return {
        "issue_url": issue["url"],
        "user": _user(dice.randrange(_PEOPLE)),
        "created_at": issue["updated_at"],
        "updated_at": issue["updated_at"],
        "author_association": "NONE",
        "body": _text(dice, 20),
    }


def _event(base: str, id_: int, issue: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": id_,
        "node_id": f"CE_{id_}",
        "url": f"{base}/issues/events/{id_}",
        "actor": issue["user"],
        "event": "closed",
        "commit_id": None,
        "commit_url": None,
        "created_at": issue["closed_at"],
        "issue": {"id": issue["id"], "number": issue["number"], "title": issue["title"]},
    }


def _release(base: str, id_: int, n: int) -> dict[str, Any]:
    moment = _iso(_START + timedelta(days=90 * n))
    return {
        "url": f"{base}/releases/{id_}",
        "id": id_,
        "author": _user(n),
        "tag_name": f"v0.{n}",
        "target_commitish": "main",
        "name": f"0.{n}",
        "draft": False,
        "prerelease": n == 0,
        "created_at": moment,
        "published_at": moment,
        "assets": [],
        "body": "What changed.",
    }


def _sha(base: str, n: int) -> str:
    return hashlib.sha1(f"{base}{n}".encode(), usedforsecurity=False).hexdigest()


def _commits(base: str, repository: str, count: int) -> list[dict[str, Any]]:
    rows = []
    for n in range(count):
        moment = _iso(_START + timedelta(days=n))
        person = {"name": f"Person {n}", "email": f"person{n}@example.com", "date": moment}
        sha = _sha(base, n)
        rows.append(
            {
                "sha": sha,
                "url": f"{base}/commits/{sha}",
                "commit": {"author": person, "committer": person, "message": f"Change {n}"},
                "author": _user(n),
                "committer": _user(n),
                "parents": [{"sha": _sha(base, n - 1)}] if n else [],
            }
        )
    return rows
