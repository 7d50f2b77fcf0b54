"""The post's own resource, which keeps its cursor, with the table that `run` was told."""

from __future__ import annotations

from typing import Any

from blog_post.sources import github_issues_resource


def github_issues() -> Any:
    return github_issues_resource().apply_hints(table_name="github_issues")
