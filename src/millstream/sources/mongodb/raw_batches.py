"""Batches that go to the engine as the server sent them, and what it falls back on.

The engine reads documents in columns, and asks here for those that it can't: what they become is
settled in `encode` and `values` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import numpy as np

from millstream.formats.raw_part import Header, Line, Locate
from millstream.sources.mongodb.encode import Encoded, Encoder, ends_of, mangled_at
from millstream.sources.mongodb.values import FIRST_MS, LAST_MS, Path


class RawBatchEncoder:
    """An encoder that leaves the work to the engine; it looks at ids alone.

    An id that its column can't hold is told before anything is loaded, as the encoder tells it.
    """

    def __init__(self, encoder: Encoder, extra: Mapping[str, Any] | None) -> None:
        self.encoder = encoder
        self.header = Header(
            __name__,
            {
                "what": encoder.what,
                "kind": encoder.kind,
                "reserved": sorted(encoder.reserved),
                "extra": {name: _written(value) for name, value in (extra or {}).items()},
            },
        ).line()

    def encode(self, batch: bytes, extra: Mapping[str, Any] | None = None) -> Encoded:
        """One batch as it is, and how many documents it holds.

        Raises:
            SourceDataError: it is not BSON, or an `_id` does not fit the column.
        """
        ends = ends_of(batch)
        if not self._has_plain_ids(batch, ends):
            self.encoder.encode(batch, extra)  # raises, where it matters
        return Encoded(batch, len(ends))

    @property
    def not_finite(self) -> set[Path]:
        return self.encoder.not_finite

    def log_warnings(self) -> None:
        self.encoder.log_warnings()

    def _has_plain_ids(self, batch: bytes, ends: list[int]) -> bool:
        kind = self.encoder.kind
        if kind not in ("int", "date") or not ends:
            return True
        starts = np.array([0, *ends[:-1]])
        data = np.frombuffer(batch + bytes(16), np.uint8)
        # behind the size: type, key and zero; the server puts `_id` first
        heads = data[starts[:, None] + np.arange(4, 17)]
        if (heads[:, 1:5] != _ID).any():
            return False
        if kind == "int":
            return bool(np.isin(heads[:, 0], (0x10, 0x12)).all())
        moments = np.ascontiguousarray(heads[:, 5:]).view("<i8")
        return bool(((heads[:, :1] == 0x09) & (moments >= FIRST_MS) & (moments <= LAST_MS)).all())


_ID = np.frombuffer(b"_id\0", np.uint8)


class ExactReader:
    """The encoder, as the engine asks for it."""

    def __init__(
        self, encoder: Encoder, locate: Locate, extra: Mapping[str, datetime | str]
    ) -> None:
        self.key = encoder.kind
        self.reserved = encoder.taken
        self.extra = extra
        self._encoder = encoder
        self._locate = locate
        self._told: set[Path] = set()

    def suspects(self, documents: bytes) -> list[int]:
        return mangled_at(documents)

    def line(self, documents: bytes) -> Line:
        # from the zone-less moments of BSON, as all others are
        extra = {
            name: value if isinstance(value, str) else value.replace(tzinfo=None)
            for name, value in self.extra.items()
        }
        encoded = self._encoder.encode(documents, extra)
        new = self._encoder.not_finite - self._told
        self._told |= new
        if self.key is not None:
            new = {path for path in new if path[0] != "_id"}
        found = (self._locate(path) for path in sorted(new))
        return Line(encoded.line, tuple((tuple(tables), column) for tables, column in found))

    def log_warnings(self) -> None:
        self._encoder.log_warnings()


def exact(
    settings: Mapping[str, Any], normalize: Callable[[str], str], locate: Locate
) -> ExactReader:
    """The reader of a part that `RawBatchEncoder` began."""
    encoder = Encoder(
        settings["what"], normalize, settings["kind"], frozenset(settings["reserved"])
    )
    extra = {name: _read(written) for name, written in settings["extra"].items()}
    return ExactReader(encoder, locate, extra)


def _written(value: datetime | str) -> list[str]:
    """A value that all rows have, with its type, as a header holds it."""
    return ["text", value] if isinstance(value, str) else ["time", value.isoformat()]


def _read(written: list[str]) -> datetime | str:
    kind, text = written
    return text if kind == "text" else datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
