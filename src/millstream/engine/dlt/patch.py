"""Where the engine meets dlt: puts its normalizer in place, where the installed dlt fits.

`install()` puts `ColumnarNormalizer` where dlt's normalize workers look for the class that turns
extracted rows into load files, `ArrowNormalizer` in the place of the one for Arrow tables, and lets
dlt look more often whether they are done. What the modules of this folder rely on is in
`dlt_compat/contract.py`, and checked here, at the start.

Spawned worker processes get the seam through a container context that dlt hands to workers.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import dlt
from dlt.common.configuration import configspec
from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.base_configuration import ContainerInjectableContext
from dlt.common.runtime import signals
from dlt.normalize import normalize as dlt_normalize
from dlt.normalize import worker as dlt_worker
from dlt.normalize.items_normalizers import ArrowItemsNormalizer, JsonLItemsNormalizer

from millstream.dlt_compat import contract
from millstream.engine.coercion import Coercion
from millstream.engine.dlt.arrow_normalizer import ArrowNormalizer
from millstream.engine.dlt.exact_normalizer import COERCIONS
from millstream.engine.dlt.normalizer import ColumnarNormalizer
from millstream.engine.dlt.quarantining_normalizer import NAMED, WATCHES, WatchedNormalizer
from millstream.engine.stats import FileStats
from millstream.formats import raw_part
from millstream.quarantine.rules import QuarantineRules

_worker: Any = dlt_worker
_normalize: Any = dlt_normalize

_LOOKS = 0.02
"""Seconds until dlt looks again whether its worker processes are done; its own figure is 0.3, a
sixth of what 500 MB of JSON take."""


@configspec
class EngineContext(ContainerInjectableContext):
    """Travels to spawned worker processes, where it puts the seam in place."""

    global_affinity: ClassVar[bool] = True
    worker_affinity: ClassVar[bool] = True

    keep_stats: bool = False
    columnar: bool = True
    watches: Any = None
    named: Any = None
    coercions: Any = None

    def after_add(self) -> None:
        WATCHES.update(self.watches or {})
        NAMED.update(self.named or ())
        COERCIONS.update(self.coercions or {})
        install(keep_stats=self.keep_stats, columnar=self.columnar)


_warned = False


def install(*, keep_stats: bool, columnar: bool = True) -> bool:
    """Put the engine where dlt's workers look for their normalizer; False where it does not fit.

    Args:
        columnar: False for dlt's own normalizer, watched.
    """
    global _warned
    FileStats.keep = keep_stats
    wanted = ColumnarNormalizer if columnar else WatchedNormalizer
    if _worker.JsonLItemsNormalizer is wanted:
        return True
    if problem := mismatch():
        if not _warned:
            warnings.warn(
                f"millstream's engine does not fit dlt {dlt.__version__} ({problem}): dlt's own "
                "normalizer is used, which is slower",
                stacklevel=3,
            )
        _warned = True
        return False
    _worker.JsonLItemsNormalizer = wanted
    _worker.ArrowItemsNormalizer = ArrowNormalizer
    if getattr(_normalize, "sleep", None) is signals.sleep:
        _normalize.sleep = _sleep
    return True


def _sleep(seconds: float) -> None:
    signals.sleep(min(seconds, _LOOKS))


def activate(*, keep_stats: bool, columnar: bool = True) -> bool:
    """Install the seam in this process and in the workers that it starts."""
    if not install(keep_stats=keep_stats, columnar=columnar):
        return False
    raw_part.Engine.reads = columnar
    context = EngineContext(keep_stats=keep_stats, columnar=columnar)
    # the workers get what these hold when they start
    context.watches, context.named = WATCHES, NAMED
    context.coercions = COERCIONS
    Container()[EngineContext] = context
    return True


def active() -> bool | None:
    """Whether workers leave counts, where the engine is in place; None where it is not."""
    return FileStats.keep if _worker.JsonLItemsNormalizer is ColumnarNormalizer else None


def watch(schema_name: str, how: QuarantineRules | None) -> None:
    """Quarantine what of a schema's rows can't be loaded; None ends that."""
    if how is None:
        WATCHES.pop(schema_name, None)
    else:
        WATCHES[schema_name] = how


def name_keys(schema_name: str, *, on: bool) -> None:
    """Whether `key_names` decides what keys of a schema's rows are called."""
    (NAMED.add if on else NAMED.discard)(schema_name)


def set_coercion(schema_name: str, coercion: Coercion | None) -> None:
    """Type a schema's rows as a pipeline asks for; None leaves them to dlt's own coercion."""
    if coercion is None:
        COERCIONS.pop(schema_name, None)
    else:
        COERCIONS[schema_name] = coercion


def deactivate() -> None:
    """Put dlt's own normalizer back."""
    raw_part.Engine.reads = False
    FileStats.keep = False
    _worker.JsonLItemsNormalizer = JsonLItemsNormalizer
    _worker.ArrowItemsNormalizer = ArrowItemsNormalizer
    if getattr(_normalize, "sleep", None) is _sleep:
        _normalize.sleep = signals.sleep
    container = Container()
    if EngineContext in container:
        del container[EngineContext]


def mismatch() -> str | None:
    """What of the installed dlt is not as the engine expects, or None."""
    if tuple(map(int, dlt.__version__.split(".")[:2])) != contract.SUPPORTED:
        return f"written for {'.'.join(map(str, contract.SUPPORTED))}"
    return contract.problem("engine")
