"""No text becomes markup, and none is lost but for what HTML can't hold."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.html_report.markup import cut, element, join, sentence, text


class Reader(HTMLParser):
    """What a browser sees: elements with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


plain = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


@given(plain, plain)
@example('"><script>alert(1)</script>', "' onload='x")
@example("&lt;b&gt; &amp;", "&quot;")
def test_text_is_text_within_elements_and_quotes(content: str, attribute: str) -> None:
    seen = Reader(element("p", content, title=attribute, data_label=None))
    assert seen.elements == [("p", {"title": attribute})]
    assert seen.text == content


@given(st.text(st.characters(categories=["Cs", "Cc", "Lu"]), min_size=1))
def test_what_html_can_not_hold_is_replaced(value: str) -> None:
    found = text(value)
    found.encode()
    assert len(Reader(f"<p>{found}</p>").text) == len(value)
    for character in value:
        assert (character in found) == (
            character.isupper()
            or character in "\t\n\r\x80\x85\x9f"
            or "\x80" <= character <= "\x9f"
        )


def test_markup_is_not_escaped_twice() -> None:
    inner = element("b", "<")
    assert join(inner, None, 5, "<") == "<b>&lt;</b>5&lt;"
    assert element("p", inner, class_="x", stroke_width=2) == (
        '<p class="x" stroke-width="2"><b>&lt;</b></p>'
    )


@pytest.mark.parametrize(
    ("value", "words", "code"),
    [
        ("`a` became `b`", "a became b", 2),
        ("no names", "no names", 0),
        ("`a", "`a", 0),
        ("``", "``", 0),
        ("`<i>`", "<i>", 1),
    ],
)
def test_names_between_backticks_are_code(value: str, words: str, code: int) -> None:
    seen = Reader(sentence(value))
    assert (seen.text, [tag for tag, _ in seen.elements]) == (words, ["code"] * code)


@given(st.text(), st.integers(1, 20))
def test_a_cut_text_fits_and_begins_as_the_text(value: str, length: int) -> None:
    found = cut(value, length)
    assert len(found) <= length
    assert found == value or (found.endswith("…") and value.startswith(found[:-1]))
