from __future__ import annotations

import pytest

from millstream.common.retry import Retries, call


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


def test_jitter_keeps_at_least_half_of_a_wait() -> None:
    waits = [Retries(2, first=1.0, jitter=True).failed() for _ in range(20)]
    assert all(wait is not None and 0.5 <= wait <= 1.0 for wait in waits)
    assert len(set(waits)) > 1
