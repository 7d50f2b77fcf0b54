"""Batches of raw BSON -> lines of dlt's typed JSON, nothing lost on the way.

The driver decodes, orjson writes and asks back only for what JSON has no type for. Documents that
the driver would not decode truly are found by their bytes and go through `values.decode`. Where the
engine reads the batches itself (`raw_batches`), these lines are what it falls back on.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha1
from itertools import accumulate
from struct import Struct
from typing import Any, ClassVar

import numpy as np
import orjson
from bson import Code, DBRef, ObjectId, decode_all
from bson import decode as decode_one
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from dlt.common.json import (
    PUA_CHARACTER_MAX,
    PUA_START,
    PUA_START_UTF8_MAGIC,
    custom_pua_encode,
)

from millstream.errors import SourceDataError
from millstream.formats.object_maps import VALUE, as_lists, is_below
from millstream.sources.mongodb import ids
from millstream.sources.mongodb.values import SPECIAL, DecodeAnomalies, Path, decode, id_document

logger = logging.getLogger(__name__)

OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
"""Dates that Python can't hold come as milliseconds, UUIDs as binary; no time zones: all is UTC."""

EXACT: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_MS
)
"""For values that go back to the server, such as bounds."""

# dlt marks typed values in its JSON by a first character of the private use area
_PREFIXES = tuple(chr(PUA_START + n) for n in range(PUA_CHARACTER_MAX + 1))
_DATE, _BYTES = _PREFIXES[1], _PREFIXES[5]

_NULLED = re.compile(
    rb"\x06[^\x00]+\x00"  # undefined
    rb"|\x01[^\x00]*\x00.{6}[\xf0-\xff][\x7f\xff]",  # a double that is not finite
    re.DOTALL,
)
_MANGLED = re.compile(b"|".join(re.escape(prefix.encode()) for prefix in _PREFIXES))
_MARK = PUA_START_UTF8_MAGIC[:2]
_size_at = Struct("<i").unpack_from
_UNDECODABLE = (BSONError, ValueError, TypeError, OverflowError)

# they hold keys; and to orjson, code is a text like any other
_FOLDED = frozenset({Code, DBRef})

_HEX_KINDS = frozenset(kind for kind, form in ids.FORMS.items() if "oid" in form.plain)

ID_FIELDS = "_id_fields"
"""The column that holds the fields of an `_id` that is a document, beside its text."""


def _in_list(path: Path, maps: tuple[Path, ...]) -> Path:
    """Where a value lies once the map above it is a list."""
    for each in maps:
        plain = tuple(key for key in path if key != "[]")
        if is_below(plain, each):
            at, left = 0, len(each)
            while left:
                left -= path[at] != "[]"
                at += 1
            inside = path[at + 1 :]
            is_object = inside and inside[0] != "[]"
            return (*path[:at], "[]", *(inside if is_object else (VALUE, *inside)))
    return path


RESERVED = frozenset({"_dlt_id", "_dlt_load_id", "_dlt_parent_id", "_dlt_root_id", "_dlt_list_idx"})


@dataclass(frozen=True, slots=True)
class Encoded:
    """A line of dlt's typed JSON, a list of `rows` documents; or these as the server sent them."""

    line: bytes
    rows: int


