"""What a source hands to the engine as it came, undecoded: a header line, then bytes.

    #millstream {"reader": "package.module", "settings": {..}}
    whole BSON documents, end to end

dlt takes such a part as it takes any extracted file; the engine finds the header and reads on from
there. The module that it names tells what a document means, value by value, for all that is not
read in columns. Without the engine a part can't be read: dlt fails at its first character, and the
part stays where it is.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from millstream.errors import SourceDataError

MARK = b"#millstream "
"""How the first line of an undecoded part begins; no JSON does."""

_OURS = "millstream.sources."


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of an undecoded part.

    Attributes:
        reader: the module whose `exact(settings, normalize)` makes an `Exact`.
        settings: what it needs to know, as JSON holds it.
    """

    reader: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> bytes:
        """The line that begins a part."""
        text = json.dumps({"reader": self.reader, "settings": self.settings})
        return MARK + text.encode() + b"\n"

    def exact(self, normalize: Callable[[str], str]) -> Exact:
        """What reads documents value by value.

        Raises:
            SourceDataError: the part names a reader that is none of ours.
        """
        if not self.reader.startswith(_OURS):
            raise SourceDataError(f"an undecoded part names the reader {self.reader!r}")
        made: Exact = importlib.import_module(self.reader).exact(self.settings, normalize)
        return made


@dataclass(frozen=True, slots=True)
class Line:
    """Rows as one line of dlt's typed JSON.

    Attributes:
        doubles: columns that hold NaN or an infinity, which JSON has as text: the keys of the lists
            above, each as a path of normalized names, and the column.
    """

    text: bytes
    doubles: tuple[tuple[tuple[tuple[str, ...], ...], str], ...] = ()


class Exact(Protocol):
    """Reads documents value by value: slow, and never wrong.

    Attributes:
        key: what the root's `_id` is (`oid`, `uuid`, `text`, `int`, `date`), None for a field like
            any other.
        reserved: normalized names of columns that a key may not take as it is.
        extra: columns that each row has beside its document's.
    """

    key: str | None
    reserved: frozenset[str]
    extra: Mapping[str, Any]

    def suspects(self, documents: bytes) -> list[int]:
        """Positions of bytes that must be read here, in documents end to end."""

    def line(self, documents: bytes) -> Line:
        """Documents, end to end, as rows."""

    def tell(self) -> None:
        """Log what was odd, once all is read."""


class Engine:
    """Whether what is extracted now will be read by the engine."""

    reads: ClassVar[bool] = False


def header(line: bytes) -> Header:
    """The header that a file's first line is, where it begins with `MARK`."""
    found = json.loads(line[len(MARK) :])
    return Header(found["reader"], found["settings"])
