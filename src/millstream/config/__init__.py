"""Files and environment -> frozen configuration; nothing else in the package reads either.

A pipeline is described once, in `defs.yaml`. Dagster hands its `attributes` to the same models that
`millstream run` reads here. Credentials are never part of it: `credential()` finds them when a run
needs them, in the environment, `.env` or dlt's `secrets.toml`, under the names that dlt documents.
"""

from __future__ import annotations

from millstream.config.assets import AssetAttributes, Translation
from millstream.config.checks import ProfileCheckConfig, SchemaCheckConfig
from millstream.config.environment import (
    credential,
    dagster_url,
    data_dir,
    load_dotenv,
    make_private_folder,
)
from millstream.config.files import FilesConfig, FileStream
from millstream.config.governance import (
    AlertConfig,
    AppriseAlert,
    EmailAlert,
    PolicyConfig,
    PolicyRule,
    QuarantineConfig,
    SlackAlert,
    WebhookAlert,
)
from millstream.config.loader import (
    COMPONENT_TYPE,
    DAGSTERS,
    pipelines_below,
    project_of,
    read_pipeline,
    unset_variables,
)
from millstream.config.partitions import PartitionsConfig, StaticPartitions, TimePartitions, between
from millstream.config.pipeline import (
    DestinationConfig,
    PipelineConfig,
    TargetConfig,
    parse_pipeline,
)
from millstream.config.rest_api import RestApiConfig
from millstream.config.sources import (
    DltConfig,
    GitHubConfig,
    GitHubStream,
    MongoDBCollection,
    MongoDBConfig,
    SourceConfig,
)
from millstream.config.sql_database import SqlDatabaseConfig, SqlTable

__all__ = [
    "COMPONENT_TYPE",
    "DAGSTERS",
    "AlertConfig",
    "AppriseAlert",
    "AssetAttributes",
    "DestinationConfig",
    "DltConfig",
    "EmailAlert",
    "FileStream",
    "FilesConfig",
    "GitHubConfig",
    "GitHubStream",
    "MongoDBCollection",
    "MongoDBConfig",
    "PartitionsConfig",
    "PipelineConfig",
    "PolicyConfig",
    "PolicyRule",
    "ProfileCheckConfig",
    "QuarantineConfig",
    "RestApiConfig",
    "SchemaCheckConfig",
    "SlackAlert",
    "SourceConfig",
    "SqlDatabaseConfig",
    "SqlTable",
    "StaticPartitions",
    "TargetConfig",
    "TimePartitions",
    "Translation",
    "WebhookAlert",
    "between",
    "credential",
    "dagster_url",
    "data_dir",
    "load_dotenv",
    "make_private_folder",
    "parse_pipeline",
    "pipelines_below",
    "project_of",
    "read_pipeline",
    "unset_variables",
]
