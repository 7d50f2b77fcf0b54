"""Drawings, read as a browser reads them."""

from __future__ import annotations

from xml.etree import ElementTree

from millstream.html_report.markup import Markup


def parse(drawing: Markup) -> ElementTree.Element:
    return ElementTree.fromstring(drawing)


def numbers(element: ElementTree.Element, *names: str) -> list[float]:
    return [float(element.attrib[name]) for name in names]


def rects(drawing: Markup, kind: str) -> list[list[float]]:
    """x, y, width and height of the rectangles of a class."""
    found = parse(drawing).iter("rect")
    return [numbers(r, "x", "y", "width", "height") for r in found if r.attrib["class"] == kind]
