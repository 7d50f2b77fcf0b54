"""Idioms that a reader has to translate do not come back: a short list, each with its plain word.

python docs/check_words.py      exit code 1, and the places, where one is used
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLAIN = {
    r"\b(is|are) there twice\b": "duplicate",
    r"\ball is well\b": "all checks passed",
    r"\b(put|sets?) aside\b": "quarantined",
    r"\babreast\b": "in parallel",
    r"\bwaits? no more\b": "no longer waits",
    r"\bno whole number\b": "not an integer",
    r"(?<!there )\bis no (key|list|number|text|time|path|URL|JSON|object)\b": "is not a ...",
    r"\bhangs? below\b": "is a child of",
    r"\bgo(es)? round\b": "loop",
    r"\bwas to load\b": "what is wrong, and the fix",
    r"\b(thrice|forthwith|whilst|aforesaid|henceforth|hitherto|thereof|wherein)\b": "a plain word",
}
"""Regular expressions, and what to write instead."""

_WORDS = re.compile("|".join(f"({idiom})" for idiom in PLAIN), re.IGNORECASE)


def texts() -> Iterator[Path]:
    """What people read: the package, its documentation, and what `init` writes."""
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))
    for folder in ("src", "docs/explanation", "docs/how-to", "docs/reference", "docs/tutorial"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".md", ".yaml", ".j2"):
                yield path


def idioms(path: Path) -> Iterator[str]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for match in _WORDS.finditer(line):
            plain = next(to for idiom, to in PLAIN.items() if re.fullmatch(idiom, match[0], re.I))
            yield f"{path.relative_to(ROOT)}:{number}: `{match[0]}`: write `{plain}`"


if __name__ == "__main__":
    used = [line for path in texts() for line in idioms(path)]
    print("\n".join(used), file=sys.stderr, end="\n" if used else "")
    sys.exit(bool(used))
