"""HTML and SVG elements. Text is escaped here and nowhere else, so that no name can be markup."""

from __future__ import annotations

import re
from html import escape

# what neither HTML nor UTF-8 holds: control characters, lone surrogates
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, *children: object, **attributes: object) -> Markup:
    """An element; children that are no Markup are escaped, attributes that are None left out.

    Attributes are named as in Python: `class_`, `data_label`, `stroke_width`.

    >>> element("a", "<b>", class_="x", href=None)
    '<a class="x">&lt;b&gt;</a>'
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{said}>{join(*children)}</{name}>")


def join(*parts: object) -> Markup:
    """Parts after each other; None is nothing."""
    return Markup(
        "".join(
            part if isinstance(part, Markup) else text(part) for part in parts if part is not None
        )
    )


def text(value: object) -> str:
    """Any value as text that is safe within an element and within quotes.

    >>> text('"<x>"\\x00')
    '&quot;&lt;x&gt;&quot;\\ufffd'
    """
    return escape(_UNPRINTABLE.sub("\ufffd", str(value)), quote=True)


def sentence(value: str) -> Markup:
    """A sentence of the ledger, whose names stand between backticks.

    >>> sentence("`n` is <b> now, and `")
    '<code>n</code> is &lt;b&gt; now, and `'
    """
    parts = re.split("`([^`]+)`", value)
    return join(*(element("code", part) if n % 2 else part for n, part in enumerate(parts)))


def cut(value: str, length: int) -> str:
    """The text, or as much of it as `length` characters hold, and an ellipsis.

    >>> cut("customers", 6)
    'custo…'
    """
    return value if len(value) <= length else value[: length - 1] + "\u2026"
