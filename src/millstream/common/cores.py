"""How many cores this process may use: what a container allows counts, not what the machine has."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores(environ: Callable[[str], str | None] = os.environ.get, cgroup: Path = _CGROUP) -> int:
    """The cores that a run's threads may keep busy, at least one.

    `MILLSTREAM_THREADS`, where it is a number; else as many as the process is bound to (`taskset`)
    and its control group allows (`docker run --cpus`, Kubernetes' `limits.cpu`), rounded up.
    """
    with suppress(TypeError, ValueError):
        return max(int(environ("MILLSTREAM_THREADS")), 1)  # type: ignore[arg-type]
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(min(bound or 1, _allowed(cgroup) or bound or 1), 1)


def _allowed(cgroup: Path) -> int | None:
    """What a control group allows: cpu.max of version 2, or the two files of version 1.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, "CPU Interface Files".
    """
    with suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else ceil(int(quota) / int(period))
    with suppress(OSError, ValueError):
        quota, period = (
            (cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
        )
        return ceil(int(quota) / int(period)) if int(quota) > 0 else None
    return None
