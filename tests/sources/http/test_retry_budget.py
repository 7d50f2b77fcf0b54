"""A run waits so long in all; waits side by side count once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millstream.sources.http.retry_budget import RetryBudget
from sources.github_kit import NOW, FakeClock

waits = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 40)), max_size=12)


@given(waits, st.integers(0, 120))
def test_time_is_counted_once_and_never_beyond_the_longest(
    waits: list[tuple[int, int]], longest: int
) -> None:
    clock = FakeClock()
    budget = RetryBudget(clock, longest)
    covered: set[int] = set()  # seconds in which somebody waits
    for pause, seconds in waits:
        clock.time += pause
        now = int(clock.time - NOW)
        wanted = covered | set(range(now, now + seconds))
        if budget.spend(seconds):
            covered = wanted
        else:
            assert len(wanted) > longest
        assert budget.spent == len(covered) <= longest
