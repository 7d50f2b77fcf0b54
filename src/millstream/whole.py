"""Files that a reader finds whole or not at all, whenever the writer dies."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, text: str) -> None:
    """Put the text in place of what the file held; a process that is killed leaves the one or the
    other. One writer at a time.
    """
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)
