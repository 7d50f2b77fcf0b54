"""A pipeline's schemas, read again only where their files have changed.

dlt reads the file of a schema, and builds the schema anew, each time that it is asked for it: some
forty times in a run, which is a fifth of a short one's CPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlt.common.storages.live_schema_storage import LiveSchemaStorage

from millstream.dlt_compat import contract

if TYPE_CHECKING:
    import dlt

_Stamp = tuple[int, int, int]


def read_once(pipeline: dlt.Pipeline) -> None:
    """Let a pipeline keep a schema as long as its file stays as it is; else it works as before."""
    is_dlts = type(pipeline.schemas) is LiveSchemaStorage
    if is_dlts and contract.problem("schemas") is None:
        schemas: Any = pipeline.schemas
        schemas.known = {}
        schemas.__class__ = _ReadOnce


class _ReadOnce(LiveSchemaStorage):
    """
    Attributes:
        known: of each schema the file, and the hash of what it holds, as last read.
    """

    known: dict[str, tuple[_Stamp, str | None]]

    def __getitem__(self, name: str) -> dlt.Schema:
        live, stamp = self.live_schemas.get(name), self._stamp(name)
        if live is not None and stamp is not None:
            is_known = self.known.get(name) == (stamp, live.stored_version_hash)
            if is_known and not live.is_modified:
                return live
        found = super().__getitem__(name)
        if stamp is not None and not found.is_modified:
            self.known[name] = stamp, found.stored_version_hash
        return found

    def _stamp(self, name: str) -> _Stamp | None:
        """What tells a file from the one of before; None where another file may be read, too."""
        if self.config.import_schema_path:
            return None
        file = self.NAMED_SCHEMA_FILE_PATTERN % (name, "json")
        try:
            stat = Path(self.storage.make_full_path(file)).stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
