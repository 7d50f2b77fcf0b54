"""What GitHub's refusals mean: one clear error each, with the fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millstream.errors import (
    SourceAuthError,
    SourceDataError,
    SourceError,
    SourceNotFoundError,
    SourceUnavailableError,
)

TOKEN_NAMES = ("GITHUB_TOKEN", "SOURCES__GITHUB__ACCESS_TOKEN")
_SET_TOKEN = f"set {TOKEN_NAMES[0]} in the environment or in .env"


_BLOCKED = ("access blocked", "dmca", "terms of service", "has been disabled", "is disabled")
"""What GitHub says of repositories that it has taken down, where the body has no `block`."""


class SwitchedOffError(SourceNotFoundError):
    """The repository is there, but without what the stream reads, such as issues."""


class BlockedError(SourceNotFoundError):
    """GitHub has taken the repository down, for everyone."""


class PageLimitError(SourceDataError):
    """GitHub does not take a request as it is (422), such as one for a page too far."""


def block(status: int, document: Any) -> str | None:
    """Why GitHub has taken a repository down, where an answer says that; else None.

    451 is a takedown by law. A 403 with a `block` is one for the terms of service, unlike those of
    rate limits and missing permissions, see https://docs.github.com/rest/repos/repos and
    https://github.com/github/rest-api-description/issues/3314.
    """
    if status not in (403, 451):
        return None
    body = document if isinstance(document, dict) else {}
    details = body.get("block")
    if isinstance(details, dict):
        return str(details.get("reason") or "unknown")
    if status == 451:
        return "legal reasons"
    message = str(body.get("message", "")).lower()
    return "unknown" if any(words in message for words in _BLOCKED) else None


def explain(
    status: int,
    headers: Mapping[str, str],
    document: Any,
    url: str,
    about: str,
    *,
    token: bool,
) -> SourceError:
    """The error for an answer that is not a success, nor a rate limit.

    Args:
        document: the body's JSON.
        about: what the request was for, such as `repository octo/hello`.
        token: whether a token was sent.
    """
    message = str(document.get("message", "")) if isinstance(document, dict) else ""
    said = f" ({status} {message})" if message else f" ({status})"
    if (reason := block(status, document)) is not None:
        return BlockedError(
            f"{about} is blocked by GitHub, reason: {reason}{said}: {url}",
            hint="take it out of `repositories`",
        )
    if status == 401:
        hint = (
            f"make a new one at https://github.com/settings/tokens and {_SET_TOKEN}"
            if token
            else _SET_TOKEN
        )
        refused = "refused the token" if token else "wants a token"
        return SourceAuthError(f"GitHub {refused}{said}: {url}", hint=hint)
    if status == 403:
        return SourceAuthError(
            f"GitHub does not let {'this token' if token else 'anyone'} read {about}{said}: {url}",
            hint=_permission(headers) if token else _SET_TOKEN,
        )
    if status == 404:
        hidden = (
            "a private one needs a token that may read it: a classic one with scope `repo`, "
            "or a fine-grained one that includes it"
        )
        return SourceNotFoundError(
            f"GitHub knows no {about}, or does not show it{said}: {url}",
            hint=f"check the spelling; {hidden}{'' if token else f'; {_SET_TOKEN}'}",
        )
    if status == 410:
        return SwitchedOffError(
            f"{about} has this switched off{said}: {url}",
            hint="take the repository out of `repositories`, or the stream out of `streams`",
        )
    if status == 422:
        return PageLimitError(f"GitHub does not accept the request for {about}{said}: {url}")
    if status >= 500:
        return SourceUnavailableError(f"GitHub fails{said}: {url}")
    return SourceDataError(f"GitHub did not accept the request for {about}{said}: {url}")


def _permission(headers: Mapping[str, str]) -> str:
    if "X-GitHub-SSO" in headers:
        return (
            "the organisation uses single sign-on: authorise the token for it at "
            "https://github.com/settings/tokens (Configure SSO)"
        )
    if fine := headers.get("X-Accepted-GitHub-Permissions"):
        return f"the token needs the permission {fine.replace('=', ': ').replace(';', ' or ')}"
    if needed := headers.get("X-Accepted-OAuth-Scopes"):
        has = headers.get("X-OAuth-Scopes") or "none"
        return f"the token's scopes are {has}; it needs one of {needed}"
    return "give the token read access to this repository"
