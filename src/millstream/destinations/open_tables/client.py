"""dlt's filesystem destination and its client, with these tables."""

from __future__ import annotations

from threading import Lock
from typing import Any

from dlt.destinations import filesystem
from dlt.destinations.impl.filesystem.filesystem import FilesystemClient, HfFilesystemClient

from millstream.destinations.table_formats import PACKAGES, format_of
from millstream.dlt_compat import contract

contract.require("open_tables")

_naming = Lock()


class OpenTableClient(FilesystemClient):
    """dlt's client, which takes out what a merge leaves before it calls a load complete."""

    @property
    def sql_client_class(self) -> Any:
        from millstream.destinations.open_tables.views import OpenTableSqlClient

        return OpenTableSqlClient

    @property
    def sql_client(self) -> Any:
        if not self._sql_client:
            self._sql_client = self.sql_client_class(self, self.dataset_name)
        return self._sql_client

    @sql_client.setter
    def sql_client(self, client: Any) -> None:
        self._sql_client = client

    def get_open_table_catalog(self, table_format: Any, catalog_name: str | None = None) -> Any:
        with _naming:  # of two jobs that find no namespace in a database, one would fail
            return super().get_open_table_catalog(table_format, catalog_name)

    @staticmethod
    def get_reference_followup_job_class(table: Any) -> Any:
        table_format = table.get("table_format")
        if table_format not in PACKAGES:
            return FilesystemClient.get_reference_followup_job_class(table)
        from millstream.destinations.open_tables import jobs

        return jobs.DeltaJob if table_format == "delta" else jobs.IcebergJob

    def complete_load(self, load_id: str) -> None:
        merged = [
            str(table["name"])
            for table in self.schema.data_tables()
            if not table.get("parent")
            and table.get("write_disposition") == "merge"
            and format_of(self.schema, str(table["name"]))
        ]
        if merged:
            from millstream.destinations.open_tables import removal

            removal.take_out_stale_items(self, merged, load_id)
        super().complete_load(load_id)


class OpenTables(filesystem):
    """dlt's destination, called as dlt calls it, with that client."""

    @property
    def destination_type(self) -> str:
        return "dlt.destinations.filesystem"

    @property
    def client_class(self) -> type[FilesystemClient]:
        return HfFilesystemClient if self.is_hf else OpenTableClient
