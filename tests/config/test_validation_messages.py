"""Mistakes in a `defs.yaml`, named for whoever wrote it, each with its remedy."""

import pytest

from millstream.config import parse_pipeline
from millstream.errors import ConfigError

GITHUB = {"type": "github", "repositories": ["duckdb/duckdb"]}


def parse(tmp_path, **attributes):
    base = {"name": "github_issues", "source": GITHUB}
    return parse_pipeline({**base, **attributes}, where="defs.yaml", project=tmp_path)


@pytest.mark.parametrize(
    ("attributes", "message", "hint"),
    [
        ({"nme": "x"}, "nme: there is no such attribute", "did you mean `name`?"),
        ({"name": "GitHub Issues"}, "name: must be lower case, snake_case", None),
        ({"name": None}, "name: must be text", None),
        ({"name": "x" * 49}, "name: must have at most 48 characters", None),
        ({"source": {"type": "github"}}, "name at least one of `repositories`", None),
        ({"source": {**GITHUB, "repositories": ["duckdb"]}}, "not of the form owner/name", None),
        (
            {"source": {**GITHUB, "streams": ["isues"]}},
            " source.streams.0: must be 'issues'",
            "did you mean `issues`?",
        ),
        (
            {"source": {**GITHUB, "token": "ghp_x"}},
            " source.token: credentials do not belong in a file that is committed",
            "credentials belong in .env: GITHUB_TOKEN",
        ),
        (
            {"source": {"type": "mongodb", "connection_string": "mongodb://a:b@c"}},
            " source.connection_string: credentials do not belong",
            "credentials belong in .env: MONGODB_URI",
        ),
        (
            {"destination": {"type": "postgres", "password": "x"}},
            " destination.password: credentials do not belong",
            "credentials belong in .env: DESTINATION__POSTGRES__CREDENTIALS",
        ),
        (
            {"alerts": [{"type": "slack", "url": "https://hooks"}]},
            " alerts.0.url: credentials do not belong",
            "addresses and passwords belong in .env; `url_from: NAME` names the variable",
        ),
        # what was refused is never what is suggested
        (
            {"source": {**GITHUB, "path": "x"}},
            " source.path: there is no such attribute",
            "`path` belongs under `source` of type dlt",
        ),
        (
            {"source": {"type": "files", "streams": {"a": {"path": "x"}}, "path": "x"}},
            " source.path: there is no such attribute",
            "write `streams: {NAME: {path: ...}}`",
        ),
        (
            {"source": {"type": "files", "streams": {"orders": "orders.jsonl"}}},
            " source.streams.orders: must be names with values",
            "write {path: ...}",
        ),
        ({"quarantine": False}, " quarantine: must be names", "write {enabled: false}"),
        (
            {"source": {"type": "mongodb", "database": "shop"}},
            " source.database: there is no such attribute",
            "did you mean `databases`?",
        ),
        ({"dataset": "x"}, " dataset: there is no such", "`dataset` belongs under `destination`"),
        (
            {"destination": {"schedule": "x"}},
            " destination.schedule: there is no such attribute",
            "`schedule` belongs at the top, beside `name`",
        ),
        ({"alerts": [{"type": "slack", "at_lest": "safe"}]}, "at_lest", "did you mean `at_least`?"),
        ({"alerts": [{"type": "slack", "at_least": "saf"}]}, "at_least", "did you mean `safe`?"),
        (
            {"source": {"type": "mongodb", "settings": {"a": {"cursr": "b"}}}},
            " source.settings.a.cursr: there is no such attribute",
            "did you mean `cursor`?",
        ),
        ({"retries": 3}, " retries: there is no such attribute", None),
        (
            {"schedule": "61 * * * *"},
            " schedule: '61 * * * *' is not a cron expression (minute: '61' is not 0 to 59)",
            "five fields: minute hour day month weekday; `0 6 * * *` is every day at 6:00",
        ),
        ({"schedule": "0 6 * *"}, "is not a cron expression (4 fields instead of 5)", None),
        ({"source": {"type": "files", "streams": ["a"]}}, " source.streams: must be names", None),
        ({"source": {"type": "files", "streams": {}}}, " source.streams: must have at least", None),
        (
            {"source": {"type": "files", "streams": {"a": {"path": "x", "maps": "tags"}}}},
            " source.streams.a.maps: must be a list, such as [a, b]",
            None,
        ),
        (
            {"source": {"type": "dlt", "path": "nonsense"}},
            " source.path: must be `package.module:function`",
            None,
        ),
        ({"alerts": [{"type": "email"}]}, " alerts.0.host: is missing", None),
        ({"folder": "/etc"}, "folder: there is no such attribute", None),
        (
            {"source": {"type": "fiels"}},
            "source.type: must be one of 'github', 'dlt', 'mongodb', 'sql_database', 'rest_api', "
            "'files'",
            "did you mean `files`?",
        ),
        ({"source": {}}, "source.type: is missing", None),
        (
            {"destination": {"options": {"credentials": "x"}}},
            "DESTINATION__DUCKDB__CREDENTIALS",
            None,
        ),
    ],
)
def test_wrong_attributes_name_the_field(tmp_path, attributes, message, hint):
    with pytest.raises(ConfigError) as raised:
        parse(tmp_path, **attributes)
    assert raised.value.message.startswith("defs.yaml: ")
    assert message in raised.value.message
    assert hint is None or raised.value.hint == hint


def test_each_of_several_faults_has_its_own_remedy(tmp_path):
    streams = {"type": "github", "repositories": ["a/b"], "streams": ["isues"], "per_pag": 10}
    with pytest.raises(ConfigError) as raised:
        parse(tmp_path, source=streams, retries=3)
    where, *faults = raised.value.message.splitlines()
    assert where == "defs.yaml: "
    assert [fault.split(": ")[0].strip() for fault in faults] == [
        "source.streams.0", "source.per_pag", "retries",
    ]  # fmt: skip
    assert faults[0].endswith("(did you mean `issues`?)")
    assert faults[1].endswith("(did you mean `per_page`?)")
    assert raised.value.hint is None


def test_no_value_of_a_wrong_field_is_shown(tmp_path):
    with pytest.raises(ConfigError) as raised:
        parse(tmp_path, source={**GITHUB, "token": "ghp_secret"})
    assert "ghp_secret" not in str(raised.value)
