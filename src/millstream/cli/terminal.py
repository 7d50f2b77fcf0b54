"""How answers look: colours only where someone sees them, numbers for people, JSON for programs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any, TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def colours(stream: TextIO) -> bool:
    """Whether to colour: a terminal, and https://no-color.org does not forbid it."""
    return (
        stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") != "dumb"
    )


def paint(text: str, *styles: str, stream: TextIO) -> str:
    """The text in these styles where the stream shows colours, else as it is."""
    if not text or not colours(stream):
        return text
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


def size(number: int) -> str:
    """Bytes, in powers of ten.

    >>> size(0), size(999), size(1_500), size(403_000_000)
    ('0 B', '999 B', '1.5 kB', '403 MB')
    """
    value, unit = float(number), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, bigger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 9.95 else f"{value:.1f} {unit}"


def seconds(number: float) -> str:
    """
    >>> seconds(0.042), seconds(7.25), seconds(83.2)
    ('0.04 s', '7.2 s', '1 min 23 s')
    """
    if number >= 59.95:
        return f"{int(number + 0.5) // 60} min {int(number + 0.5) % 60} s"
    return f"{number:.1f} s" if number >= 0.1 else f"{number:.2f} s"


def tree(parents: Mapping[str, str | None]) -> list[tuple[str, str]]:
    """Names with the branches that lead to them, children under their parents.

    A parent that is not among the names makes its children roots, so that nothing is left out.

    >>> tree({"a": None, "a__b": "a", "c": None, "a__b__d": "a__b", "a__e": "a"})
    [('', 'a'), ('├─ ', 'a__b'), ('│  └─ ', 'a__b__d'), ('└─ ', 'a__e'), ('', 'c')]
    """
    children: dict[str | None, list[str]] = {}
    for name, parent in parents.items():
        children.setdefault(parent if parent in parents else None, []).append(name)

    def below(parent: str, indent: str) -> list[tuple[str, str]]:
        rows = []
        names = children.get(parent, [])
        for name in names:
            last = name == names[-1]
            rows.append((indent + ("└─ " if last else "├─ "), name))
            rows += below(name, indent + ("   " if last else "│  "))
        return rows

    return [row for root in children.get(None, []) for row in (("", root), *below(root, ""))]


def align(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> list[str]:
    """Columns under each other: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        indent
        + "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def print_listing(document: Sized, lines: Iterable[str], *, as_json: bool, if_empty: str) -> None:
    """A listing: as JSON, or in lines, or in one line that says that it has no entries."""
    if as_json:
        print_json(document)
    elif not document:
        print(if_empty)
    else:
        for line in lines:
            print(line)


def print_json(document: Any) -> None:
    """What `--json` prints; times and the like as text."""
    import json

    print(json.dumps(document, indent=2, default=str))
