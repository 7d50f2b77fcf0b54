"""Bars and lines: each value in its place, all of them within the drawing."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.html_report.plots import HEIGHT, TOP, WIDTH, bars, share_bar, spark

from .svg import numbers, parse, rects

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
loads = st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**5)), min_size=1, max_size=30)


@given(loads, st.integers(0, 10**5), st.lists(st.integers(0, 10**5), max_size=3), st.booleans())
@example([(0, 0)], 0, [], True)
@example([(10**7, 0), (1, 1), (0, 2)], 3, [1], True)
def test_bars_are_in_order_and_within_the_drawing(
    loads: list[tuple[int, int]], end: int, missing: list[int], has_zone: bool
) -> None:
    values = [value for value, _ in loads]
    moments = [START + timedelta(minutes=at) for _, at in loads]
    if not has_zone:  # as some destinations give them back
        moments = [moment.replace(tzinfo=None) for moment in moments]
    absent = [START + timedelta(minutes=at) for at in missing]
    drawing = bars("rows", values, moments, START + timedelta(minutes=end), str, absent)

    drawn = rects(drawing, "bar")
    assert len(drawn) == len(values)
    for x, y, width, height in drawn:
        assert 0 <= x <= x + width <= WIDTH + 0.1
        assert y >= TOP - 0.1
        assert y + height == pytest.approx(HEIGHT - 20, abs=0.15)
    for (value, at), (x, _, _, height) in zip(loads, drawn):
        assert (height > 0) == (value > 0)
        for (other, later), (x2, _, _, height2) in zip(loads, drawn):
            assert height <= height2 if value <= other else height >= height2
            assert x <= x2 if at <= later else x >= x2
    if any(values):
        assert max(height for *_, height in drawn) == pytest.approx(HEIGHT - TOP - 20, abs=0.1)
    dashed = [path for path in parse(drawing).iter("path") if "stroke-dasharray" in path.attrib]
    assert len(dashed) == len(missing)


def test_small_bars_beside_a_large_one_are_logarithmic() -> None:
    moments = [START + timedelta(hours=n) for n in range(4)]
    flat = bars("rows", [30, 1, 1, 1], moments, moments[-1], str)
    steep = bars("rows", [31, 1, 1, 1], moments, moments[-1], str)
    assert "rows, at most 30<" in flat
    assert "rows, at most 31 (logarithmic)<" in steep
    (tall, small, *_) = rects(steep, "bar")
    assert tall[3] / small[3] == pytest.approx(5, rel=0.02)  # log2 of 32 and of 2
    assert "2024-01-01 03:00: 1<" in steep


@given(st.lists(st.none() | st.floats(0, 1), max_size=12))
def test_a_line_has_a_point_for_each_share_and_gaps(shares: list[float | None]) -> None:
    drawing = spark(shares)
    known = [share for share in shares if share is not None]
    if len(known) < 2:
        assert drawing is None
        return
    assert drawing is not None
    (path,) = parse(drawing).iter("path")
    steps = path.attrib["d"].replace("M", " M").replace("L", " L").split(" ")[1:]
    pairs = list(zip(steps[::2], steps[1::2]))
    assert len(pairs) == len(known)
    xs = [float(x[1:]) for x, _ in pairs]
    assert xs == sorted(xs)
    assert 2 <= xs[0] <= xs[-1] <= 62
    for (_, y), share in zip(pairs, known):
        assert float(y) == pytest.approx(14 - 12 * share, abs=0.06)
    runs = sum(
        share is not None and (at == 0 or shares[at - 1] is None) for at, share in enumerate(shares)
    )
    assert path.attrib["d"].count("M") == runs


@given(st.floats(0, 1))
def test_a_share_fills_so_much_of_its_bar(share: float) -> None:
    (whole,), (part,) = (rects(share_bar(share), kind) for kind in ("empty", "bar"))
    assert part[:2] == whole[:2]
    assert part[2] / whole[2] == pytest.approx(share, abs=0.01)
    assert numbers(parse(share_bar(share)), "width", "height") == [48, 16]
