"""Generated rows with a past: what the demo shows where nothing can be fetched."""

from __future__ import annotations

from millstream.demo.fake_data import Hub, Query
from millstream.demo.generated import generate
from millstream.demo.history import age
from millstream.demo.recordings import AS_OF


def test_rows_come_and_change_and_gain_fields_and_none_is_lost() -> None:
    generated = generate("octo/hello", issues=90)
    hub = Hub({"octo/hello": age(generated, AS_OF)}, as_of=AS_OF)
    query = Query(state="all")

    for stream in ("issues", "issue_comments"):
        hub.as_of = AS_OF
        before = {row["id"]: row for row in hub.rows("octo/hello", stream, query)}
        hub.as_of = None
        now = {row["id"]: row for row in hub.rows("octo/hello", stream, query)}

        assert now.keys() == {row["id"] for row in generated[stream]}
        assert before.keys() < now.keys()
        changed = [key for key in before if before[key]["updated_at"] < now[key]["updated_at"]]
        assert 0 < len(changed) < len(before)
        old_fields = {name for row in before.values() for name in row}
        new_fields = {name for row in now.values() for name in row}
        assert "author_association" in new_fields - old_fields
        assert all(now[key]["updated_at"] > AS_OF for key in [*changed, *(now.keys() - before)])
