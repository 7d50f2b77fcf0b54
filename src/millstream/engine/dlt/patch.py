"""Where the engine meets dlt: puts its normalizer in place, where the installed dlt fits.

A mode is put in place by `EngineContext`, a context of dlt's container: its normalizer goes where
dlt's normalize workers look for the class that turns extracted rows into load files,
`ArrowNormalizer` in the place of the one for Arrow tables, and dlt looks more often whether they
are done. dlt hands such a context to its worker processes, spawned ones included. What the modules
of this folder rely on is in `dlt_compat/contract.py`, and checked here, at the start.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from threading import RLock
from typing import Any, ClassVar, Literal

import dlt
from dlt.common.configuration import configspec
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.base_configuration import ContainerInjectableContext
from dlt.common.runtime import signals
from dlt.normalize import normalize as dlt_normalize
from dlt.normalize import worker as dlt_worker
from dlt.normalize.items_normalizers import ArrowItemsNormalizer, JsonLItemsNormalizer

from millstream.dlt_compat import contract
from millstream.engine.dlt.arrow_normalizer import ArrowNormalizer
from millstream.engine.dlt.normalizer import ColumnarNormalizer
from millstream.engine.dlt.quarantining_normalizer import WatchedNormalizer
from millstream.formats import engine_mode
from millstream.formats.engine_mode import EngineMode, RowRules

_worker: Any = dlt_worker
_normalize: Any = dlt_normalize

_LOOKS = 0.02
"""Seconds until dlt looks again whether its worker processes are done; its own figure is 0.3, a
sixth of what 500 MB of JSON take."""

_NORMALIZERS: Mapping[str, Any] = {
    "dlt": JsonLItemsNormalizer,
    "quarantining": WatchedNormalizer,
    "columnar": ColumnarNormalizer,
}

_lock = RLock()
_chosen = EngineMode()
_runs: list[EngineMode] = []
_warned = False


@configspec
class EngineContext(ContainerInjectableContext):
    """Puts a mode in place, in this process and in each worker that it starts."""

    global_affinity: ClassVar[bool] = True
    worker_affinity: ClassVar[bool] = True

    mode: Any = None

    def after_add(self) -> None:
        _put_in_place(self.mode)


def _put_in_place(mode: EngineMode) -> None:
    engine_mode.replace(mode)
    is_on = mode.normalizer != "dlt"
    _worker.JsonLItemsNormalizer = _NORMALIZERS[mode.normalizer]
    _worker.ArrowItemsNormalizer = ArrowNormalizer if is_on else ArrowItemsNormalizer
    if getattr(_normalize, "sleep", None) in (signals.sleep, _sleep):
        _normalize.sleep = _sleep if is_on else signals.sleep


def _sleep(seconds: float) -> None:
    signals.sleep(min(seconds, _LOOKS))


def fits() -> bool:
    """Whether the engine fits the installed dlt; a warning says once that it does not."""
    global _warned
    if engine_mode.current().normalizer != "dlt":
        return True  # it was checked then
    if (problem := mismatch(dlt.__version__)) is None:
        return True
    if not _warned:
        warnings.warn(
            f"millstream's engine does not fit dlt {dlt.__version__} ({problem}): dlt's own "
            "normalizer is used, which is slower",
            stacklevel=4,
        )
    _warned = True
    return False


def choose(mode: EngineMode) -> None:
    """Set the mode of this process; that of a run comes first until it ends."""
    global _chosen
    with _lock:
        _chosen = mode
        _apply()


@contextmanager
def running(
    normalizer: Literal["quarantining", "columnar"], rules: Mapping[str, RowRules]
) -> Iterator[None]:
    """Normalize a run within this block. Blocks of other threads keep the rules of theirs."""
    mode = EngineMode(normalizer, is_run=True, rules=rules)
    with _lock:
        _runs.append(mode)
        _apply()
    try:
        yield
    finally:
        with _lock:
            del _runs[next(n for n, each in enumerate(_runs) if each is mode)]
            _apply()


def _apply() -> None:
    mode = _chosen
    if _runs:
        rules = {name: each for run in _runs for name, each in run.rules.items()}
        mode = EngineMode(_runs[-1].normalizer, is_run=True, rules=rules)
    container = Container()
    if mode.normalizer != "dlt":
        container[EngineContext] = EngineContext(mode=mode)
        return
    _put_in_place(mode)
    if EngineContext in container:
        del container[EngineContext]


@cache  # each run asks twice
def mismatch(release: str) -> str | None:
    """What of the installed dlt, of this release, is not as the engine expects, or None."""
    if tuple(map(int, release.split(".")[:2])) != contract.SUPPORTED:
        return f"written for {'.'.join(map(str, contract.SUPPORTED))}"
    return contract.problem("engine")
