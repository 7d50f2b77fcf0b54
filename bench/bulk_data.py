"""GitHub-like issues as JSON lines, the same for each seed: what bench/bulk.py loads.

    python bench/bulk_data.py ROWS FILE [--messy]

Shaped like a page of GitHub's REST API: user, labels, assignees, milestone, reactions and a body of
300 to 3,000 characters. With --messy, a tenth of the root's columns hold values of mixed type.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

_API = "https://api.github.com"
_WORDS = [
    "the",
    "query",
    "returns",
    "wrong",
    "rows",
    "when",
    "a",
    "join",
    "on",
    "nullable",
    "columns",
    "is",
    "pushed",
    "below",
    "an",
    "aggregate",
    "with",
    "parquet",
    "files",
    "larger",
    "than",
    "memory",
    "and",
    "the",
    "optimizer",
    "folds",
    "constants",
    "in",
    "filters",
    "over",
    "timestamps",
    "steps",
    "to",
    "reproduce",
    "expected",
    "behaviour",
    "actual",
    "behaviour",
    "version",
    "platform",
    "driver",
    "client",
    "stack",
    "trace",
    "attached",
    "below",
    "thanks",
    "for",
    "looking",
    "into",
    "this",
    "regression",
    "since",
    "release",
    "crash",
    "segfault",
]
_LABELS = (
    "bug",
    "needs triage",
    "reproduced",
    "parquet",
    "performance",
    "docs",
    "good first issue",
)
_REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")


def issues(rows: int, *, messy: bool = False, seed: int = 7) -> Iterator[dict[str, Any]]:
    """`rows` issues, one after the other."""
    dice = random.Random(seed)
    text = _texts(dice)
    users = [_user(number) for number in range(5_000)]
    labels = [_label(number, name) for number, name in enumerate(_LABELS)]
    milestones = [_milestone(number, users[number]) for number in range(40)]
    for number in range(1, rows + 1):
        row = _issue(number, dice, text, users, labels, milestones)
        if messy:
            _mess_up(row, dice)
        yield row


def write(path: Path, rows: int, *, messy: bool = False) -> None:
    """Write the issues as JSON lines, unless a file of this name is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for row in issues(rows, messy=messy):
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    part.replace(path)


def _texts(dice: random.Random) -> str:
    words = [
        dice.choice(_WORDS) + dice.choice((" ", " ", " ", "\n", ", ", " `x` ", " é "))
        for _ in range(40_000)
    ]
    return "".join(words)


def _moment(second: int) -> str:
    day, rest = divmod(second, 86_400)
    hour, rest = divmod(rest, 3_600)
    minute, second = divmod(rest, 60)
    year, day = divmod(day, 336)
    month, day = divmod(day, 28)
    return f"{2015 + year}-{month + 1:02}-{day + 1:02}T{hour:02}:{minute:02}:{second:02}Z"


def _user(number: int) -> dict[str, Any]:
    login = f"contributor-{number}"
    url = f"{_API}/users/{login}"
    return {
        "login": login, "id": 10_000 + number, "node_id": f"MDQ6VXNlcj{number:07}",
        "avatar_url": f"https://avatars.githubusercontent.com/u/{10_000 + number}?v=4",
        "gravatar_id": "", "url": url, "html_url": f"https://github.com/{login}",
        "followers_url": f"{url}/followers", "following_url": f"{url}/following{{/other_user}}",
        "gists_url": f"{url}/gists{{/gist_id}}", "starred_url": f"{url}/starred{{/owner}}{{/repo}}",
        "subscriptions_url": f"{url}/subscriptions", "organizations_url": f"{url}/orgs",
        "repos_url": f"{url}/repos", "events_url": f"{url}/events{{/privacy}}",
        "received_events_url": f"{url}/received_events", "type": "User",
        "user_view_type": "public", "site_admin": number % 50 == 0,
    }  # fmt: skip


def _label(number: int, name: str) -> dict[str, Any]:
    return {
        "id": 900 + number, "node_id": f"LA_kwDO{number:06}", "name": name, "color": "d73a4a",
        "url": f"{_API}/repos/acme/engine/labels/{name.replace(' ', '%20')}",
        "default": number == 0, "description": f"About {name}" if number % 2 else None,
    }  # fmt: skip


def _milestone(number: int, creator: dict[str, Any]) -> dict[str, Any]:
    url = f"{_API}/repos/acme/engine/milestones/{number}"
    return {
        "url": url, "html_url": f"https://github.com/acme/engine/milestone/{number}",
        "labels_url": f"{url}/labels", "id": 70_000 + number, "node_id": f"MI_{number:06}",
        "number": number, "title": f"v1.{number}", "description": "The next release",
        "creator": creator, "open_issues": number * 3, "closed_issues": number * 7, "state": "open",
        "created_at": _moment(number * 900_000), "updated_at": _moment(number * 910_000),
        "due_on": _moment(number * 990_000), "closed_at": None,
    }  # fmt: skip


def _issue(
    number: int,
    dice: random.Random,
    text: str,
    users: list[dict[str, Any]],
    labels: list[dict[str, Any]],
    milestones: list[dict[str, Any]],
) -> dict[str, Any]:
    url = f"{_API}/repos/acme/engine/issues/{number}"
    closed = dice.random() < 0.6
    at = dice.randrange(len(text) - 3_000)
    created = number * 2_000
    assignees = dice.sample(users, dice.choice((0, 0, 0, 0, 0, 1, 1, 2)))
    return {
        "url": url, "repository_url": f"{_API}/repos/acme/engine",
        "labels_url": f"{url}/labels{{/name}}", "comments_url": f"{url}/comments",
        "events_url": f"{url}/events", "html_url": f"https://github.com/acme/engine/issues/{number}",
        "id": 2_000_000_000 + number, "node_id": f"I_kwDO{number:09}", "number": number,
        "title": text[at : at + 60].replace("\n", " "), "user": dice.choice(users),
        "labels": dice.sample(labels, dice.randrange(4)), "state": "closed" if closed else "open",
        "locked": False, "assignee": assignees[0] if assignees else None, "assignees": assignees,
        "milestone": dice.choice(milestones) if dice.random() < 0.15 else None,
        "comments": dice.randrange(40), "created_at": _moment(created),
        "updated_at": _moment(created + 90_000),
        "closed_at": _moment(created + 80_000) if closed else None,
        "author_association": dice.choice(("NONE", "CONTRIBUTOR", "MEMBER")),
        "active_lock_reason": None, "body": text[at : at + int(dice.triangular(300, 3_000, 700))],
        "reactions": {
            "url": f"{url}/reactions", "total_count": 3,
            **{name: dice.randrange(3) for name in _REACTIONS},
        },
        "timeline_url": f"{url}/timeline", "performed_via_github_app": None,
        "state_reason": "completed" if closed else None, "score": round(dice.random() * 10, 3),
    }  # fmt: skip


def _mess_up(row: dict[str, Any], dice: random.Random) -> None:
    """One value in five of another type, in about a tenth of the root table's columns."""
    for holder, key in (
        (row, "number"), (row, "comments"), (row, "locked"), (row, "score"),
        (row, "author_association"),
        (row, "title"), (row["user"], "id"), (row["user"], "type"), (row["reactions"], "heart"),
    ):  # fmt: skip
        if dice.random() < 0.2:
            # users are shared between rows
            if holder is row["user"]:
                holder = row["user"] = dict(holder)
            holder[key] = dice.choice(("n/a", "later", 17, 1.5, True))


if __name__ == "__main__":
    write(Path(sys.argv[2]), int(sys.argv[1]), messy="--messy" in sys.argv)
