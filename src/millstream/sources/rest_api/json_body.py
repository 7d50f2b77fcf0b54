"""The JSON of an answer, read once: what another attempt may cure, and what is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from math import isfinite
from typing import Any

import requests

from millstream.errors import SourceDataError, SourceError
from millstream.formats import duplicate_keys

_LARGE = re.compile(rb"[0-9][eE]\+?[0-9]{3}|[0-9]{308}")
"""What a number beyond doubles has, and hardly anything else."""


def is_json(response: requests.Response) -> bool:
    try:
        response.json()
    except (SourceError, ValueError):
        return False
    return True


def problem_of(response: requests.Response, url: str) -> str:
    """What another attempt may cure; empty where the answer counts, and then its JSON is kept.

    Raises:
        SourceDataError: the JSON has a key twice, and nobody knows which value is true.
    """
    if response.status_code >= 500:
        return f"{response.status_code} {response.reason}"
    if not response.ok:
        return ""
    content = response.content
    if response.status_code == 304:
        _keep(response, None, lambda: _unchanged(url))
        return ""
    try:
        # 204, or nothing to say: no rows
        document, text = _read(response) if content else ([], content)
    except ValueError:
        if "json" not in response.headers.get("Content-Type", ""):
            _keep(response, None, lambda: _not_json(response, url))
            return ""
        return "the answer is not whole: its JSON can't be read"
    if (key := duplicate_keys.lost_key(text, document)) is not None:
        raise SourceDataError(
            f"an answer in which {duplicate_keys.describe(key)}: {url}",
            hint="ask whoever runs the API which value is true; nothing of this run was loaded",
        )
    _keep(response, document)
    return ""


def _read(response: requests.Response) -> tuple[Any, bytes]:
    """The JSON of an answer, and its text.

    Raises:
        ValueError: it is none.
    """
    try:
        if _LARGE.search(response.content):
            return response.json(parse_float=_number), response.content
        return response.json(), response.content
    except ValueError:
        # Python's own parser reads NaN and Infinity, as servers written in Python send them
        guess: Callable[[bytes], str | None] = requests.utils.guess_json_utf
        response.encoding = guess(response.content) or "utf-8"
        text = response.content.decode(response.encoding)
        return json.loads(text, parse_float=_number), text.encode()


def _number(text: str) -> float | Decimal:
    """A number of JSON; a decimal where it is beyond doubles, of which Python makes infinity."""
    number = float(text)
    return number if isfinite(number) else Decimal(text)


def has_other_bytes(response: requests.Response) -> bool:
    """Whether bytes of an answer are not of its encoding: each is read as U+FFFD."""
    try:
        response.content.decode(response.encoding or "utf-8")
    except UnicodeDecodeError:
        return True
    except LookupError:  # an encoding that Python does not know
        return False
    return False


def _keep(
    response: requests.Response, document: Any, error: Callable[[], SourceError] | None = None
) -> None:
    """Have the JSON read once, since dlt asks for it again and again; or say that it is none.

    What a response action writes into the answer is read anew.
    """
    content, read = response.content, response.json

    def kept(**options: Any) -> Any:
        if response.content is not content:
            return read(**options)
        if error is not None:
            raise error()
        return document

    response.json = kept  # type: ignore[method-assign]


def _unchanged(url: str) -> SourceDataError:
    return SourceDataError(
        f"the answer is 304, unchanged, and has no rows: {url}",
        hint="leave `If-None-Match` and `If-Modified-Since` out of `headers`: Millstream sends "
        "them itself where it has the answer; or `response_actions: [{status_code: 304, action: "
        "ignore}]` where it means that there are no rows",
    )


def _not_json(response: requests.Response, url: str) -> SourceDataError:
    kind = response.headers.get("Content-Type", "of no type").partition(";")[0]
    return SourceDataError(
        f"an answer that is not JSON ({kind}): {url}",
        hint="check `client.base_url`, the endpoint's `path`, and `client.auth`",
    )
