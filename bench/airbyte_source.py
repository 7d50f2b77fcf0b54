"""An Airbyte source of one stream, `issues`: the lines of a file. PyAirbyte starts it as a program.

https://docs.airbyte.com/platform/understanding-airbyte/airbyte-protocol
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    list: "array",
}


def say(kind: str, content: Any) -> None:
    name = {"CONNECTION_STATUS": "connectionStatus"}.get(kind, kind.lower())
    sys.stdout.buffer.write(orjson.dumps({"type": kind, name: content}) + b"\n")


def catalog(file: str) -> Any:
    """The stream, with the types that its first 1,000 lines have."""
    properties: dict[str, set[str]] = {}
    with Path(file).open("rb") as lines:
        for _, line in zip(range(1000), lines):
            for key, value in orjson.loads(line).items():
                types = properties.setdefault(key, {"null"})
                if value is not None:
                    types.add(_TYPES[type(value)])
    schema = {
        "type": "object",
        "properties": {key: {"type": sorted(types)} for key, types in properties.items()},
    }
    stream = {"name": "issues", "json_schema": schema, "supported_sync_modes": ["full_refresh"]}
    return {"streams": [stream]}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("spec", "check", "discover", "read"))
    for name in ("--config", "--catalog", "--state"):
        parser.add_argument(name)
    options = parser.parse_args()
    if options.command == "spec":
        wanted = {"type": "object", "properties": {"file": {"type": "string"}}}
        say("SPEC", {"connectionSpecification": wanted})
        return
    file = orjson.loads(Path(options.config).read_bytes())["file"]
    if options.command == "check":
        say("CONNECTION_STATUS", {"status": "SUCCEEDED"})
    elif options.command == "discover":
        say("CATALOG", catalog(file))
    else:
        before = b'{"type":"RECORD","record":{"stream":"issues","emitted_at":0,"data":'
        with Path(file).open("rb") as lines:
            for line in lines:
                sys.stdout.buffer.write(before + line.rstrip() + b"}}\n")


if __name__ == "__main__":
    main()
