"""Carry people's comments from one text of `schema.yaml` to the next."""

from __future__ import annotations

import re

_ENTRY = re.compile(
    r"""(?P<indent>\ *)(?P<key>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#:"'][^\s:]*)\s*:"""
    r"""(?P<value>(?:\s+(?:"(?:[^"\\]|\\.)*"|[^#"\s](?:[^#]|(?<!\s)\#)*?))?)(?P<comment>\s+\#.*)?""",
    re.VERBOSE,
)


def carry(old: str, new: str) -> str:
    """`new` with the comments of `old`: those above an entry, and those at the end of its line.

    A comment goes where its entry goes; the comments of an entry that is gone go with it. What
    stands above the first entry is the file's own header, kept as it is in `old`.
    """
    above: dict[tuple[str, ...], list[str]] = {}
    beside: dict[tuple[str, ...], str] = {}
    waiting: list[str] = []
    for line, place, comment in _entries(old):
        if place is None:
            if line.strip().startswith("#"):
                waiting.append(line)
            continue
        if waiting:
            above[place], waiting = waiting, []
        if comment:
            beside[place] = comment
    lines: list[str] = []
    for line, place, _ in _entries(new):
        if place is not None:  # all other lines of `new` are its header, which `old` has its own of
            lines += above.get(place, [])
            lines.append(line + beside.get(place, ""))
    return "\n".join([*lines, *waiting]) + "\n"


def _entries(text: str) -> list[tuple[str, tuple[str, ...] | None, str]]:
    """Each line, with the keys that lead to its entry (None where it has none) and its comment."""
    found: list[tuple[str, tuple[str, ...] | None, str]] = []
    open_keys: list[tuple[int, str]] = []
    for line in text.splitlines():
        # a long key stands behind a `?`, and its value on the next line
        entry = re.sub(r"^( *)\? (.*)$", r"\1\2:", re.sub(r"^( *): ", r"\1  value: ", line))
        match = None if line.lstrip().startswith("#") else _ENTRY.fullmatch(entry.rstrip())
        if match is None:
            found.append((line, None, ""))
            continue
        indent = len(match["indent"])
        open_keys = [entry for entry in open_keys if entry[0] < indent]
        open_keys.append((indent, match["key"].strip("\"'")))
        place = tuple(key for _, key in open_keys)
        found.append((line, place, match["comment"] or ""))
    return found
