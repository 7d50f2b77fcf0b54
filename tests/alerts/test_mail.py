"""A message as mail: what a mail reader shows is what was said, and nothing adds a header."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime

from hypothesis import example, given
from hypothesis import strategies as st

from millstream.alerts.mail import mail
from millstream.alerts.message import plain
from millstream.config import EmailAlert

from .messages import message

ALERT = EmailAlert(host="mail", sender="from@example.org", to=("a@example.org", "b@example.org"))
HEADERS = {
    "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "Content-Type",
    "Content-Transfer-Encoding", "MIME-Version",
}  # fmt: skip
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(names, names)
@example("x\r\nBcc: c@example.org", "orders")
@example("é" * 60, "x" * 1200)
@example("a\n\n.\nb", "\x85\u2028")
def test_a_reader_sees_what_was_said(pipeline: str, table: str) -> None:
    said = message(pipeline=pipeline, table=table)
    read = message_from_bytes(mail(said, ALERT).as_bytes(), policy=policy.default)
    assert {*read.keys()} == HEADERS
    assert read["To"] == "a@example.org, b@example.org"
    assert str(read["Subject"]).split() == said.title.split()
    body = read.get_content()
    assert body.split() == plain(said).split()


def test_a_mail_says_when_it_was_sent_and_that_nobody_wrote_it() -> None:
    one, another = (mail(message(), ALERT) for _ in range(2))
    assert one["Message-ID"] != another["Message-ID"]
    assert one["Message-ID"].endswith("@example.org>")
    assert one["Auto-Submitted"] == "auto-generated"
    assert parsedate_to_datetime(one["Date"]).year >= 2024
