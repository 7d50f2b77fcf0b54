"""Bars over time, one a load, as inline SVG that grows and shrinks with the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from math import log10

from millstream.html_report.markup import Markup, element

WIDTH, HEIGHT = 360, 150
TOP, BOTTOM = 22, 20
STEEP = 30
"""Above so many times the median, the largest bar would hide the others: then logarithmic."""


def bars(
    title: str,
    values: Sequence[float],
    moments: Sequence[datetime],
    end: datetime,
    words: Callable[[float], str],
    missing: Sequence[datetime] = (),
) -> Markup:
    """A plot of n >= 1 values over time, from the first one's moment to `end`.

    The first load reads everything and the later ones what is new: where they differ by much, the
    scale is logarithmic, and the title says so.

    Args:
        moments: when each value was taken, n of them.
        missing: when there should have been values, which a dashed line marks.
    """
    logarithmic = _is_steep(values)
    heights = [log10(1 + value) if logarithmic else value for value in values]
    most = max(heights, default=0) or 1
    room = HEIGHT - TOP - BOTTOM
    shown = [*map(_utc, (*moments, *missing))]
    start, stop = min(shown), max(_utc(end), *shown)
    span = (stop - start).total_seconds() or 1.0
    breadth = max(WIDTH / max(2 * len(values), 24), 2)

    def place(moment: datetime) -> float:
        return (WIDTH - breadth) * (_utc(moment) - start).total_seconds() / span

    drawn = []
    for value, height, moment in zip(values, heights, moments):
        size = max(room * height / most, 1 if value else 0)
        x = place(moment)
        drawn.append(
            element(
                "g",
                element("title", f"{_label(moment)}: {words(value)}"),
                # the whole height, so that a small bar can be pointed at too
                _rect(x, TOP, breadth, room, "touch"),
                _rect(x + 0.5, TOP + room - size, breadth - 1, size, "bar"),
            )
        )
    for moment in missing:
        x = place(moment) + breadth / 2
        drawn.append(
            element(
                "g",
                element("title", f"{_label(moment)}: not loaded"),
                element(
                    "path", class_="axis", stroke_dasharray="3 3", d=f"M{x:.1f} {TOP}V{TOP + room}"
                ),
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
        element("text", _label(start), x=0, y=HEIGHT - 4, class_="small"),
        element("text", _label(stop), x=WIDTH, y=HEIGHT - 4, class_="small", text_anchor="end"),
        class_="plot",
        role="img",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
    )


def _label(moment: datetime) -> str:
    return f"{_utc(moment):%Y-%m-%d %H:%M}"


def _utc(moment: datetime) -> datetime:
    """A moment of the history, which a destination may give back without its zone."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


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
