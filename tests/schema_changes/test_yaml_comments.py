"""Comments of people stay with their entries, in any file that we write."""

from __future__ import annotations

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millstream.schema_changes.accepted_file import render
from millstream.schema_changes.yaml_comments import carry

from .strategies import NAMES, versions

files = st.dictionaries(st.sampled_from(NAMES), versions(), min_size=1, max_size=2).map(render)
comments = st.sampled_from(["# why", "# a: b", '# "quoted" #', "#"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(files, st.data())
def test_a_file_that_stays_keeps_every_comment(plain: str, data: st.DataObject) -> None:
    lines: list[str] = []
    for line in plain.splitlines():
        is_entry = not line.startswith("#")
        if is_entry and lines and data.draw(st.booleans()):
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}{data.draw(comments)}")
        beside = is_entry and data.draw(st.booleans())
        lines.append(f"{line}  {data.draw(comments)}" if beside else line)
    commented = "\n".join(lines) + "\n"

    carried = carry(commented, plain)

    assert carried == commented
    assert yaml.safe_load(carried) == yaml.safe_load(plain)


OLD = """\
# The header of the file
version: 1
streams:
  orders:  # ours
    # the root table
    orders:
      columns:
        # the shop's own number
        id: bigint  # never null
        "n#": text, not null  # a sign in a name
        gone: text  # was a mistake
# the end
"""
NEW = """\
# another header
version: 1
streams:
  events:
    orders:
      columns:
        id: bigint
  orders:
    orders:
      columns:
        a: text
        "n#": text, not null
        id: text
"""


def test_comments_follow_their_entries_and_go_with_them() -> None:
    assert (
        carry(OLD, NEW)
        == """\
# The header of the file
version: 1
streams:
  events:
    orders:
      columns:
        id: bigint
  orders:  # ours
    # the root table
    orders:
      columns:
        a: text
        "n#": text, not null  # a sign in a name
        # the shop's own number
        id: text  # never null
# the end
"""
    )


def test_a_sign_inside_a_value_is_not_a_comment() -> None:
    old = 'a: "x # y"  # why\nb: c#d\n'
    assert carry(old, 'a: "x # z"\nb: c#e\n') == 'a: "x # z"  # why\nb: c#e\n'
