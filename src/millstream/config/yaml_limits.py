"""YAML that is small enough to be read: a few lines may stand for more than any memory holds."""

from __future__ import annotations

from pathlib import Path

from millstream.errors import ConfigError

DEEPEST = 64
LARGEST = 2_000_000
"""Nodes, those counted again that an alias repeats."""


def ensure_bounded(text: str, path: Path, *, unique: bool = False) -> None:
    """Return if `text`, read as YAML, makes an object of bounded depth and size.

    Looks at the parser's events, which take no more memory than the text. What is no YAML is left
    to the one who reads it.

    Args:
        unique: duplicate keys are refused; a parser would keep the last.

    Raises:
        ConfigError: too deep, too large, an alias of what it is part of, or a key twice.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    sizes: dict[str, int] = {}
    above: list[tuple[str | None, int]] = []  # anchor, and the count when it began
    keys: list[set[str] | None] = []  # of the mappings around; None for a sequence
    turns: list[int] = []  # of their nodes: a key, its value, the next key
    count = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            if unique and turns and isinstance(event, yaml.NodeEvent):
                turns[-1] += 1
                known = keys[-1]
                if known is not None and turns[-1] % 2 and isinstance(event, yaml.ScalarEvent):
                    if event.value in known:
                        twice = f"duplicate key `{event.value[:60]}`"
                        raise _refused(path, event, twice, "take one of them out")
                    known.add(event.value)
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                count += 1
                above.append((event.anchor, count))
                keys.append(set() if isinstance(event, yaml.MappingStartEvent) else None)
                turns.append(0)
                sizes.pop(event.anchor or "", None)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                anchor, began = above.pop()
                keys.pop()
                turns.pop()
                if anchor:
                    sizes[anchor] = count - began + 1
            elif isinstance(event, yaml.ScalarEvent):
                count += 1
                if event.anchor:
                    sizes[event.anchor] = 1
            elif isinstance(event, yaml.AliasEvent):
                if any(event.anchor == anchor for anchor, _ in above):
                    raise _refused(path, event, f"`*{event.anchor}` is part of itself")
                count += sizes.get(event.anchor or "", 1)
            if len(above) > DEEPEST:
                raise _refused(path, event, f"nested more than {DEEPEST} levels deep")
            if count > LARGEST:
                raise _refused(path, event, f"more than {LARGEST:,} values")
    except (yaml.YAMLError, ValueError, OverflowError):
        return


def _refused(
    path: Path, event: object, what: str, hint: str = "write it out, without aliases, and flatter"
) -> ConfigError:
    mark = getattr(event, "start_mark", None)
    line = f":{mark.line + 1}" if mark else ""
    return ConfigError(f"{path}{line}: {what}", hint=hint)
