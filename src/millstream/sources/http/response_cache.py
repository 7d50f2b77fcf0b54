"""Answers that are kept until the server says that they changed.

    DATA_DIR/http_cache/KEY     zlib: one line of JSON (headers), then the body

RFC 9111, as a private cache that asks each time: a request says which version is kept, by its
`ETag` or `Last-Modified`, and 304 stands for that version. Whoever asked gets the whole answer
either way, so that nothing that is made of it depends on what is kept: a file that is missing,
damaged or on another machine costs one whole answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import requests
from requests.structures import CaseInsensitiveDict

log = logging.getLogger(__name__)

_MOST_BYTES = 1 << 30
_LONGEST_BODY = 64 << 20
_UNUSED = 30 * 86400.0
"""Seconds after which an answer that nobody asked for is removed."""
_SETTLED = 60.0
"""Seconds that a `Last-Modified` lies behind the answer's `Date`, at least, to be trusted: of
two changes in one second it tells but one (RFC 9110, 8.8.2.2)."""
_CONDITIONS = ("If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "Range")
_NOT_KEPT = frozenset(
    {"set-cookie", "content-encoding", "content-length", "transfer-encoding", "connection"}
)
"""Headers of one message alone: a body is kept as it was before it was compressed."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A version of an answer.

    Attributes:
        lacks: names of headers, in lower case, that the server's 304 was seen to leave out.
    """

    headers: Mapping[str, str]
    body: bytes
    lacks: frozenset[str] = frozenset()

    def conditions(self) -> dict[str, str]:
        """The headers that ask for an answer only where it is another version."""
        if etag := self.headers.get("etag"):
            return {"If-None-Match": etag}
        return {"If-Modified-Since": self.headers["last-modified"]}

    def restored(self, unchanged: requests.Response) -> requests.Response:
        """The whole answer, of which another one said that it is unchanged."""
        response = requests.Response()
        response.status_code, response.reason = 200, "OK"
        response.url, response.request = unchanged.url, unchanged.request
        newer = {
            name: value
            for name, value in unchanged.headers.items()
            if name.lower() not in _NOT_KEPT and name.lower() != "content-type"
        }
        response.headers = CaseInsensitiveDict(self.headers)
        response.headers.update(newer)
        response.encoding = requests.utils.get_encoding_from_headers(response.headers)
        response.raw = BytesIO(self.body)
        return response


class ResponseCache:
    """Answers on this machine, shared by all runs; for use from any thread and process.

    Each request with all of its headers has its own: another token may see other rows.
    """

    def __init__(self, folder: Path, most_bytes: int = _MOST_BYTES) -> None:
        """
        Args:
            most_bytes: of all files; the answers that were asked for longest ago make room.
        """
        self._folder = folder
        self._most_bytes = most_bytes
        self._bytes: int | None = None  # not known before the first answer is kept
        self._lock = threading.Lock()

    def find(self, request: requests.PreparedRequest) -> KeptAnswer | None:
        """What is kept of the answer to a request; None where it is to be asked for as a whole."""
        if not _may_be_kept(request):
            return None
        path = self._path(request)
        try:
            head, _, body = zlib.decompress(path.read_bytes()).partition(b"\n")
            kept = json.loads(head)
            os.utime(path)
            return KeptAnswer(kept["headers"], body, frozenset(kept["lacks"]))
        except (OSError, ValueError, KeyError, TypeError, zlib.error):
            return None

    def keep(
        self,
        request: requests.PreparedRequest,
        response: requests.Response,
        lacks: frozenset[str] = frozenset(),
    ) -> None:
        """Keep an answer, where it has a version and the server lets it be kept."""
        if not _may_be_kept(request) or not _has_version(response):
            return
        headers = {
            name.lower(): value
            for name, value in response.headers.items()
            if name.lower() not in _NOT_KEPT
        }
        head = json.dumps({"headers": headers, "lacks": sorted(lacks)}).encode()
        content = zlib.compress(head + b"\n" + response.content, 1)
        path = self._path(request)
        part = path.with_name(f".{uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(content)
            part.replace(path)  # not flushed: what a crash leaves is found out by its checksum
            self._make_room(len(content))
        except OSError as error:  # a full disk is no reason not to load
            log.info("an answer was not kept: %s", error.strerror)
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _path(self, request: requests.PreparedRequest) -> Path:
        parts = [str(request.method), str(request.url)]
        parts += sorted(f"{name.lower()}: {value!r}" for name, value in request.headers.items())
        return self._folder / hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _make_room(self, added: int) -> None:
        with self._lock:
            if self._bytes is not None:
                self._bytes += added
                if self._bytes <= self._most_bytes:
                    return
            files = []
            for path in self._folder.iterdir():
                with suppress(OSError):  # another run removed it
                    found = path.stat()
                    files.append((found.st_mtime, found.st_size, path))
            self._bytes = sum(size for _, size, _ in files)
            oldest = time.time() - _UNUSED
            for at, size, path in sorted(files):
                if at >= oldest and self._bytes <= self._most_bytes * 0.9:
                    break
                path.unlink(missing_ok=True)
                self._bytes -= size


def _may_be_kept(request: requests.PreparedRequest) -> bool:
    return (
        str(request.method).upper() == "GET"
        and not request.body
        and not any(name in request.headers for name in _CONDITIONS)
    )


def _has_version(response: requests.Response) -> bool:
    headers = response.headers
    if (
        response.status_code != 200
        or response.history
        or len(response.content) > _LONGEST_BODY
        or "no-store" in headers.get("Cache-Control", "").lower()
        or headers.get("Vary", "").strip() == "*"
    ):
        return False
    if headers.get("ETag"):
        return True
    try:
        changed, answered = (parsedate_to_datetime(headers[k]) for k in ("Last-Modified", "Date"))
        return (answered - changed).total_seconds() >= _SETTLED
    except (KeyError, ValueError, TypeError):
        return False
