"""What a dlt pipeline has left: its state and schemas, in the destination or in its working folder.

A pipeline that was loaded from this machine has both. The one with the higher version of the state
counts, as for dlt itself. Everything happens on a copy of the folder: dlt's own stays as it is.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream import destinations
from millstream.common.metadata_tables import own_pipeline
from millstream.config import PipelineConfig
from millstream.destinations.duckdb_file import duckdb_file
from millstream.errors import ConfigError

if TYPE_CHECKING:
    import dlt


@dataclass(frozen=True, slots=True)
class DltPipeline:
    """What is known of a dlt pipeline whose rows are in the destination.

    Attributes:
        pipeline: on a copy of its working folder.
        schemas: by name.
        is_stored: whether the destination has its state, too; else its folder alone.
    """

    name: str
    pipeline: dlt.Pipeline
    schemas: Mapping[str, dlt.Schema]
    is_stored: bool

    @property
    def sources(self) -> Mapping[str, Any]:
        """The state of each source."""
        found: Mapping[str, Any] = self.pipeline.state.get("sources") or {}
        return found

    @property
    def newest_load(self) -> str | None:
        """The highest id of its loads."""
        found = [destinations.loads(self.pipeline, name) for name in self.schemas]
        return max((each.newest for each in found if each is not None), default=None)


def default_folder(name: str) -> Path | None:
    """Where dlt keeps the pipeline's working folder on this machine; None where there is none."""
    from dlt.common.pipeline import get_dlt_pipelines_dir

    folder = Path(get_dlt_pipelines_dir()) / name
    return folder if (folder / "state.json").is_file() else None


@contextmanager
def left_by_dlt(
    config: PipelineConfig, name: str, folder: Path | None = None
) -> Iterator[DltPipeline]:
    """Open what a dlt pipeline has left in the dataset of a Millstream pipeline.

    Args:
        config: names the destination and the dataset.
        folder: its working folder; looked for where dlt keeps it when left out.

    Raises:
        ConfigError: there is nothing of it there, or packages wait that it has not loaded.
    """
    _check_file(config, name)
    with tempfile.TemporaryDirectory(prefix="millstream-adopt-") as scratch, own_pipeline():
        stored = _pipeline(config, name, Path(scratch) / "stored")
        with destinations.reader(config):
            stored.sync_destination()
        is_stored = bool(stored.schema_names)
        found = stored
        if _copy(config, name, folder, Path(scratch) / "copied"):
            copied = _pipeline(config, name, Path(scratch) / "copied")
            if copied.has_pending_data:
                raise ConfigError(
                    f"the dlt pipeline {name!r} has packages that it has not loaded",
                    hint=f"run its script again, or `dlt pipeline {name} abort-packages`",
                )
            if not is_stored or _version(copied) > _version(stored):
                found = copied
        if not found.schema_names:
            raise ConfigError(
                f"the dataset {config.dataset!r} has nothing of a dlt pipeline {name!r}",
                hint="check the name of the pipeline and `destination.dataset`; the state of one "
                "that keeps it on its machine alone is in its working folder: --folder",
            )
        schemas = {each: found.schemas[each] for each in found.schema_names}
        if not is_stored:
            _check_tables(config, found, schemas.values())
        yield DltPipeline(name, found, schemas, is_stored)


def _check_file(config: PipelineConfig, name: str) -> None:
    """See that DuckDB's file is there: it would be made, empty.

    Raises:
        ConfigError: it is not.
    """
    if config.destination.type != "duckdb" or (file := duckdb_file(config)).exists():
        return
    raise ConfigError(
        f"{file}: not there, so the dlt pipeline {name!r} has loaded into another file",
        hint="let `destination.database` of defs.yaml name that; `--source --dry-run` prints a "
        "defs.yaml to begin with: correct it, and adopt without --source",
    )


def _check_tables(
    config: PipelineConfig, found: dlt.Pipeline, schemas: Iterable[dlt.Schema]
) -> None:
    """See that what a working folder alone tells of is in this very destination.

    Raises:
        ConfigError: none of its tables is.
    """
    tables = {
        str(table["name"]) for each in schemas for table in each.data_tables(seen_data_only=True)
    }
    with destinations.reader(config):
        if tables and not destinations.in_storage(found, tables):
            raise ConfigError(
                f"the dataset {config.dataset!r} has none of the tables that the dlt pipeline "
                f"{found.pipeline_name!r} has loaded",
                hint="let `destination` of defs.yaml name the database and the dataset that dlt "
                "has loaded into; where there is no defs.yaml yet, write one, with `source.path`, "
                "and adopt again without --source",
            )


def _pipeline(config: PipelineConfig, name: str, folder: Path) -> dlt.Pipeline:
    import dlt

    return dlt.pipeline(
        pipeline_name=name,
        pipelines_dir=str(folder),
        destination=destinations.build(config),
        dataset_name=config.dataset,
    )


def _version(pipeline: dlt.Pipeline) -> int:
    return int(pipeline.state["_state_version"])


@contextmanager
def attached(name: str, folder: Path | None = None) -> Iterator[dlt.Pipeline]:
    """A dlt pipeline as a copy of its working folder has it.

    Raises:
        ConfigError: there is no such folder.
    """
    import dlt

    found = folder or default_folder(name)
    if found is None or not (found / "state.json").is_file():
        where = f"{found}: not" if found else "there is not on this machine"
        raise ConfigError(
            f"{where} the working folder of the dlt pipeline {name!r}",
            hint=f"`dlt pipeline {name} info` says where it is; without one, write a project "
            "(`millstream init dlt DESTINATION`), let it name the dataset, and adopt into it",
        )
    with tempfile.TemporaryDirectory(prefix="millstream-adopt-") as scratch, own_pipeline():
        shutil.copytree(found, Path(scratch) / name)
        yield dlt.attach(name, pipelines_dir=scratch)


def _copy(config: PipelineConfig, name: str, folder: Path | None, to: Path) -> bool:
    """Copy the working folder, if it is that of this dataset.

    Raises:
        ConfigError: the folder that was named is not.
    """
    found = folder or default_folder(name)
    if found is None:
        return False
    with attached(name, found) as left:
        # of its type: a destination may have a name of its own
        kind = left.destination.destination_type.rpartition(".")[2] if left.destination else None
        if (left.dataset_name, kind) == (config.dataset, config.destination.type):
            shutil.copytree(found, to / name)
            return True
        dataset = left.dataset_name
    if folder is None:  # of another environment
        return False
    raise ConfigError(
        f"{folder}: it loads into {kind}, dataset {dataset!r}, and the pipeline "
        f"{config.name!r} into {config.destination.type}, dataset {config.dataset!r}",
        hint="let `destination` of defs.yaml name what dlt has loaded into",
    )
