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

from local_bigquery import cli, models  # noqa: E402
from local_bigquery.catalog import tables  # noqa: E402
from local_bigquery.jobs import load, runner  # noqa: E402

_load = load.run


def _as_bigquery_does(cursor, config, upload):
    """Load an upload, with two things that BigQuery does and the emulator leaves out.

    It unpacks what is compressed, and reads JSON by the schema of the table where the job brings
    none: without it, base64 stays base64 in a column of bytes.
    """
    if upload:
        file = pathlib.Path(upload)
        data = file.read_bytes()
        if data[:2] == b"\x1f\x8b":
            file.write_bytes(gzip.decompress(data))
    if config.sourceFormat == "NEWLINE_DELIMITED_JSON" and not config.schema_:
        fields = tables.columns(*tables.reference(config.destinationTable))
        config = config.replace(schema_=models.TableSchema(fields=fields))
    return _load(cursor, config, upload)


for kind, handler in list(runner.HANDLERS.items()):
    if handler is _load:
        runner.HANDLERS[kind] = _as_bigquery_does

port, grpc_port, data_dir = sys.argv[1:]
cli.main(
    [
        *f"serve --host 127.0.0.1 --port {port} --grpc-port {grpc_port} --project test".split(),
        "--data-dir",
        data_dir,
    ]
)
