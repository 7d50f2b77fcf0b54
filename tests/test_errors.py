import pickle

from millstream.errors import MillstreamError, RunError, SourceAuthError


def test_message_then_hint():
    error = SourceAuthError("GitHub refused the token", hint="make a new one")
    assert str(error) == "GitHub refused the token\n\nhint: make a new one"
    assert str(MillstreamError("plain")) == "plain"


def test_survives_pickling_between_processes():
    error = RunError("load failed", stream="issues", step="load", hint="try again")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is RunError
    assert (str(again), again.stream, again.step) == (str(error), "issues", "load")
