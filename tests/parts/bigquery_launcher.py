"""Starts the BigQuery emulator `local-bigquery`, in its own environment: see bigquery.py.

Run as: PYTHON bigquery_launcher.py PORT GRPC_PORT DATA_DIR
"""

import gzip
import pathlib
import sys

import duckdb_extensions

# the emulator would download these
for extension in ("icu", "ducklake", "spatial"):
    duckdb_extensions.import_extension(extension)

from local_bigquery import cli  # noqa: E402
from local_bigquery.jobs import load  # noqa: E402
from local_bigquery.jobs import runner  # noqa: E402

_load = load.run


def _gunzipped(cursor, config, upload):
    """BigQuery reads compressed uploads; the emulator does not, so unpack them before it looks."""
    if upload:
        file = pathlib.Path(upload)
        data = file.read_bytes()
        if data[:2] == b"\x1f\x8b":
            file.write_bytes(gzip.decompress(data))
    return _load(cursor, config, upload)


for kind, handler in list(runner.HANDLERS.items()):
    if handler is _load:
        runner.HANDLERS[kind] = _gunzipped

port, grpc_port, data_dir = sys.argv[1:]
cli.main(
    ["serve", "--host", "127.0.0.1", "--port", port, "--grpc-port", grpc_port]
    + ["--project", "test", "--data-dir", data_dir]
)
