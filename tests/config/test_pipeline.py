"""What a pipeline is made of, and what follows from it."""

import pytest

from millstream.config.pipeline import PipelineConfig, parse_pipeline
from millstream.errors import ConfigError

GITHUB = {"type": "github", "repositories": ["duckdb/duckdb"]}


def parse(tmp_path, **attributes):
    base = {"name": "github_issues", "source": GITHUB}
    return parse_pipeline({**base, **attributes}, where="defs.yaml", project=tmp_path)


def test_defaults(tmp_path):
    config = parse(tmp_path)
    assert config.source.streams == ("issues",)
    assert config.destination.type == "duckdb"
    assert config.dataset == "github_issues"
    assert parse(tmp_path, destination={"dataset": "raw"}).dataset == "raw"


def test_a_primary_key_is_a_name_or_a_list(tmp_path):
    streams = {"a": {"path": "x", "primary_key": "id"}, "b": {"path": "y", "primary_key": ["k"]}}
    config = parse(tmp_path, source={"type": "files", "streams": streams})
    assert [each.primary_key for each in config.source.streams.values()] == [("id",), ("k",)]


def test_the_objects_that_are_maps_wherever_the_file_names_them(tmp_path):
    streams = {"a": {"path": "x", "maps": ["users", "by.day"]}, "b": {"path": "y"}}
    maps = {"a": ["by.day", "tags"], "b": ["c"]}
    config = parse(tmp_path, source={"type": "files", "streams": streams}, maps=maps)
    assert config.maps_of("a") == ("users", "by.day", "tags")
    assert (config.maps_of("b"), config.maps_of("other")) == (("c",), ())
    assert parse(tmp_path, maps={"issues": ["user"]}).maps_of("issues") == ("user",)


@pytest.mark.parametrize(
    ("source", "streams_at_once", "has_jobs", "names_keys"),
    [
        (GITHUB, 1, False, True),
        ({"type": "mongodb"}, 4, True, True),
        ({"type": "dlt", "path": "a:b"}, 1, False, False),
    ],
)
def test_defaults_that_follow_from_the_source(
    tmp_path, source, streams_at_once, has_jobs, names_keys
):
    config = parse(tmp_path, source=source)
    assert config.streams_abreast == streams_at_once
    assert config.has_stream_jobs == has_jobs
    assert config.names_keys == names_keys
    own = parse(tmp_path, source=source, max_concurrent_streams=2, stream_jobs=not has_jobs)
    assert (own.streams_abreast, own.has_stream_jobs) == (2, not has_jobs)


def test_a_partition_is_named_only_where_there_are_partitions(tmp_path):
    plain = parse(tmp_path)
    assert plain.partition_of("issues", None) is None
    with pytest.raises(ConfigError, match="issues is not partitioned"):
        plain.partition_of("issues", "2024-01-01")

    partitions = {"type": "static", "field": "k", "values": ["a", "b"], "streams": ["issues"]}
    config = parse(tmp_path, partitions=partitions)
    assert config.partition_of("issues", "a").value == "a"
    assert config.partition_of("labels", None) is None
    with pytest.raises(ConfigError, match="issues is loaded in partitions: which one") as raised:
        config.partition_of("issues", None)
    assert raised.value.hint == "--partition b"


def test_a_rule_that_quarantines_needs_a_quarantine(tmp_path):
    policy = {"rules": [{"action": "quarantine", "change": "column_added"}]}
    assert parse(tmp_path, schema_policy=policy).schema_policy.rules
    with pytest.raises(ConfigError, match=r"`quarantine\.enabled` is false"):
        parse(tmp_path, schema_policy=policy, quarantine={"enabled": False})


def test_a_configuration_does_not_change_and_survives_json(tmp_path):
    config = parse(tmp_path, schema_policy="strict", maps={"issues": ["a.b"]})
    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"
    again = PipelineConfig.model_validate_json(config.model_dump_json())
    assert again.model_dump() == config.model_dump()
    assert again.schema_policy.preset == "strict"
