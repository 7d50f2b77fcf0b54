"""Lines that went to quarantine and were corrected in their file since.

A file without a primary key can't be read again: its rows would be doubled. Its text is known by a
digest, and the quarantine has the text of each line that was quarantined. A changed file in which
these texts, in place of the lines of today, give the digest again differs in these lines alone:
only they are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any

from millstream.quarantine.store import Entry
from millstream.sources import file_content, json_lines

_ORIGIN = re.compile(r"(.*), line (\d+)", re.DOTALL)
_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")

_entries: ContextVar[Callable[[], Sequence[Entry]] | None] = ContextVar("entries", default=None)


@contextmanager
def from_quarantine(entries: Callable[[], Sequence[Entry]]) -> Iterator[None]:
    """Let sources that are read look up what was quarantined; asked only where a file has changed.

    Args:
        entries: those of the stream, with documents, since its last full refresh.
    """
    token = _entries.set(cache(entries))
    try:
        yield
    finally:
        _entries.reset(token)


def _all_entries() -> Sequence[Entry]:
    entries = _entries.get()
    return entries() if entries else ()


def waiting() -> list[Entry]:
    """The rows of the stream that wait in quarantine."""
    return [entry for entry in _all_entries() if entry.status == "waiting"]


def waiting_in(paths: Sequence[str]) -> list[Entry]:
    """The rows of a file that wait in quarantine; they come again with the whole of it.

    Args:
        paths: where the file is, and where it was.

    Of a line that can't be read the line is known, too; of any other row of JSON lines the file.
    """
    return [
        entry
        for entry in waiting()
        if (origin := str(entry.put_aside["origin"]))
        and not {origin, _ORIGIN.sub(r"\1", origin)}.isdisjoint(paths)
    ]


def places() -> frozenset[str]:
    """Where the files were of which a line could not be read, and was not corrected since."""
    lines = map(_line_of, _all_entries())
    return frozenset(line[0] for line in lines if line is not None)


@dataclass(frozen=True, slots=True)
class CorrectedLine:
    """A line that is another than the one that was quarantined.

    Attributes:
        text: as it is now.
        entry: of the one that was quarantined.
    """

    number: int
    text: bytes
    entry: Entry


@dataclass(frozen=True, slots=True)
class Correction:
    """The corrected lines of a file, and the digest of its text as it is now."""

    lines: Sequence[CorrectedLine]
    digest: str


def find(
    paths: Sequence[str], content: Callable[[], AbstractContextManager[Any]], digest: str
) -> Correction | None:
    """How a file differs from what was read of it; None where not in lines quarantined alone.

    Args:
        paths: where the file is, then where it was.
        content: opens the file, unpacked and decoded, from its start.
        digest: of the text that was read.
    """
    for known in _put_aside(paths, _all_entries()):
        with content() as file:
            found = _compare(paths[0], file, known, digest)
        if found is not None:
            return found
    return None


def _put_aside(paths: Sequence[str], entries: Sequence[Entry]) -> Iterator[dict[int, Entry]]:
    """Lines with their entries, which may be those that the file's digest was taken with.

    A line that was replayed is in the table; the file may still have it as it was, or corrected.
    """
    lines: dict[str, dict[int, Entry]] = {}
    for entry in entries:
        if (line := _line_of(entry)) is None:
            continue
        path, number = line
        known = lines.setdefault(paths[0] if path in paths else path, {})
        other = known.get(number)
        if other is None or other.put_aside["load_id"] < entry.put_aside["load_id"]:
            known[number] = entry
    name = paths[0].rpartition("/")[2]
    # state of earlier versions does not tell where the project was
    for path in sorted(lines, key=lambda each: each != paths[0]):
        if path.rpartition("/")[2] == name:
            known = lines[path]
            yield known
            waiting = {number: each for number, each in known.items() if each.status == "waiting"}
            if len(waiting) < len(known):
                yield waiting


def _line_of(entry: Entry) -> tuple[str, int] | None:
    """The file and the number of a line that could not be read and was not corrected since."""
    first = entry.put_aside
    origin = _ORIGIN.fullmatch(str(first["origin"]))
    if origin is None or first["reason"] != "unreadable" or entry.status == "superseded":
        return None
    return origin[1], int(origin[2])


def _compare(path: str, file: Any, known: Mapping[int, Entry], digest: str) -> Correction | None:
    """The corrected lines, if the old ones in their place give the digest."""
    now = file_content.Digested(file)
    before = sha256()
    corrected: list[CorrectedLine] = []
    number, last_newline = 0, b""
    for block in json_lines.blocks(path, now.read):
        before.update(last_newline)
        count = block.count(b"\n")
        changed = sorted(each for each in known if number < each <= number + count)
        if changed:
            lines = block.split(b"\n")
            for each in changed:
                line = lines[each - number - 1]
                old = _old_line(line, known[each])
                if old is None:
                    return None
                if old != line:
                    corrected.append(CorrectedLine(each, line, known[each]))
                    lines[each - number - 1] = old
            block = b"\n".join(lines)
        last_newline = b"\r\n" if block.endswith(b"\r\n") else b"\n"
        before.update(memoryview(block)[: -len(last_newline)])
        number += count
    # the last line may have had another end, or none
    for end in (b"", b"\n", b"\r\n"):
        whole = before.copy()
        whole.update(end)
        if whole.hexdigest().startswith(digest):
            break
    else:
        return None
    return Correction(corrected, now.drained())


def _old_line(line: bytes, entry: Entry) -> bytes | None:
    """A line as it was; what is around its row, and not kept in quarantine, is as it is now."""
    text = json.loads(str(entry.put_aside["document"]))
    if type(text) is not str:  # only a part was kept
        return None
    row = text.encode("utf-8", "surrogatepass")
    if "is not UTF-8" in str(entry.put_aside["detail"]):
        row = _BYTE.sub(lambda found: bytes.fromhex(found[1].decode()), row)
    now = json_lines.row_of(line)
    if not now:
        return row + (b"\r" if line.endswith(b"\r") else b"")
    start = line.rindex(now)
    return line[:start] + row + line[start + len(now) :]
