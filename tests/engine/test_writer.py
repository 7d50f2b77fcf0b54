"""Column sets are written in a thread; what goes wrong there is not lost."""

from __future__ import annotations

from threading import current_thread, main_thread

import pytest

from millstream.engine.writer import in_thread


def test_a_thread_does_the_work() -> None:
    seen = []
    in_thread(lambda: seen.append(current_thread())).result()
    assert seen != [main_thread()]


def test_an_error_comes_back() -> None:
    def fail() -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        in_thread(fail).result()
