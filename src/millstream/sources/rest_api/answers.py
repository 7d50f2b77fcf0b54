"""What an answer has, where the configuration looks for something else in it.

dlt takes a path that leads nowhere for a list without rows, or for its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from dlt.common.jsonpath import find_values

from millstream.common.redact import redact, redact_foreign, redact_url
from millstream.errors import SourceDataError
from millstream.sources import findings
from millstream.sources.rest_api.json_body import has_other_bytes

_DEPTH = 3
_NAMES = 8
_ERRORS = {"error", "errors", "errormessage", "errordescription", "exception", "fault"}
_SUCCESS = {"ok", "success"}
_STATUS = {"code", "status", "statuscode"}
_SAYS = _ERRORS | _SUCCESS | _STATUS | {"detail", "message"}
"""Names of what an answer says of itself, in lower case and without underscores."""
_FAILED = re.compile(r"[45]\d\d|error|fail(ed|ure)?", re.IGNORECASE)
_SAID = 200
"""Characters of it that are shown."""
_LIKE_A_LINK = re.compile(r"next|cursor|continu|token", re.IGNORECASE)


@dataclass
class KnownList:
    """Where the answers for a resource have their list, as pages and earlier runs found it.

    Attributes:
        selector: the `data_selector`, where one is configured.
        path: the keys that lead to the list, where none is; None before one was seen.
        was_found: an answer had it.
        empties: an answer without rows would take rows out of the table.
        is_read_anew: by a full refresh, which knows nothing of earlier runs.
        has_other_bytes: an answer had bytes that are not of its encoding, which was said.
    """

    selector: str | None = None
    path: tuple[str, ...] | None = None
    was_found: bool = False
    empties: bool = False
    is_read_anew: bool = False
    has_other_bytes: bool = False

    def restore(self, stored: Any) -> None:
        """Take over what an earlier run found, unless it was told to look elsewhere."""
        if self.selector is not None:
            self.was_found = stored == self.selector
        elif isinstance(stored, list):
            self.path, self.was_found = tuple(stored), True

    def to_state(self) -> Any:
        """What the next run is to know; None before a list was found."""
        if not self.was_found:
            return None
        return self.selector if self.selector is not None else list(self.path or ())

    @property
    def is_pattern(self) -> bool:
        """Whether values are selected wherever they match, and may match nowhere."""
        return re.search(r"[?*]|\.\.", (self.selector or "").removesuffix("[*]")) is not None

    def __str__(self) -> str:
        return ".".join(self.path or ()) if self.selector is None else self.selector

    def has_list(self, document: Any) -> bool:
        return any(isinstance(each, list) for each in self.values(document))

    def values(self, document: Any) -> list[Any]:
        """What an answer has in the list's place; nothing where there is no such place."""
        if document == []:  # what has no content, or an empty object in some languages
            return [document]
        if self.selector is not None:
            return list(find_values(self.selector.removesuffix("[*]"), document))
        for name in self.path or ():
            if not isinstance(document, Mapping) or name not in document:
                return []
            document = document[name]
        return [document]


def check_page(
    response: requests.Response,
    rows: Any,
    known: KnownList,
    *,
    had_list: bool | None,
    before: Sequence[Any],
    is_empty_page: Callable[[Any, bool], bool],
) -> None:
    """Stop where an answer is no page of its list: its rows would be taken for all that there are.

    A selector such as `items[*]` selects any number of rows: `{}` has none.

    Args:
        had_list: whether the page before had the list; None of a first page.
        before: its rows.
        is_empty_page: whether an answer without a list, but with or without a place for it, is
            a page all the same, since it says in its own words if another one follows.

    Raises:
        SourceDataError: it tells of an error, or has something else in the place of the list; or
            it has rows elsewhere.
    """
    document = response.json()
    if known.selector is not None and not rows:
        is_first = had_list is None and not known.is_pattern
        refuse_other_answers(known.selector, response, is_first=is_first)
    found = known.values(document)
    if known.selector != "$" and len(found) == 1 and _says_an_error_alone(found[0]):
        _refuse(response, f"the answer tells of an error alone: {_said(found[0])}")
    if known.is_pattern or any(isinstance(each, list) for each in found):
        return
    has_place = bool(found)
    is_nothing = not found or found[0] is None
    if had_list:
        who = "the page before had"
        is_page = is_nothing and is_empty_page(document, has_place)
        is_page |= bool(found) and _is_like(found[0], before)
    elif had_list is None and known.empties and known.was_found:
        who = "an earlier run found"
        is_page = is_nothing and (has_place or is_empty_page(document, False))
    elif had_list is None and known.is_read_anew and known.selector is not None:
        who = "a full refresh needs"
        is_page = has_place or is_empty_page(document, False)
    else:
        return
    leaves_out = not document and str(known.selector).endswith("[*]")
    if not is_page and not leaves_out:
        where = f" at `{known}`" if str(known) else ""
        there = _described(found[0] if found else document)
        hint = ""
        if not document and known.selector:
            hint = f"; `data_selector: {known.selector}[*]` takes it for a list without rows"
        _refuse(response, f"there is no list{where}, where {who} one, but {there}", hint)


