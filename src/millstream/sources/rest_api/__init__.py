"""Any REST API that dlt's declarative `rest_api` configuration describes."""

from millstream.sources.rest_api.source import RestApiSource

__all__ = ["RestApiSource"]
