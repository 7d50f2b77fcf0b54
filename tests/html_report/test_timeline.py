"""The changes of a schema: newest run first, many safe ones folded, none lost."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from millstream.html_report.timeline import SHOWN, timeline

START = datetime(2024, 1, 1, tzinfo=timezone.utc)


def change(number: int, hour: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "recorded_at": START + timedelta(hours=hour),
        "stream": "orders",
        "load_id": "1.5",
        "position": number,
        "severity": "safe",
        "action": "allow",
        "table_name": "orders",
        "message": f"new column `c{number}`",
        "reason": "preset evolve: safe",
        **fields,
    }


def order(page: str) -> list[int]:
    return [int(number) for number in re.findall(r"<code>c(\d+)</code>", page)]


runs = st.lists(
    st.lists(st.sampled_from(["safe", "risky", "breaking"]), min_size=1, max_size=9), max_size=5
)


@given(runs, st.randoms(use_true_random=False))
def test_each_change_is_shown_once_the_newest_run_first(runs: list[list[str]], random: Any) -> None:
    rows, expected = [], []
    for hour, severities in enumerate(runs):
        numbered = [(len(rows) + n, severity) for n, severity in enumerate(severities)]
        rows += [change(n, hour, severity=severity) for n, severity in numbered]
        safe = [n for n, severity in numbered if severity == "safe"]
        first = [n for n, _ in numbered if len(safe) <= 5 or n not in safe]
        expected.insert(0, first + (safe if len(safe) > 5 else []))
    random.shuffle(rows)
    page = timeline(rows)
    assert order(page) == [number for run in expected for number in run]
    assert page.count("<h3>") == len(runs)
    assert page.count("<details>") == sum(run.count("safe") > 5 for run in runs)


def test_the_words_of_a_run() -> None:
    page = timeline(
        [
            change(1, severity="risky", action="hold", reason="rule 2"),
            change(2, severity="unheard of", action="allow", reason="accepted"),
            change(3, message="`a` <b>"),
        ]
    )
    assert "<time>2024-01-01 00:00 UTC</time> <code>orders</code>" in page
    assert " hold: rule 2<" in page
    assert " accepted<" in page
    assert page.count('class="tag risky"') == 2
    assert "<b>" not in page
    assert timeline([]) == "<p>No changes recorded.</p>"


def test_a_long_history_ends_with_what_is_left_out() -> None:
    rows = [change(n, hour=n) for n in range(SHOWN + 3)]
    page = timeline(rows)
    assert order(page) == list(range(SHOWN + 2, 2, -1))
    assert "and 3 earlier ones: <code>millstream schema log</code>" in page
    assert "earlier ones" not in timeline(rows[:SHOWN])
