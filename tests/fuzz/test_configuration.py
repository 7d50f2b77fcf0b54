"""Whatever stands in `defs.yaml` and `schema.yaml`, the answer is a pipeline or a ConfigError."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.config import read_pipeline
from millstream.errors import ConfigError
from millstream.schema_changes import accepted_file

EXAMPLES = 3000 if os.environ.get("MILLSTREAM_NIGHTLY") else 150

GOOD = """\
type: millstream.Pipeline
attributes:
  name: shop
  source:
    type: files
    streams:
      orders: {path: orders.jsonl}
"""
# each level holds nine of the one before: ten of them would be 3.5 thousand million texts
LEVELS = "\n".join(
    f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9) if n else 'lol'}]" for n in range(11)
)
BOMB = f"{LEVELS}\n{GOOD}".replace("name: shop", "name: *l10")
HARD = {
    "nothing": "",
    "a list": "[1, 2]",
    "1,000 levels": GOOD + "  tags: " + "[" * 1000 + "]" * 1000 + "\n",
    "100,000 levels": "[" * 100_000,
    "aliases that multiply": BOMB,
    "an alias of itself": "type: millstream.Pipeline\nattributes: &a {name: shop, source: *a}\n",
    "a tag that runs code": "!!python/object/apply:os.system ['touch ran']\n",
    "a tag in an attribute": GOOD.replace("shop", "!!python/object/apply:os.system ['touch ran']"),
    "NUL": GOOD + "\0",
    "a number beyond all": GOOD.replace("shop", "9" * 5000),
    "SQL for a name": GOOD.replace("name: shop", "name: 'shop; DROP TABLE x'"),
    "a path for a name": GOOD.replace("name: shop", "name: ../../shop"),
    "a key twice": GOOD.replace("  name: shop", "  name: shop\n  name: shop2"),
    "a template": GOOD.replace("shop", "'{{ env.__class__ }}'"),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_defs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "defs.yaml"
    file.write_text(HARD[name], encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ConfigError) as caught:
        read_pipeline(file)
    assert str(file) in caught.value.message
    assert len(str(caught.value)) < 5000, "an error that people can read"
    assert [path.name for path in tmp_path.iterdir()] == ["defs.yaml"]


@pytest.mark.parametrize("name", [each for each in HARD if each != "nothing"])
def test_hard_baselines(name: str, tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text(HARD[name], encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ConfigError) as caught:
        accepted_file.load(tmp_path)
    assert "schema.yaml" in caught.value.message


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
FIELDS = ["name", "source", "destination", "schema_policy", "alerts", "tags", "owners", "schedule"]


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), TREES))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_attributes(tmp_path_factory: pytest.TempPathFactory, attributes: object) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "defs.yaml"
    document = {"type": "millstream.Pipeline", "attributes": attributes}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    try:
        read_pipeline(file)
    except ConfigError as error:
        assert str(file) in error.message  # noqa: PT017


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "schema.yaml").write_bytes(text)
    (folder / "defs.yaml").write_bytes(text)
    for read in (lambda: accepted_file.load(folder), lambda: read_pipeline(folder / "defs.yaml")):
        try:
            read()
        except ConfigError:
            pass


def test_a_key_that_is_there_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "defs.yaml").write_text(HARD["a key twice"])
    with pytest.raises(ConfigError, match=r"defs\.yaml:\d+: duplicate key `name`") as caught:
        read_pipeline(tmp_path / "defs.yaml")
    assert caught.value.hint == "take one of them out"
    # in two mappings, and as values, a name may come as often as it likes
    again = GOOD + "  tags: {name: name, type: name}\n  owners: [team:a, team:a]\n"
    (tmp_path / "defs.yaml").write_text(again)
    assert read_pipeline(tmp_path / "defs.yaml").name == "shop"