def look_beside(response: requests.Response, rows: Any, known: KnownList) -> None:
    """Look at what an answer with the list has beside it.

    Raises:
        SourceDataError: the list is empty, and the answer tells of an error.
    """
    document = response.json()
    if not isinstance(document, Mapping) or not known.has_list(document):
        return
    names = {_plain(name): value for name, value in document.items()}
    if not any(_is_failure(name, names[name]) for name in names.keys() & (_ERRORS | _SUCCESS)):
        return
    what = f"the answer tells of an error beside the list: {_said(document)}"
    if not rows:
        _refuse(response, f"the list is empty, and {what}")
    findings.warn(f"{_address(response)}: rows were loaded, and {what}")


def warn_of_other_bytes(response: requests.Response, known: KnownList) -> None:
    """Say once of a list that texts of it are not as the API has them."""
    if known.has_other_bytes or not has_other_bytes(response):
        return
    known.has_other_bytes = True
    findings.warn(
        f"{_address(response)}: the answer has bytes that are not {response.encoding or 'utf-8'}, "
        "each of which was loaded as U+FFFD; ask whoever runs the API for UTF-8, or to name its "
        "encoding in `Content-Type`"
    )


_UNREAD = "nothing of this read was loaded, and the next run reads again"
_WAY_OUT = "`response_actions: [{content: part of the answer, action: ignore}]`"


def _refuse(response: requests.Response, what: str, way_out: str = "") -> None:
    way_out = way_out or (
        f"; where such an answer means that there are no rows: {_WAY_OUT}; where it is a row: "
        '`data_selector: "$"`'
    )
    raise SourceDataError(f"{_address(response)}: {what}", hint=f"{_UNREAD}{way_out}")


def _says_an_error_alone(value: Any) -> bool:
    """Whether an object is no row: all that it has is how the request went, and that is wrong."""
    if not isinstance(value, Mapping):
        return False
    names = {_plain(name): each for name, each in value.items()}
    return names.keys() <= _SAYS and any(_is_failure(name, each) for name, each in names.items())


def _told(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if _plain(name) in _SAYS}


def _is_like(value: Any, rows: Sequence[Any]) -> bool:
    """Whether an object is a row among others: what was XML has no list around a single one."""
    if not isinstance(value, Mapping) or not value or not rows or not isinstance(rows[-1], Mapping):
        return False
    return 2 * len(value.keys() & rows[-1].keys()) > len(value)


def _said(document: Mapping[str, Any]) -> str:
    return redact_foreign(json.dumps(_told(document), ensure_ascii=False))[:_SAID]


def _described(value: Any) -> str:
    """What an answer has, by names and kinds; of values those that tell how the request went."""
    if not isinstance(value, Mapping):
        kinds = {type(None): "null", str: "a text", bool: "a boolean", list: "a list"}
        return kinds.get(type(value), "a number")
    if not value:
        return "an empty object"
    said = _said(value)
    told = f", which says {said}" if said != "{}" else ""
    return f"an object with {', '.join(f'`{name}`' for name in list(value)[:_NAMES])}{told}"


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
    if not isinstance(document, dict):
        first = document[0] if _are_rows(document) else {}
        keys = f" with {', '.join(f'`{name}`' for name in first)}" if first else ""
        raise SourceDataError(
            f"{what}, and the answer is not an object, but a {type(document).__name__}{keys}",
            hint=f"leave out `data_selector` where the answer itself is the list; {_UNREAD}",
        )
    if any(_is_failure(_plain(name), value) for name, value in document.items()):
        raise SourceDataError(
            f"{what}, but {_said(document)}",
            hint=f"the server says so with status {response.status_code}, as if all were well; "
            f"{_UNREAD}; where it means that there are no rows: {_WAY_OUT}",
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
