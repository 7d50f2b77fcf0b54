"""PostgreSQL as dlt has it, and able to load what the engine writes for COPY.

dlt's own CSV job turns empty text into null (FORCE_NULL), so these files have a job of their own.
Files in any other format, such as those of a package that an earlier version left, stay with dlt.
"""

from __future__ import annotations

from typing import Any

from dlt.common.destination.client import HasFollowupJobs, RunnableLoadJob
from dlt.common.storages import FileStorage
from dlt.destinations import postgres
from dlt.destinations.impl.postgres.postgres import PostgresClient, PostgresCsvCopyJob
from psycopg2 import Error

from millstream.destinations import driver_prints
from millstream.dlt_compat import contract
from millstream.dlt_compat.databases import database_error
from millstream.formats import copy_files

contract.require("postgres")

_PIECE = 1 << 18
_FILE = 64 << 20
# how the server compresses long values, in this transaction: LZ4, where it has it and nobody chose
# another. With pglz, its default, a COPY of 325 MB took it 7.9 s of CPU, with LZ4 6.2
_COMPRESS_BY_LZ4 = """
    SELECT set_config(name, 'lz4', true) FROM pg_settings
    WHERE name = 'default_toast_compression' AND source = 'default' AND 'lz4' = ANY (enumvals)
"""


class CopyJob(RunnableLoadJob, HasFollowupJobs):
    """Loads one file by one COPY, in a transaction."""

    _job_client: Any

    def run(self) -> None:
        client = self._job_client.sql_client
        table = client.make_qualified_table_name(self.load_table_name)
        with FileStorage.open_zipsafe_ro(self._file_path, "rb") as file:
            names = copy_files.columns(file)
            if not names:  # a table without columns, and so without rows
                return
            columns = ", ".join(client.escape_column_name(name) for name in names)
            copy = f"COPY {table} ({columns}) FROM STDIN WITH (FORMAT csv, ENCODING 'UTF8')"
            with driver_prints.heard() as hidden:
                try:
                    with client.begin_transaction(), client.native_connection.cursor() as cursor:
                        cursor.execute(_COMPRESS_BY_LZ4)
                        cursor.copy_expert(copy, file, size=_PIECE)
                except Exception as raised:
                    error = next((e for e in (*hidden, raised) if isinstance(e, Error)), None)
                    if error is None:
                        raise
                    # what no second attempt can mend fails at once, as with dlt's other jobs
                    raise database_error(client, error) from error


class CopyClient(PostgresClient):
    """dlt's client, with a job for the engine's files."""

    def create_load_job(
        self, table: Any, file_path: str, load_id: str, restore: bool = False
    ) -> Any:
        job = super().create_load_job(table, file_path, load_id, restore)
        if not isinstance(job, PostgresCsvCopyJob):
            return job
        with FileStorage.open_zipsafe_ro(file_path, "rb") as file:
            return job if copy_files.columns(file) is None else CopyJob(file_path)


class CopyPostgres(postgres):
    """dlt's destination, called as dlt calls it, with that client."""

    @property
    def destination_type(self) -> str:
        return "dlt.destinations.postgres"

    @property
    def client_class(self) -> type[CopyClient]:
        return CopyClient

    def _raw_capabilities(self) -> Any:
        found = super()._raw_capabilities()
        setattr(found, copy_files.CAPABILITY, True)
        # several files of a table are copied side by side
        found.recommended_file_size = _FILE
        return found
