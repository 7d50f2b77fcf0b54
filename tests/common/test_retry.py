from __future__ import annotations

from itertools import islice

import pytest

from millstream.common.retry import Retries, call, pauses


class Flaky:
    """Fails as often as it is told, then returns how often it was called."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise OSError(f"failure {self.calls}")
        return self.calls


def test_waits_double_until_it_works() -> None:
    waits: list[float] = []
    assert call(Flaky(2), Retries(3, first=0.5, sleep=waits.append)) == 3
    assert waits == [0.5, 1.0]


def test_the_last_error_is_raised() -> None:
    waits: list[float] = []
    with pytest.raises(OSError, match="failure 3"):
        call(Flaky(9), Retries(3, first=0.5, sleep=waits.append))
    assert len(waits) == 2


def test_an_error_that_stays_is_not_tried_again() -> None:
    flaky = Flaky(1)
    with pytest.raises(OSError, match="failure 1"):
        call(flaky, Retries(3), lambda error, planned: None)
    assert flaky.calls == 1


def test_the_other_side_says_how_long_to_wait() -> None:
    waits: list[float] = []
    call(Flaky(1), Retries(3, first=1.0, sleep=waits.append), lambda error, planned: 7.0)
    assert waits == [7.0]


def test_a_success_between_counts_from_the_beginning() -> None:
    retries = Retries(2, first=1.0)
    assert retries.failed() == 1.0
    retries.succeeded()
    assert (retries.failed(), retries.failed()) == (1.0, None)


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 4.0), (1.0, 8.0)])
def test_jitter_leaves_between_half_and_all(chance: float, wait: float) -> None:
    assert Retries(2, first=8.0, jitter=True, chance=lambda: chance).failed() == wait


def test_pauses_grow_up_to_the_longest() -> None:
    assert [*islice(pauses(1.0, 3.0), 5)] == [1.0, 1.5, 2.25, 3.0, 3.0]
