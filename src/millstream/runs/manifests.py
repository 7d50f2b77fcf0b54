"""What a run's packages consist of, so that none is loaded that lost a file or has other bytes.

    RUN/manifests/LOAD_ID.extracted     the files of a package as extract left them
    RUN/manifests/LOAD_ID.normalized    as normalize left them, with the rows by table

Each has the CRC-32 of the rest in its first line, then JSON: size and CRC-32 of each file. A CRC-32
finds any burst of 32 bits, and reads 2 GB/s, which no cryptographic hash of the standard library
does. A package without a manifest is of an older version, or its process died before it was
complete; it is loaded as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, Literal
from zlib import crc32

from millstream.common import atomic_write

Stage = Literal["extracted", "normalized"]

_FOLDERS: dict[Stage, tuple[str, ...]] = {
    # before a load its files are linked to `kept`; what the load left of the package is not used
    "normalized": ("kept/{}", "*/load/normalized/{}"),
    "extracted": ("*/normalize/extracted/{}",),
}
_BESIDE: dict[Stage, tuple[str, ...]] = {
    "normalized": ("before.yaml", "counted.json", "refresh.json", "*/engine/{}/*.json"),
    "extracted": ("before.yaml", "order.json", "refresh.json"),
}
_CHUNK = 1 << 20
_PACKAGE = "package"


def write(run: Path, load_id: str, stage: Stage, rows: Mapping[str, int] | None = None) -> None:
    """Note what a package consists of, once it is complete; keep a manifest that is there."""
    target = _path(run, load_id, stage)
    if target.exists():
        return
    files = _files(run, load_id, stage)
    if files is None:
        return
    with ThreadPoolExecutor(2) as pool:
        sums = list(pool.map(_checksum, files.values()))
    document = {
        "files": {
            name: {"size": path.stat().st_size, "crc32": checksum}
            for (name, path), checksum in zip(files.items(), sums)
        },
        "rows": dict(rows or {}),
    }
    data = json.dumps(document).encode()
    target.parent.mkdir(exist_ok=True)
    atomic_write.write(target, b"%08x\n" % crc32(data) + data)


def write_in_background(run: Path, load_ids: Iterable[str], stage: Stage) -> Thread:
    """Do the same while these packages are worked on; the thread ends by itself."""

    def work() -> None:
        with suppress(OSError):  # normalized by now, which has a manifest of its own
            for load_id in load_ids:
                write(run, load_id, stage)

    thread = Thread(target=work, name="millstream-manifest", daemon=True)
    thread.start()
    return thread


def forget(run: Path, load_id: str, stage: Stage) -> None:
    """The files of a package are about to be changed on purpose."""
    _path(run, load_id, stage).unlink(missing_ok=True)


def damages(run: Path, load_id: str, *, fully: bool) -> list[str]:
    """What is wrong with a package, each with its file; nothing where it is whole.

    Args:
        fully: read each file; else compare which there are, and their sizes.
    """
    for stage in _FOLDERS:
        files = _files(run, load_id, stage)
        if files is None:
            continue
        target = _path(run, load_id, stage)
        try:
            known = _load(target)
        except FileNotFoundError:
            return []
        except ValueError:
            return [f"{target.relative_to(run)}: the manifest has other bytes than were written"]
        return list(_compare(known["files"], files, fully=fully))
    return []


def names_jobs(run: Path, load_id: str) -> bool:
    """Whether an extracted package had files with rows, as far as its manifest tells."""
    try:
        files: Mapping[str, Any] = _load(_path(run, load_id, "extracted"))["files"]
    except FileNotFoundError:
        return False
    except ValueError:  # damaged: nobody knows
        return True
    return any("_jobs/" in name for name in files)


def rows(run: Path, load_id: str) -> Mapping[str, int]:
    """The rows of a normalized package, by table; empty where nobody noted them."""
    try:
        found: Mapping[str, int] = _load(_path(run, load_id, "normalized"))["rows"]
    except (OSError, ValueError):
        return {}
    return found


def _compare(known: Mapping[str, Any], files: Mapping[str, Path], *, fully: bool) -> Iterator[str]:
    for name, entry in known.items():
        path = files.get(name)
        if path is None:
            yield f"{name}: missing"
        elif (size := path.stat().st_size) != entry["size"]:
            yield f"{name}: {size:,} bytes instead of {entry['size']:,}"
        elif fully and _checksum(path) != entry["crc32"]:
            yield f"{name}: has other bytes than were written"
    for name in files.keys() - known.keys():
        yield f"{name}: is not part of the package"


def _files(run: Path, load_id: str, stage: Stage) -> dict[str, Path] | None:
    """The files of a package, by names that do not change; None where it is not there."""
    for pattern in _FOLDERS[stage]:
        for folder in run.glob(pattern.format(load_id)):
            found = {
                f"{_PACKAGE}/{path.relative_to(folder)}": path
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            for beside in _BESIDE[stage]:
                paths = sorted(run.glob(beside.format(load_id)))
                found.update({str(path.relative_to(run)): path for path in paths})
            return found
    return None


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            value = crc32(chunk, value)
    return value


def _path(run: Path, load_id: str, stage: Stage) -> Path:
    return run / "manifests" / f"{load_id}.{stage}"


def _load(path: Path) -> Any:
    checksum, _, data = path.read_bytes().partition(b"\n")
    if checksum != b"%08x" % crc32(data):
        raise ValueError(path.name)
    return json.loads(data)
