"""What GitHub's refusals mean, and how each is mended."""

from __future__ import annotations

from typing import Any

import pytest

from millstream.errors import (
    SourceAuthError,
    SourceDataError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from millstream.sources.github.errors import (
    BlockedError,
    PageLimitError,
    SwitchedOffError,
    block,
    explain,
)


def told(status: int, document: Any = None, *, token: bool = True, **headers: str) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return explain(status, names, document, "http://x/y", "repository a/b", token=token)


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (401, {"message": "Bad credentials"}, SourceAuthError),
        (403, {"message": "Resource not accessible"}, SourceAuthError),
        (403, {"message": "Repository access blocked"}, BlockedError),
        (403, {"block": {"reason": "tos"}}, BlockedError),
        (404, {"message": "Not Found"}, SourceNotFoundError),
        (410, {"message": "Issues are disabled"}, SwitchedOffError),
        (422, {"message": "pagination is limited"}, PageLimitError),
        (451, {}, BlockedError),
        (500, None, SourceUnavailableError),
        (503, ["odd"], SourceUnavailableError),
        (418, "odd", SourceDataError),
    ],
)
def test_each_refusal_is_an_error_of_its_own(status: int, document: Any, kind: type) -> None:
    error = told(status, document)
    assert type(error) is kind
    assert error.message.endswith(": http://x/y")
    assert str(status) in error.message
    if isinstance(document, dict) and "message" in document:
        assert document["message"] in error.message


@pytest.mark.parametrize(
    ("status", "document", "reason"),
    [
        (451, {}, "legal reasons"),
        (451, {"block": {"reason": "dmca"}}, "dmca"),
        (403, {"block": {}}, "unknown"),
        (403, {"message": "This repository has been disabled."}, "unknown"),
        (403, {"message": "API rate limit exceeded"}, None),
        (404, {"block": {"reason": "dmca"}}, None),
        (403, None, None),
    ],
)
def test_repositories_that_github_took_down(status: int, document: Any, reason: Any) -> None:
    assert block(status, document) == reason


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        ({"X_GitHub_SSO": "required"}, "authorise the token"),
        (
            {"X_Accepted_GitHub_Permissions": "issues=read;pulls=read"},
            "issues: read or pulls: read",
        ),
        ({"X_Accepted_OAuth_Scopes": "repo"}, "scopes are none; it needs one of repo"),
        ({}, "give the token read access"),
    ],
)
def test_what_a_token_lacks(headers: dict[str, str], hint: str) -> None:
    assert hint in told(403, **headers).hint
    # without a token the first thing is to have one
    for status in (401, 403, 404):
        assert "set GITHUB_TOKEN" in told(status, token=False, **headers).hint
