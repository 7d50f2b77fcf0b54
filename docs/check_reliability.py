"""Every test that `docs/reliability.md` and `SECURITY.md` name exists.

python docs/check_reliability.py      exit code 1 where one does not
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def missing(document: Path) -> list[str]:
    found = NAMED.findall(document.read_text(encoding="utf-8"))
    if not found:
        return [f"{document.name} names no test"]
    lines = []
    for path, name in found:
        file = ROOT / path
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        if not text or (name and not re.search(rf"def {name}\(", text)):
            lines.append(f"{document.name}: no test {path}{'::' if name else ''}{name}")
    return lines


if __name__ == "__main__":
    gone = [*missing(ROOT / "docs" / "reliability.md"), *missing(ROOT / "SECURITY.md")]
    print("\n".join(gone), file=sys.stderr, end="\n" if gone else "")
    sys.exit(bool(gone))
