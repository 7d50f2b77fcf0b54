"""What an answer has, where the configuration looks for something else in it.

dlt takes a path that leads nowhere for a list without rows, or for its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import requests
from dlt.common.jsonpath import find_values

from millstream.common.redact import redact, redact_foreign, redact_url
from millstream.errors import SourceDataError
from millstream.sources import findings

_DEPTH = 3
_ERRORS = {"error", "errors", "errormessage", "errordescription", "exception", "fault"}
_SUCCESS = {"ok", "success"}
_STATUS = {"code", "status", "statuscode"}
_SAYS = _ERRORS | _SUCCESS | _STATUS | {"detail", "message"}
"""Names of what an answer says of itself, in lower case and without underscores."""
_FAILED = re.compile(r"[45]\d\d|error|fail(ed|ure)?", re.IGNORECASE)
_SAID = 200
"""Characters of it that are shown."""
_LIKE_A_LINK = re.compile(r"next|cursor|continu|token", re.IGNORECASE)


def refuse_other_answers(selector: str, response: requests.Response, *, is_first: bool) -> None:
    """Look at a page that has no rows for what it has instead.

    Raises:
        SourceDataError: there is nothing at the `data_selector`, but an error, or no object; or
            rows elsewhere, on a first page.
    """
    document = response.json()
    found = find_values(selector.removesuffix("[*]"), document)
    if not document or any(value is not None for value in found):
        return
    what = f"{_address(response)}: there is no `{selector}`, which `data_selector` names"
    unread = "nothing of this read was loaded, and the next run reads again"
    if not isinstance(document, dict):
        first = document[0] if _are_rows(document) else {}
        keys = f" with {', '.join(f'`{name}`' for name in first)}" if first else ""
        raise SourceDataError(
            f"{what}, and the answer is not an object, but a {type(document).__name__}{keys}",
            hint=f"leave out `data_selector` where the answer itself is the list; {unread}",
        )
    if any(_is_failure(_plain(name), value) for name, value in document.items()):
        says = {name: value for name, value in document.items() if _plain(name) in _SAYS}
        said = redact_foreign(json.dumps(says, ensure_ascii=False))
        raise SourceDataError(
            f"{what}, but {said[:_SAID]}",
            hint=f"the server says so with status {response.status_code}, as if all were well; "
            f"{unread}; where it means that there are no rows: `response_actions: "
            "[{content: part of the answer, action: ignore}]`",
        )
    if not is_first:
        return
    rows = [path for path, value in _values(document) if _are_rows(value)]
    if rows:
        raise SourceDataError(
            what,
            hint=f"the answer has rows at {', '.join(f'`{path}`' for path in rows)}",
        )


def warn_of_other_links(path: Any, response: requests.Response) -> None:
    """Say that a first page has no link at the path of the next one, but what looks like one."""
    document = response.json()
    if not isinstance(document, dict) or find_values(path, document):
        return
    alike = [
        name
        for name, value in _values(document)
        if isinstance(value, (str, int)) and value and _LIKE_A_LINK.search(name.rpartition(".")[2])
    ]
    if alike:
        findings.warn(
            f"{_address(response)}: there is no `{path}`, where the paginator looks for the next "
            f"page, so that this one alone was read; the answer has "
            f"{', '.join(f'`{name}`' for name in alike)}"
        )


def _values(document: Mapping[str, Any], around: str = "", depth: int = 0) -> Iterator[Any]:
    """Paths and values of an object and of the objects in it, not of lists."""
    for name, value in document.items():
        yield f"{around}{name}", value
        if isinstance(value, Mapping) and depth < _DEPTH:
            yield from _values(value, f"{around}{name}.", depth + 1)


def _is_failure(name: str, value: Any) -> bool:
    return (
        (name in _ERRORS and bool(value))
        or (name in _SUCCESS and value is False)
        or (name in _STATUS and bool(_FAILED.fullmatch(str(value))))
    )


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _are_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _address(response: requests.Response) -> str:
    return redact(redact_url(str(response.url)))
