from __future__ import annotations

import email
import socket
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from email import policy as email_policy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream import alerts
from millstream.alerts import slack as slack_message
from millstream.alerts.message import compose
from millstream.config import AppriseAlert, EmailAlert, PolicyConfig, SlackAlert, WebhookAlert
from millstream.model import Column, ColumnProfile, Decision, SchemaVersion, Table
from millstream.schema_changes import diff, drift
from millstream.schema_changes.policy import decide
from schema_changes.strategies import versions

from .fake_alert_servers import Slack, Smtp, complain, mentions, slack, smtp


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    with slack() as office:
        monkeypatch.setenv("SLACK_WEBHOOK_URL", office.url)
        yield office


def decisions(*columns: str, preset: str = "evolve") -> tuple[Decision, ...]:
    """Each column was a scalar and became an object: one breaking change and a safe one."""
    old = [Column(name, "text") for name in columns]
    new = [*old, *(Column(f"{name}__x", "text") for name in columns)]
    changes = diff(
        SchemaVersion((Table("issues", None, tuple(old)),)),
        SchemaVersion((Table("issues", None, tuple(new)),)),
    )
    return decide(changes, PolicyConfig.model_validate({"preset": preset}), stream="issues")


class Pause:
    """Notes how long it was to wait, and does not."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def send(
    alert: Any, what: tuple[Decision, ...] | None = None, pause: Pause | None = None
) -> tuple[str, ...]:
    what = decisions("user") if what is None else what
    return alerts.send([alert], "github", "issues", what, {"issues": 1200}, sleep=pause or Pause())


def said(payload: Any) -> str:
    return "\n".join(block["text"]["text"] for block in payload["blocks"])


def test_one_message_a_run_says_what_matters(office: Slack) -> None:
    with alerts.about(links={"Run": "https://dagster/runs/1"}, downstream=["dbt/users"]):
        assert send(SlackAlert(), decisions("user", "plan")) == ()
    (payload,) = office.taken
    assert payload["text"] == "github.issues: held: 4 schema changes, breaking"
    text = said(payload)
    assert "*issues* (1,200 rows waiting)" in text
    assert "`user` was text, now it is also an object (_hold_)" in text
    assert "`millstream schema accept --stream issues`" in text
    assert "where there is no defs.yaml, by `millstream.accept`" in text
    assert "Downstream: dbt/users" in text
    assert "<https://dagster/runs/1|Run>" in text
    assert "new column" in text, "what is new is told, if the policy says nothing else"


def test_a_new_column_or_table_is_told_by_default(office: Slack) -> None:
    old = SchemaVersion((Table("issues", None, (Column("id", "bigint"),)),))
    new = SchemaVersion(
        (
            Table("issues", None, (Column("id", "bigint"), Column("state", "text"))),
            Table("issues__labels", "issues", (Column("name", "text"),)),
        )
    )
    decided = decide(diff(old, new), PolicyConfig(), stream="issues")
    assert send(SlackAlert(), decided) == ()
    (payload,) = office.taken
    assert payload["text"] == "github.issues: loaded: 2 schema changes, safe"
    assert "new column `state`" in said(payload)
    assert "new table `issues__labels`" in said(payload)


def test_what_is_kept_out_is_not_told_as_made(office: Slack) -> None:
    """The table has no such column, and the rows are elsewhere."""
    rules = [{"action": "quarantine", "change": "became_object"}]
    policy = PolicyConfig.model_validate({"preset": "anything", "rules": rules})
    changes = [d.change for d in decisions("user") if d.change.kind == "became_object"]
    assert send(SlackAlert(), decide(changes, policy, stream="issues")) == ()
    (payload,) = office.taken
    assert payload["text"] == "github.issues: loaded: 1 schema change kept out, breaking"
    assert "kept out of the table: `user` was text, now it is also an object" in said(payload)
    assert "`millstream quarantine list --stream issues`" in said(payload)


def test_nothing_to_say_is_not_said(office: Slack) -> None:
    breaking = tuple(d for d in decisions("user", preset="anything") if d.change.severity != "safe")
    assert send(SlackAlert(), breaking) == ()
    assert send(SlackAlert(at_least="risky"), decisions("user", preset="anything")) == ()
    rules = PolicyConfig.model_validate({"rules": [{"action": "allow", "table": "issues"}]})
    changes = [decision.change for decision in decisions("user")]
    assert send(SlackAlert(), decide(changes, rules, stream="issues")) == ()
    assert send(SlackAlert(), ()) == ()
    accepted = tuple(Decision(d.change, "allow", "accepted", "people") for d in decisions("user"))
    assert send(SlackAlert(), accepted) == ()
    assert office.asked == 0


def test_a_share_that_moved_is_told_where_a_rule_asks_for_it(office: Slack) -> None:
    seen = ColumnProfile(500, 100, 400)
    new = SchemaVersion((Table("t", None, (Column("a", "text", profile=seen),)),))
    moved = drift.changes(new, [{"t": {"a": ColumnProfile(500, 500, 0)}}] * 3, ())
    assert [change.kind for change in moved] == ["presence_changed"]
    assert send(SlackAlert(), decide(moved, PolicyConfig(), stream="t")) == ()
    assert office.asked == 0
    asked = PolicyConfig.model_validate({"rules": [{"action": "warn", "column": "a"}]})
    assert send(SlackAlert(), decide(moved, asked, stream="t")) == ()
    assert "`a` arrives in 20% of 500 rows, in 3 earlier loads in 100%" in said(office.taken[0])


def test_each_alert_has_its_own_threshold(office: Slack) -> None:
    safe_alone = tuple(d for d in decisions("user") if d.change.severity == "safe")
    assert send(SlackAlert(at_least="risky"), safe_alone) == ()
    assert office.asked == 0
    held = tuple(Decision(d.change, "hold", "preset strict: safe", "preset") for d in safe_alone)
    assert send(SlackAlert(at_least="breaking"), held) == ()
    assert office.taken.pop()["text"] == "github.issues: held: 1 schema change, safe"
    assert send(SlackAlert(at_least="safe"), safe_alone) == ()
    assert office.taken[0]["text"].startswith("github.issues: loaded: 1 schema change, safe")


@pytest.mark.parametrize(
    "name",
    ["<!channel>", "<!here|x>", "<@U012AB3CD>", "@channel", "@everyone", "a`*_~b", "<#C1|general>"],
)
def test_a_name_mentions_nobody(office: Slack, name: str) -> None:
    with alerts.about(downstream=[name]):
        assert send(SlackAlert(), decisions(name)) == ()
    (payload,) = office.taken
    assert mentions(payload) == []
    assert all(
        block["text"].get("verbatim") for block in payload["blocks"] if block["type"] == "section"
    )


@pytest.mark.parametrize("count", [1, 19, 20, 21, 500])
@pytest.mark.parametrize("length", [5, 500, 5_000])
def test_any_number_of_changes_fits_into_one_message(
    office: Slack, count: int, length: int
) -> None:
    names = [f"{'&' * length}{number}" for number in range(count)]
    with alerts.about(downstream=names, links=dict.fromkeys(names[:60], "https://x")):
        assert send(SlackAlert(), decisions(*names)) == ()
    (payload,) = office.taken
    told = 2 * count  # each column became an object, and has a new column for its field
    if told > 20:
        assert f"and {told - 20} more" in said(payload) or length == 5_000


@given(versions(profiled=True), versions(profiled=True), st.text(min_size=1))
def test_no_schema_makes_a_message_that_slack_refuses(
    old: SchemaVersion, new: SchemaVersion, name: str
) -> None:
    decided = decide(diff(old, new), PolicyConfig.model_validate({"preset": "strict"}), stream=name)
    message = compose(name, name, decided, {}, at_least="safe")
    if message is not None:
        payload = slack_message.payload(message)
        assert complain(payload) is None
        assert mentions(payload) == []


def test_a_held_run_that_is_retried_says_it_once(office: Slack) -> None:
    for _ in range(3):
        assert send(SlackAlert()) == ()
    assert len(office.taken) == 1
    assert send(SlackAlert(), decisions("user", "plan")) == ()
    assert len(office.taken) == 2, "another change is news"


def test_a_sent_alert_that_is_not_remembered(office: Slack, tmp_path: Path) -> None:
    (tmp_path / "millstream-home").mkdir()
    (tmp_path / "millstream-home" / "alerts").touch()  # a file, where its folder should be
    assert send(SlackAlert()) == ()
    assert len(office.taken) == 1


def test_a_message_of_a_time_to_come_is_sent_again(
    office: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=300)

    with monkeypatch.context() as wrong:
        wrong.setattr(sys.modules["millstream.alerts.send"], "datetime", Ahead)
        send(SlackAlert())
    send(SlackAlert())
    assert len(office.taken) == 2, "the clock was set right again"


def test_what_was_not_sent_is_sent_next_time(office: Slack) -> None:
    office.answers = [(403, {}, "action_prohibited")]
    assert len(send(SlackAlert())) == 1
    assert send(SlackAlert()) == ()
    assert len(office.taken) == 1


def test_it_waits_as_long_as_it_is_told(office: Slack) -> None:
    office.answers = [(429, {"Retry-After": "7"}, ""), (503, {}, "")]
    pause = Pause()
    assert send(SlackAlert(), pause=pause) == ()
    assert pause.seconds == [7.0, 2.0]
    assert (len(office.taken), office.asked) == (1, 3)


@pytest.mark.parametrize(
    ("answers", "asked", "reason"),
    [
        ([(404, {}, "no_service")] * 9, 1, "127.0.0.1 said 404 no_service"),
        ([(410, {}, "channel_is_archived")] * 9, 1, "410 channel_is_archived"),
        ([(500, {}, "")] * 9, 3, "said 500"),
        ([(429, {"Retry-After": "3600"}, "")] * 9, 1, "said 429"),
        ([(302, {"Location": "http://elsewhere/"}, "")] * 9, 1, "said 302"),
    ],
)
def test_what_can_not_be_sent_is_reported_without_its_address(
    office: Slack, answers: Any, asked: int, reason: str
) -> None:
    office.answers = list(answers)
    (failure,) = send(SlackAlert())
    assert failure.startswith("alert 1 (slack) was not sent: ")
    assert reason in failure
    assert "XXXsecret" not in failure
    assert office.asked == asked


def test_nobody_there_is_reported_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/XXXsecret"
    monkeypatch.setenv("SLACK_WEBHOOK_URL", url)
    pause = Pause()
    (failure,) = send(SlackAlert(), pause=pause)
    assert failure == "alert 1 (slack) was not sent: ConnectionError"
    assert len(pause.seconds) == 2
    monkeypatch.delenv("SLACK_WEBHOOK_URL")
    assert send(SlackAlert()) == ("alert 1 (slack) was not sent: SLACK_WEBHOOK_URL is not set",)


def test_one_that_fails_does_not_silence_the_others(
    office: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = alerts.send(
        [WebhookAlert(url_from="NOT_SET"), SlackAlert()],
        "github",
        "issues",
        decisions("user"),
        {},
    )
    assert failures == ("alert 1 (webhook) was not sent: NOT_SET is not set",)
    assert len(office.taken) == 1


def test_the_webhook_gets_every_change_as_json(
    office: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[Any] = []

    def take(path: str, content_type: str, body: bytes) -> tuple[int, dict[str, str], str]:
        import json

        received.append((content_type, json.loads(body)))
        return 204, {}, ""

    monkeypatch.setattr(office, "post", take)
    monkeypatch.setenv("HOOK", office.url)
    assert send(WebhookAlert(url_from="HOOK"), decisions(*(f"c{n}" for n in range(30)))) == ()
    ((content_type, document),) = received
    assert content_type == "application/json"
    assert len(document["changes"]) == 60
    assert {k: document[k] for k in ("version", "event", "outcome", "severity", "rows")} == {
        "version": 1,
        "event": "schema_changes",
        "outcome": "held",
        "severity": "breaking",
        "rows": {"issues": 1200},
    }
    assert document["changes"][0]["old"] == "text"


@pytest.fixture
def mailbox() -> Iterator[Smtp]:
    with smtp() as office:
        yield office


def by_mail(office: Smtp, **more: Any) -> EmailAlert:
    return EmailAlert(
        host="127.0.0.1",
        port=office.port,
        security="none",
        sender="loads@example.org",
        to=("ann@example.org", "bob@example.org"),
        **more,
    )


def test_mail(mailbox: Smtp) -> None:
    what = decisions("user", "line\nBcc: eve@example.org")
    assert send(by_mail(mailbox), what) == ()
    ((sender, to, raw),) = mailbox.mails
    assert sender.startswith("<loads@example.org>")
    assert [address.split(" ")[0] for address in to] == ["<ann@example.org>", "<bob@example.org>"]
    mail = email.message_from_bytes(raw, policy=email_policy.default)
    assert mail["Subject"] == "github.issues: held: 4 schema changes, breaking"
    assert mail["Bcc"] is None
    body = mail.get_content()
    assert "issues (1,200 rows waiting)" in body
    assert "- breaking, hold: `user` was text, now it is also an object" in body
    assert "millstream schema accept --stream issues" in body
    assert "by `millstream.accept`" in body


def test_mail_signs_in(mailbox: Smtp, monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox.user, mailbox.password = "ann", "pa55"
    monkeypatch.setenv("MAIL_USER", "ann")
    monkeypatch.setenv("MAIL_PASSWORD", "pa55")
    signed = by_mail(mailbox, user_from="MAIL_USER", password_from="MAIL_PASSWORD")
    assert send(signed) == ()
    assert len(mailbox.mails) == 1
    monkeypatch.setenv("MAIL_PASSWORD", "wrong")
    (failure,) = send(signed, decisions("other"))
    assert failure == "alert 1 (email) was not sent: the server said 535"


def test_mail_is_tried_again_when_the_server_says_later(mailbox: Smtp) -> None:
    mailbox.refusals = ["451 busy"]
    assert send(by_mail(mailbox)) == ()
    assert len(mailbox.mails) == 1
    mailbox.refusals = ["550 never"] * 3
    (failure,) = send(by_mail(mailbox), decisions("other"))
    assert failure.startswith("alert 1 (email) was not sent: ")
    assert len(mailbox.mails) == 1


def test_mail_is_not_sent_without_the_required_security(mailbox: Smtp) -> None:
    secure = by_mail(mailbox).model_copy(update={"security": "starttls"})
    (failure,) = send(secure)
    assert "not sent" in failure
    assert mailbox.mails == []


def test_apprise_carries_it_or_says_how_to_install_it(
    office: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEIRS", office.url.replace("http://", "json://"))
    received: list[bytes] = []

    def take(path: str, content_type: str, body: bytes) -> tuple[int, dict[str, str], str]:
        received.append(body)
        return 200, {}, "ok"

    monkeypatch.setattr(office, "post", take)
    failures = send(AppriseAlert(url_from="THEIRS"))
    try:
        import apprise  # noqa: F401
    except ImportError:
        assert failures == (
            "alert 1 (apprise) was not sent: apprise is not installed: "
            "pip install 'millstream[apprise]'",
        )
    else:
        assert failures == ()
        assert b"github.issues: held: 2 schema changes, breaking" in received[0]
