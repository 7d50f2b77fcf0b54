"""What `mkdocs.yml` needs beside the pages in this folder: a hook of MkDocs.

The pages are read on other sites too, where a list's text may be indented by three spaces; here it
takes four. Pages outside of this folder (README, CHANGELOG, those of examples) become pages of the
site, and links between them lead to each other.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "README.md": "README.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    **{
        str(file.relative_to(ROOT)): str(file.relative_to(ROOT))
        for file in sorted((ROOT / "examples").glob("*/README.md"))
    },
}
"""Pages of the project, by what the site calls them; the README replaces that of `docs`."""

_LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    for path, name in OUTSIDE.items():
        if found := files.get_file_from_path(name):
            files.remove(found)
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=_relinked(text, path, name)))
    for page in files.documentation_pages():
        if page.src_uri.startswith("decisions/") and not page.src_uri.endswith("README.md"):
            page.inclusion = page.inclusion.NOT_IN_NAV
    return files


def on_page_markdown(text: str, page: Any, config: Any, files: Files) -> str:
    name = page.file.src_uri
    if name not in OUTSIDE.values():
        text = _relinked(text, f"docs/{name}", name)
    return "\n".join(_indented(text.split("\n")))


def _relinked(text: str, path: str, name: str) -> str:
    """A page's text with links that are right from where it is on the site.

    Args:
        path: where the page lies in the project; name: on the site.
    """

    def relink(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[2]))
        there = OUTSIDE.get(target)
        if there is None and target.startswith("docs/"):
            there = target.removeprefix("docs/")
        if there is None:
            return match[0]
        return match[1] + posixpath.relpath(there, posixpath.dirname(name) or ".") + match[3]

    return _LINK.sub(relink, text)


def _indented(lines: list[str]) -> list[str]:
    found, in_fence = [], False
    for line in lines:
        if line.startswith("```"):
            in_fence = not in_fence
        found.append(f" {line}" if line.startswith("   ") and not in_fence else line)
    return found
