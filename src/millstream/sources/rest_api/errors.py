"""What the refusals of any API mean: one clear error each, with the fix."""

from __future__ import annotations

from typing import Any

import requests

from millstream.common.redact import redact, redact_foreign, redact_url
from millstream.config.rest_api import REST_API_CREDENTIALS
from millstream.errors import (
    SourceAuthError,
    SourceDataError,
    SourceError,
    SourceNotFoundError,
    SourceUnavailableError,
)
from millstream.sources.http.exchange import LATER

_LONGEST = 200  # characters of what an API says of its refusal


def explain(response: requests.Response, service: str) -> SourceError:
    """The error for an answer that is not a success."""
    url = redact(redact_url(str(response.url)))
    status = response.status_code
    said = _message(response)
    answer = f"{status} {said}" if said else str(status)
    if status in (401, 403):
        return SourceAuthError(
            f"{service} does not let this run read {url} ({answer})",
            hint=f"check `client.auth`, and its secret in .env: {REST_API_CREDENTIALS}TOKEN, or "
            "the name that defs.yaml gives it",
        )
    if status in (404, 410):
        return SourceNotFoundError(
            f"{service} has no {url} ({answer})",
            hint="check `client.base_url` and the endpoint's `path`; where it may be absent: "
            f"`response_actions: [{{status_code: {status}, action: ignore}}]`",
        )
    if status >= 500:
        return SourceUnavailableError(f"{service} fails ({answer}): {url}", hint=LATER)
    return SourceDataError(
        f"{service} did not accept the request ({answer}): {url}",
        hint="check the endpoint's `path` and `params`",
    )


def _message(response: requests.Response) -> str:
    """What the answer says of itself, if it is JSON that says anything."""
    try:
        document: Any = response.json()
    except ValueError:
        return response.reason or ""
    for name in ("message", "error", "detail", "title", "error_description"):
        if isinstance(document, dict) and isinstance(said := document.get(name), str):
            return redact_foreign(said)[:_LONGEST]
    return response.reason or ""
