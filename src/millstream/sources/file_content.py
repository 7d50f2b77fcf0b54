"""A file's bytes as text in UTF-8: unpacked, decoded, and without a byte order mark.

All is told by the first bytes, once a file: whether it is gzip or Zstandard, whatever its name,
and whether it is UTF-16 or UTF-32 (JSON begins with two characters of ASCII, so zeros tell; RFC
4627, section 3). Any other encoding has to be named.
"""

from __future__ import annotations

import codecs
from hashlib import sha256
from typing import Any

from millstream.errors import SourceDataError

BOM = codecs.BOM_UTF8

_HEAD = 64
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_NESTED = 3
_FORMATS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "a ZIP archive",
    b"PAR1": "Parquet",
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"SQLite format 3\0": "SQLite",
    b"%PDF": "PDF",
    b"<!DOCTYPE": "HTML",
    b"<html": "HTML",
    b"<?xml": "XML",
}
_MARKS = (  # UTF-32 first: UTF-16's mark is a part of its own
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ZEROS = {
    (True, True, True, False): "utf-32-be",
    (False, True, True, True): "utf-32-le",
    (True, False, True, False): "utf-16-be",
    (False, True, False, True): "utf-16-le",
}


EMPTY = sha256().hexdigest()[:32]
"""The digest of a file without content."""


class Digested:
    """Reads a file, and takes its digest on the way."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self._digest = sha256()
        self._whole: str | None = None

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self._digest.update(data)
        return data

    def peek(self) -> bytes:
        """The first bytes, which stay to be read."""
        head: bytes = self._file.peek()
        return head

    def drained(self) -> str:
        """The digest of the whole file, read to its end: 32 hexadecimal digits.

        It is taken once: whoever reads a Parquet file then goes back and forth in it.
        """
        if self._whole is None:
            while self.read(1 << 22):
                pass
            self._whole = self._digest.hexdigest()[:32]
        return self._whole


def as_is(raw: Any) -> Any:
    """A file to read bytes from."""
    return PeekableFile(raw)


def as_text(
    path: str,
    raw: Any,
    *,
    encoding: str | None = None,
    packed: bool = False,
    is_json: bool = True,
) -> Any:
    """A file to read JSON or CSV in UTF-8 from.

    Args:
        encoding: the text's, as Python calls it; by its first bytes where left out.
        packed: whether its name says that it is compressed.
        is_json: whether it has to be JSON, and not CSV.

    Raises:
        SourceDataError: it is of another format, or not compressed as its name says.
    """
    file = PeekableFile(raw)
    for _ in range(_NESTED):
        head = file.peek()
        if head.startswith(_GZIP):
            import gzip

            file = PeekableFile(gzip.GzipFile(fileobj=file))  # type: ignore[call-overload]
        elif head.startswith(_ZSTD):
            import pyarrow as pa

            file = PeekableFile(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"))
        else:
            break
        packed = False
    head = file.peek()
    # a server may have unpacked it on the way
    begin = head.removeprefix(BOM).lstrip()
    is_plain = begin.startswith((b"{", b"[")) if is_json else b"\0" not in begin
    if packed and head and not is_plain:
        raise SourceDataError(
            f"{path}: compressed neither by gzip nor by Zstandard, as its name says",
            hint="put it there again, or give it the name of what it is",
        )
    for magic, what in _FORMATS.items():
        if head.startswith(magic):
            raise SourceDataError(
                f"{path}: the file is {what}, not {'JSON' if is_json else 'CSV'}",
                hint="name its `format`; JSON and CSV are read plain, or compressed by gzip or "
                "Zstandard",
            )
    if encoding is None:
        encoding = _told_by(head)
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        if head.startswith(BOM):
            file.skip(len(BOM))
        return file
    return PeekableFile(_Decoded(path, file, encoding))


def guess(line: bytes) -> str:
    """What a line is probably encoded in that is not UTF-8."""
    try:
        line.decode("windows-1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "windows-1252"


def _told_by(head: bytes) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if len(head) < 4:
        return "utf-8"
    return _ZEROS.get(tuple(byte == 0 for byte in head[:4]), "utf-8")  # type: ignore[arg-type]


class PeekableFile:
    """A file that is read from front to back, and whose first bytes can be looked at.

    Args:
        head: bytes that were read from it and come first again.
    """

    closed = False

    def __init__(self, file: Any, head: bytes = b"") -> None:
        self._file = file
        self._head: bytes | None = head or None

    def peek(self) -> bytes:
        if self._head is None:
            self._head = b""
            while len(self._head) < _HEAD and (more := self._file.read(_HEAD - len(self._head))):
                self._head += more
        return self._head

    def skip(self, size: int) -> None:
        self._head = self.peek()[size:]

    def read(self, size: int = -1) -> bytes:
        head, self._head = self._head, b""
        if not head:
            found: bytes = self._file.read(size)
            return found
        if 0 <= size < len(head):
            self._head = head[size:]
            return head[:size]
        return head + bytes(self._file.read(size - len(head) if size >= 0 else -1))

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        pass


class _Decoded:
    """Text of any encoding as UTF-8.

    A byte that means nothing in its encoding becomes one that is not UTF-8 either, so that only its
    line can't be read.
    """

    def __init__(self, path: str, file: Any, encoding: str) -> None:
        self._path = path
        self._file = file
        self._encoding = encoding
        wide = codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))
        self._errors = "surrogatepass" if wide else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(encoding)(self._errors)
        self._first = True

    def read(self, size: int) -> bytes:
        while True:
            data = self._file.read(size)
            try:
                text = self._decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise SourceDataError(
                    f"{self._path}: not {self._encoding}: {error.reason}",
                    hint="is the file whole? Set `encoding` to what it is written in",
                ) from None
            if self._first and text:
                text, self._first = text.removeprefix("\ufeff"), False
            if text or not data:
                return text.encode("utf-8", self._errors)
