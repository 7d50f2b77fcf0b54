"""What a pipeline says of its assets itself, over what Millstream says of them.

specs.py               key, deps, description, metadata, group, owners, tags, kinds
`translation`          of all assets
`assets: {orders: }`   of one stream; its child tables take group, kinds, owners and tags
`get_asset_spec`       of a component's subclass
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from millstream.config import PipelineConfig
from millstream.config.assets import AssetAttributes
from millstream.errors import ConfigError
from millstream.model import Stream, Table


@dataclass(frozen=True, slots=True)
class TableData:
    """What an asset stands for.

    Attributes:
        stream: the stream that loads it.
        table: the table; before the first load little more than its name is known.
        spec: the asset as Millstream describes it.
        is_root: whether it is the stream's own table.
    """

    stream: Stream
    table: Table
    spec: dg.AssetSpec
    is_root: bool = True


Translate = Callable[[TableData], dg.AssetSpec]

_OF_CHILDREN = ("group_name", "kinds", "owners", "tags")


def translate(
    config: PipelineConfig, data: TableData, templates: dg.ResolutionContext | None = None
) -> dg.AssetSpec:
    """The spec of an asset with what `translation` and `assets` of the configuration say.

    Args:
        templates: what templates know beside `stream`, `table` and `spec`; where left out, what
            they know in each of Dagster's files.

    Raises:
        ConfigError: a template can't be filled in, or what it says is not an asset's.
    """
    own = config.assets.get(data.stream.name)
    spec = data.spec
    for name, attributes in (("translation", config.translation), ("assets", own)):
        if attributes is None:
            continue
        chosen = attributes.model_dump(exclude_unset=True)
        if name == "assets" and not data.is_root:
            chosen = {each: chosen[each] for each in _OF_CHILDREN if each in chosen}
        if name == "translation" and own is not None and own.key is not None:
            chosen.pop("key", None)  # a child's is made of its stream's
            chosen.pop("key_prefix", None)
        where = name if name == "translation" else f"assets.{data.stream.name}"
        spec = _applied(spec, chosen, where, data, templates or dg.ResolutionContext.default())
    return spec


def own_key(config: PipelineConfig, stream: Stream) -> dg.AssetKey | None:
    """The key that the file gives to a stream's own asset."""
    attributes: AssetAttributes | None = config.assets.get(stream.name)
    if attributes is None or attributes.key is None:
        return None
    return dg.AssetKey.from_user_string(attributes.key)


def _applied(
    spec: dg.AssetSpec,
    attributes: Mapping[str, Any],
    where: str,
    data: TableData,
    templates: dg.ResolutionContext,
) -> dg.AssetSpec:
    scope = templates.with_scope(stream=data.stream, table=data.table, spec=spec)
    try:
        found = {name: scope.resolve_value(value) for name, value in attributes.items()}
        prefix, key = found.pop("key_prefix", ()), found.pop("key", None)
        added = {
            "deps": [_key(each) for each in _listed(found.pop("deps", ()))],
            "metadata": found.pop("metadata", {}),
            "tags": {name: _text(value) for name, value in found.pop("tags", {}).items()},
        }
        if "kinds" in found:
            found["kinds"] = set(_listed(found["kinds"]))
        if "owners" in found:
            found["owners"] = _listed(found["owners"])
        if key is not None or prefix:
            found["key"] = (spec.key if key is None else _key(key)).with_prefix(_listed(prefix))
        return spec.replace_attributes(**found).merge_attributes(**added)
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise ConfigError(
            f"{where}, of {spec.key.to_user_string()}: {said}",
            hint="templates know `stream.name`, `stream.place`, `table.name`, `table.parent` and "
            "`spec`",
        ) from error


def _key(value: Any) -> dg.AssetKey:
    return value if isinstance(value, dg.AssetKey) else dg.AssetKey.from_user_string(str(value))


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
