"""Bars, one a load, as inline SVG that grows and shrinks with the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log10

from millstream.page.markup import Markup, element

WIDTH, HEIGHT = 360, 150
TOP, BOTTOM = 22, 20
STEEP = 30
"""Above so many times the median, the largest bar would hide the others: then logarithmic."""


def bars(
    title: str,
    values: Sequence[float],
    labels: Sequence[str],
    words: Callable[[float], str],
) -> Markup:
    """A plot of n values, n labels (the first and the last are written), each bar with its own.

    The first load reads everything and the later ones what is new: where they differ by much, the
    scale is logarithmic, and the title says so.
    """
    logarithmic = _is_steep(values)
    heights = [log10(1 + value) if logarithmic else value for value in values]
    most = max(heights, default=0) or 1
    room = HEIGHT - TOP - BOTTOM
    step = WIDTH / max(len(values), 12)
    drawn = []
    for number, (value, height, label) in enumerate(zip(values, heights, labels)):
        size = max(room * height / most, 1 if value else 0)
        drawn.append(
            element(
                "g",
                element("title", f"{label}: {words(value)}"),
                # the whole height, so that a small bar can be pointed at too
                _rect(number * step, TOP, step, room, "touch"),
                _rect(number * step + 1, TOP + room - size, max(step - 2, 1), size, "bar"),
            )
        )
    said = f"{title}, at most {words(max(values, default=0))}"
    said += " (logarithmic)" if logarithmic else ""
    base = TOP + room
    return element(
        "svg",
        element("title", said),
        element("text", said, x=0, y=12, class_="small"),
        *drawn,
        element("path", class_="axis", d=f"M0 {base}H{WIDTH}"),
        element("text", labels[0] if labels else "", x=0, y=HEIGHT - 4, class_="small"),
        element(
            "text",
            labels[-1] if len(labels) > 1 else "",
            x=WIDTH,
            y=HEIGHT - 4,
            class_="small",
            text_anchor="end",
        ),
        class_="plot",
        role="img",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
    )


def spark(shares: Sequence[float | None]) -> Markup | None:
    """A line of shares, 0 to 1, load by load; None below two, and gaps where one is unknown."""
    if sum(share is not None for share in shares) < 2:
        return None
    width, height = 64, 16
    step = (width - 4) / (len(shares) - 1)
    path, pen = "", "M"
    for number, share in enumerate(shares):
        if share is None:
            pen = "M"
            continue
        path += f"{pen}{2 + number * step:.1f} {2 + (height - 4) * (1 - share):.1f}"
        pen = "L"
    return element(
        "svg",
        element("title", "presence, load by load"),
        element("path", class_="spark", d=path),
        class_="inline",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
    )


def share_bar(share: float) -> Markup:
    """A share of 0 to 1 as a bar within a line of text."""
    return element(
        "svg",
        _rect(0, 4, 48, 8, "empty"),
        _rect(0, 4, 48 * share, 8, "bar"),
        class_="inline",
        viewBox="0 0 48 16",
        width=48,
        height=16,
        aria_hidden="true",
    )


def _rect(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    return element(
        "rect",
        x=f"{x:.1f}",
        y=f"{y:.1f}",
        width=f"{width:.1f}",
        height=f"{height:.1f}",
        class_=kind,
    )


def _is_steep(values: Sequence[float]) -> bool:
    counted = sorted(value for value in values if value)
    return bool(counted) and counted[-1] > STEEP * counted[len(counted) // 2]
