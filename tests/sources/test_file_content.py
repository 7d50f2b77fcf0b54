"""Bytes of any packing and encoding: the same text in UTF-8, however it is read."""

from __future__ import annotations

import codecs
import gzip
import io
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millstream.errors import SourceDataError
from millstream.sources.file_content import Digested, as_text, guess

# JSON begins with two characters of ASCII
texts = st.text(max_size=150).map(lambda text: '{"' + text.replace("\r", "") + '": 1}')
PACKINGS: dict[str, Any] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "two members": lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:]),
    "zstd": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    "gzip in zstd": lambda data: pa.compress(gzip.compress(data), codec="zstd", asbytes=True),
}
MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


class Slow(io.BytesIO):
    """Gives a few bytes at a time, as a network may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(7 if size is None or size < 0 else min(size, 7))


def content(data: bytes, sizes: list[int] | None = None, **options: Any) -> bytes:
    file = as_text("a.json", Slow(data), **options)
    found = b""
    for size in sizes or []:
        found += file.read(size)
    while piece := file.read(1 << 16):
        found += piece
    return found


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("encoding", MARKS)
@settings(max_examples=12)
@given(text=texts, marked=st.booleans(), sizes=st.lists(st.integers(1, 90), max_size=3))
@example(text='{"": 1}', marked=True, sizes=[1, 1])
def test_packing_and_unicode_are_told_by_the_bytes(
    packing: str, encoding: str, text: str, marked: bool, sizes: list[int]
) -> None:
    data = (MARKS[encoding] if marked else b"") + text.encode(encoding)
    packed = packing != "plain"
    assert content(PACKINGS[packing](data), sizes, packed=packed) == text.encode()


@pytest.mark.parametrize("encoding", ["windows-1252", "shift_jis", "utf-16", "koi8-r"])
def test_other_encodings_are_named(encoding: str) -> None:
    text = '{"é": 1}' if encoding == "windows-1252" else '{"ж": 1}'
    assert content(text.encode(encoding), encoding=encoding) == text.encode()


def test_a_byte_of_no_character_spoils_its_line_alone() -> None:
    data = b'{"a": "\x81"}\n{"b": "\xe9"}\n'
    first, second = content(data, encoding="windows-1252").splitlines()
    assert second == '{"b": "é"}'.encode()
    with pytest.raises(UnicodeDecodeError):
        first.decode()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"BZh91AY", "bzip2"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"PAR1", "Parquet"),
        (b"<html>", "HTML"),
        (gzip.compress(b"SQLite format 3\0", mtime=0), "SQLite"),
    ],
)
def test_other_formats_are_named(data: bytes, what: str) -> None:
    with pytest.raises(SourceDataError, match=rf"^a\.json: the file is {what}, not JSON"):
        content(data)


def test_a_name_that_says_packed_of_what_is_not() -> None:
    with pytest.raises(SourceDataError, match="compressed neither by gzip nor by Zstandard"):
        content(b"\x00\x01\x02", packed=True)
    assert content(b' [{"a": 1}]', packed=True) == b' [{"a": 1}]'  # unpacked on the way
    assert content(b"", packed=True) == b""


def test_text_that_ends_within_a_character() -> None:
    with pytest.raises(SourceDataError, match=r"^a\.json: not utf-16-le: .*truncated"):
        content('{"a": 1}'.encode("utf-16-le")[:-1])


@given(st.binary(max_size=400), st.lists(st.integers(1, 100), max_size=3))
def test_a_digest_is_of_the_whole_file(data: bytes, sizes: list[int]) -> None:
    digested = Digested(io.BytesIO(data))
    assert b"".join(digested.read(size) for size in sizes) == data[: sum(sizes)]
    assert digested.drained() == sha256(data).hexdigest()[:32]


def test_what_a_line_may_be_encoded_in() -> None:
    assert guess("é".encode("windows-1252")) == "windows-1252"
    assert guess(b"\x81") == "latin-1"
