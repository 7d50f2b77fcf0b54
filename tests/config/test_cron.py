"""Cron expressions: those that Dagster takes, and no others."""

import re

from dagster._utils.schedules import is_valid_cron_string
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.config import cron

CRON_PARTS = (  # noqa: SIM905
    "* ? L 0 1 5 01 12 31 59 60 7 8 mon sat sun#2 mon#6 1# jan FEB dec L5 R */5 */0 1-5 5-1 1-5/2 "
    "5/15 *-5 1- -1 a fri-sun 1-2-3 1,2 1,,2 2/ /2 nov-feb,3 1-L L-1 ** 1.5 +1 ²"
).split()


@settings(max_examples=300)
@given(st.lists(st.sampled_from(CRON_PARTS), min_size=5, max_size=5).map(" ".join))
def test_cron_expressions_are_those_of_dagster(expression):
    is_valid = is_valid_cron_string(expression)
    assert (cron.problem(expression) is None) == is_valid
    assert re.search(cron.pattern(), expression) or not is_valid
