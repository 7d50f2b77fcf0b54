"""The component `millstream.Pipeline`: what a `defs.yaml` of that type says, as definitions."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components import DefsStateConfig, DefsStateConfigArgs, scaffold_with
from pydantic import BaseModel, ConfigDict

from millstream import sources
from millstream.config import (
    DAGSTERS,
    PipelineConfig,
    load_dotenv,
    parse_pipeline,
    project_of,
    unset_variables,
)
from millstream.config.json_schema import attributes_schema
from millstream.config.yaml_limits import ensure_bounded
from millstream.errors import ConfigError
from millstream.orchestration.assets import LoadConfig, Result, definitions_of, load
from millstream.orchestration.scaffolder import PipelineScaffolder
from millstream.orchestration.translation import TableData, translate
from millstream.orchestration.yaml_dates import restore_dates

_UNSET_HINT = "put it into .env, or into the environment of Dagster's processes"


class PipelineAttributes(BaseModel):
    """The attributes as they were written: templates not yet filled in, nothing checked.

    Dagster validates a component's attributes before it fills in templates. Ours are checked
    afterwards, by the model that `millstream run` uses too; the schema shown to people, editors
    and `dg check yaml` is that model's, with room for templates.
    """

    model_config = ConfigDict(extra="allow")

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return attributes_schema(*args, **kwargs)


@scaffold_with(PipelineScaffolder)
@dataclass(frozen=True)
class Pipeline(dg.StateBackedComponent):
    """Load a source into linked tables: each stream an asset, and each child table too.

    Makes a step for each stream, a job with the pipeline's name, for MongoDB one for each database
    and each collection too, and a schedule where one is set. A subclass may override
    `get_asset_spec` and `execute`. `millstream run` takes the same file. Credentials come from the
    environment, `.env` or dlt's `secrets.toml` when a run needs them; never from `defs.yaml`.

    Where the source is asked once for its streams, as a database is, the answer lies in a file
    beside `defs.yaml`, from which definitions load. `dg utils refresh-defs-state` asks again, as
    `millstream discover` does.
    """

    config: PipelineConfig
    templates: dg.ResolutionContext | None = field(default=None, repr=False, compare=False)
    """What templates of `translation` and `assets` know beside `stream`, `table` and `spec`."""
    unset: str | None = field(default=None, repr=False, compare=False)
    """Which variables templates name that are not set, in a sentence: Dagster reads `None`."""

    def get_asset_spec(self, data: TableData) -> dg.AssetSpec:
        """The spec of one asset: `data.spec` with what `translation` and `assets` say."""
        return translate(self.config, data, self.templates)

    def execute(self, context: dg.AssetExecutionContext, config: LoadConfig) -> Iterable[Result]:
        """What a step does: load its selected streams, and yield a result for each asset.

        Raises:
            ConfigError: a template names a variable that is not set. Definitions load without it,
                as where they are only checked; a run would load something else, or elsewhere.
        """
        if self.unset:
            raise ConfigError(self.unset, hint=_UNSET_HINT)
        yield from load(self.config, context, config)

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        return PipelineAttributes

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        return dg.ComponentTypeSpec(
            description=cls.__doc__,
            produces=["asset", "job", "schedule"],
            tags=["ingestion", "dlt"],
        )

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Pipeline:
        """Fill in the templates, then check.

        Raises:
            ConfigError: naming the file and each wrong attribute, or a duplicate key.
        """
        written = attributes.model_dump() if attributes is not None else {}
        folder = context.path if context.path.is_dir() else context.path.parent
        if (file := _file(folder)).is_file():
            text = file.read_text(encoding="utf-8")
            # Dagster has read it, and kept the last of two
            ensure_bounded(text, file, unique=True)
            written = restore_dates(written, text)
        load_dotenv(project_of(folder))  # as `millstream run` does
        asked = {name: value for name, value in written.items() if name not in DAGSTERS}
        missing = ", ".join(unset_variables(asked))
        unset = f"{file}: not set in the environment: {missing}" if missing else None
        templates = context.resolution_context.at_path("attributes")
        resolved = {
            # some of them are filled in for one asset after the other
            name: value if name in DAGSTERS else templates.at_path(name).resolve_value(value)
            for name, value in written.items()
        }
        try:
            config = parse_pipeline(
                resolved, where=str(file), project=project_of(folder), folder=folder
            )
        except ConfigError as error:
            if unset is None:
                raise
            raise ConfigError(f"{error.message}\n{unset}", hint=_UNSET_HINT) from None
        loaded = cls(config, templates, unset)
        if loaded._discovering is not None:
            context.component_tree.mark_component_defs_state_key(
                context.component_loc, loaded.defs_state_config.key
            )
        return loaded

    @property
    def defs_state_config(self) -> DefsStateConfig:
        # docs/decisions/0005-what-is-discovered-lies-beside-defs-yaml.md
        kind = (
            DefsStateConfigArgs.local_filesystem()
            if self._discovering is not None
            else DefsStateConfigArgs.legacy_code_server_snapshots()  # never refreshed from outside
        )
        return DefsStateConfig.from_args(
            kind.model_copy(update={"refresh_if_dev": False}),
            default_key=f"millstream.Pipeline[{self.config.name}]",
        )

    def write_state_to_path(self, state_path: Path) -> None:
        """Ask the source for its streams again; Dagster keeps a copy of the answer.

        Raises:
            SourceError: it can't be reached.
            ConfigError: the answer can't be kept beside `defs.yaml`.
        """
        if self._discovering is not None:
            load_dotenv(self.config.project)
            shutil.copyfile(self._discovering.discover(), state_path)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        return self.build_defs_from_state(context, None)

    def build_defs_from_state(
        self, context: dg.ComponentLoadContext, state_path: Path | None
    ) -> dg.Definitions:
        """From the file beside `defs.yaml`, whatever Dagster keeps: it is what people reviewed."""
        if self._discovering is not None and not self._discovering.is_known():
            warnings.warn(
                f"pipeline {self.config.name!r} has no assets yet: its streams are not known; "
                "run `millstream discover`, or `dg utils refresh-defs-state`",
                stacklevel=2,
            )
            return dg.Definitions()
        return definitions_of(self.config, self.get_asset_spec, self.execute)

    @property
    def _discovering(self) -> sources.Discovering | None:
        source = sources.of_pipeline(self.config)
        return source if isinstance(source, sources.Discovering) else None


def _file(folder: Path) -> Path:
    return next((folder / n for n in ("defs.yaml", "defs.yml") if (folder / n).is_file()), folder)
