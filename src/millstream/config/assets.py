"""What a pipeline's file tells Dagster of its assets, over what Millstream says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from pydantic.config import JsonDict

from millstream.config.base import Model, OneOrMany

_TEMPLATE: JsonDict = {"type": "string"}


class AssetAttributes(Model):
    """Attributes of Dagster's assets. Templates know `stream`, `table` and `spec`."""

    key: str | None = Field(default=None, description="The asset's key, such as `raw/orders`.")
    description: str | None = Field(default=None, description="What the asset's page says first.")
    group_name: str | None = Field(default=None, description="Dagster's asset group.")
    kinds: OneOrMany = Field(
        default=(), description="Instead of the source's type, the destination's and `table`."
    )
    owners: OneOrMany = Field(default=(), description="E-mail addresses or `team:NAME`.")
    tags: Mapping[str, str | int | float | bool] = Field(
        default_factory=dict, description="Dagster's tags, added to those of the pipeline."
    )
    metadata: Mapping[str, Any] = Field(
        default_factory=dict, description="Dagster's metadata, added to what Millstream says."
    )
    deps: OneOrMany = Field(
        default=(), description="Assets upstream, such as `crm/export`, added to those it has."
    )
    automation_condition: Any = Field(
        default=None,
        description="When Dagster materializes it by itself, as a template: "
        "`\"{{ dg.AutomationCondition.on_cron('0 6 * * *') }}\"`.",
        json_schema_extra=_TEMPLATE,
    )
    freshness_policy: Any = Field(
        default=None,
        description="Dagster's freshness policy, as a template.",
        json_schema_extra=_TEMPLATE,
    )
    code_version: str | None = Field(default=None, description="Dagster's code version.")


class Translation(AssetAttributes):
    """Attributes of all assets of a pipeline, as Dagster's own components take them."""

    key_prefix: OneOrMany = Field(default=(), description="What the asset's key begins with.")