@dataclass
class Encoder:
    """Encodes the batches of one collection; one for each thread.

    Attributes:
        what: the collection, for errors.
        normalize: dlt's name for a key.
        kind: what `_id` is, or None where it is no primary key.
        reserved: columns of our own, which a field must not take.
        maps: objects whose keys are data, which become lists with a `key`.
        not_finite: columns that hold NaN or an infinity, found so far.
        renamed: fields of documents that are called like columns of ours, and what they became.
    """

    what: str
    normalize: Callable[[str], str]
    kind: ids.Kind | None = None
    reserved: frozenset[str] = frozenset()
    maps: tuple[Path, ...] = ()
    odd: DecodeAnomalies = field(default_factory=DecodeAnomalies)
    renamed: dict[str, str] = field(default_factory=dict)
    _shapes: dict[tuple[str, ...], Mapping[str, str] | None] = field(default_factory=dict)

    header: ClassVar[bytes] = b""
    """What begins a part of these lines."""

    @property
    def not_finite(self) -> set[Path]:
        found = self.odd.not_finite
        if self.renamed:
            found = {tuple(self.renamed.get(key, key) for key in path) for path in found}
        return {_in_list(path, self.maps) for path in found} if self.maps else found

    @property
    def taken(self) -> frozenset[str]:
        """Names of columns of ours, which no field may have."""
        fields = {ID_FIELDS} if self._has_id_fields else ()
        return RESERVED | self.reserved | frozenset(fields)

    @property
    def _has_id_fields(self) -> bool:
        """Whether an `_id` may be a document."""
        return self.kind is not None and ids.DATA_TYPE[self.kind] == "text"

    def encode(self, batch: bytes, extra: Mapping[str, Any] | None = None) -> Encoded:
        """One batch, as `find_raw_batches` yields it: documents end to end.

        Args:
            extra: columns that every row gets beside its own.

        Raises:
            SourceDataError: a document is not BSON, or its `_id` does not fit the column.
        """
        try:
            rows = self._ready(decode_all(batch, OPTIONS), extra)
            line = self.dump(rows)
        except _UNDECODABLE:
            line = b""
        if not line or _MANGLED.search(batch):
            rows = self.rows(batch, extra)
            line = self.dump(rows)
        # `undefined`, NaN and infinities: the driver or orjson makes null of each
        elif b"null" in line and self._mend(batch, rows, extra):
            line = self.dump(rows)
        return Encoded(line, len(rows))

    def _mend(
        self, batch: bytes, rows: list[dict[str, Any]], extra: Mapping[str, Any] | None
    ) -> bool:
        """Replace the rows in which a null may have been something else; whether there were any."""
        found = _NULLED.search(batch)
        if found is None:
            return False
        ends = list(accumulate(len(raw) for raw in documents(batch)))
        suspects: set[int] = set()
        while found is not None:
            # what looks like a value may reach over the true ones of the next document
            first, last = bisect_right(ends, found.start()), bisect_left(ends, found.end())
            suspects.update(range(first, last + 1))
            found = _NULLED.search(batch, ends[last])
        mended = False
        for index in suspects:
            if b"null" in self.dump([rows[index]]):
                raw = batch[ends[index - 1] if index else 0 : ends[index]]
                rows[index] = self._ready([self._careful(raw)], extra)[0]
                mended = True
        return mended

    def log_warnings(self) -> None:
        """Log what was renamed so far."""
        for key, name in self.renamed.items():
            logger.warning(
                "%s: the field %r has the name of a column that Millstream adds: it is now %s",
                self.what,
                key,
                name,
            )

    def rows(self, batch: bytes, extra: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a batch, for `dump`: as `encode`, one document at a time."""
        return self._ready([self._decode_one(raw) for raw in documents(batch)], extra)

    def dump(self, rows: list[dict[str, Any]]) -> bytes:
        """Rows as one line, of values that the driver or `values` made."""
        return orjson.dumps(rows, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME) + b"\n"

    def _ready(
        self, rows: list[dict[str, Any]], extra: Mapping[str, Any] | None
    ) -> list[dict[str, Any]]:
        for row in rows:
            if self.kind is not None:
                self._identify(row)
            self._walk(row)
            if extra:
                row.update(extra)
        return [as_lists(row, self.maps) for row in rows] if self.maps else rows

    def _decode_one(self, raw: bytes) -> dict[str, Any]:
        if not _MANGLED.search(raw):
            try:
                row = decode_one(raw, OPTIONS)
                if not _NULLED.search(raw) or b"null" not in self.dump([row]):
                    return row
            except _UNDECODABLE:
                pass
        return self._careful(raw)

    def _careful(self, raw: bytes) -> dict[str, Any]:
        try:
            row = decode(raw, self.odd)
            if self.kind is not None:
                row["_id"] = id_of(raw)
        except (ValueError, IndexError) as error:
            raise SourceDataError(f"{self.what}: a document can't be read: {error}") from None
        return row

    def _identify(self, row: dict[str, Any]) -> None:
        value = row["_id"]
        if self._has_id_fields and ID_FIELDS in row:
            row[self._rename(ID_FIELDS)] = row.pop(ID_FIELDS)
        if type(value) is ObjectId and self.kind in _HEX_KINDS:
            row["_id"] = value.binary.hex()
            return
        row["_id"] = ids.plain(value, self.kind)  # type: ignore[arg-type]
        if isinstance(value, dict):
            row[ID_FIELDS] = value

    def _walk(self, row: dict[str, Any]) -> None:
        shape = tuple(row)
        try:
            names = self._shapes[shape]
        except KeyError:
            names = self._shapes[shape] = self._renamed(shape)
        if names:
            fields = [(names.get(key, key), value) for key, value in row.items()]
            row.clear()
            row.update(fields)
        for key, value in row.items():
            kind = type(value)
            if kind is dict:
                self._walk(value)
            elif kind is list:
                self._walk_list(value)
            elif kind in _FOLDED:
                row[key] = SPECIAL[kind](value)
                self._walk(row[key])

    def _walk_list(self, values: list[Any]) -> None:
        for index, value in enumerate(values):
            kind = type(value)
            if kind is dict:
                self._walk(value)
            elif kind is list:
                self._walk_list(value)
            elif kind in _FOLDED:
                values[index] = SPECIAL[kind](value)
                self._walk(values[index])

    def _renamed(self, keys: tuple[str, ...]) -> Mapping[str, str] | None:
        """New names for keys that are called like columns of ours; None where there are none.

        That two keys of the collection's never share a column is seen to by `key_names`.
        """
        ours = RESERVED | self.reserved
        found = {key: self._rename(key) for key in keys if self._normal(key) in ours}
        return found or None

    def _rename(self, key: str) -> str:
        digest = sha1(key.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
        name = self.renamed[key] = f"{self._normal(key)}_x{digest[:6]}"
        return name

    def _normal(self, key: str) -> str:
        return self.normalize(key) if key.strip() else "_empty"


def documents(batch: bytes) -> Iterator[bytes]:
    """The documents of a batch, one by one."""
    at = 0
    while at < len(batch):
        end = at + int.from_bytes(batch[at : at + 4], "little")
        if end <= at + 4:
            raise SourceDataError(f"a batch breaks off at byte {at} of {len(batch)}")
        yield batch[at:end]
        at = end


def ends_of(batch: bytes) -> list[int]:
    """Where each document of a batch ends.

    Raises:
        SourceDataError: the batch breaks off.
    """
    found = []
    at, end = 0, len(batch)
    while at < end:
        size = _size_at(batch, at)[0] if at + 4 <= end else 0
        if size < 5 or at + size > end:
            raise SourceDataError(f"a batch breaks off at byte {at} of {end}")
        at += size
        found.append(at)
    return found


def mangled_at(batch: bytes) -> list[int]:
    """Where the characters are that dlt marks typed values with, in texts or by chance."""
    data = np.frombuffer(batch, np.uint8)
    # few bytes are the first one of these characters, and all are looked at in one step
    found = np.flatnonzero(data[:-2] == _MARK[0]) if len(data) > 2 else data[:0]
    found = found[data[found + 1] == _MARK[1]]
    return [at for at in found.tolist() if _MANGLED.match(batch, at)]


def last_document(batch: bytes) -> bytes:
    """The last document of a batch that is not empty."""
    ends = ends_of(batch)
    return batch[ends[-2] if len(ends) > 1 else 0 :]


def id_of(raw: bytes) -> Any:
    """A document's `_id`, in a form that the server takes back unchanged."""
    return decode_one(id_document(raw), EXACT)["_id"]


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind is datetime:
        return _DATE + value.isoformat() + "+00:00"
    special = SPECIAL.get(kind)
    if special is not None:
        return special(value)
    if kind is bytes and not value:
        return _BYTES + " "  # dlt takes a prefix alone for a text; base64 ignores blanks
    return custom_pua_encode(value)
