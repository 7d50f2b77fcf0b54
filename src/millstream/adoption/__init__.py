"""A running dlt pipeline, taken over without a reload, and handed back.

left_by_dlt what a dlt pipeline has left: its state and schemas
plan        which stream takes which tables and which cursor over, or why not
takeover    the streams of a pipeline get them, each in a load of its own
hand_back   dlt goes on from where the streams are by now
"""

from __future__ import annotations

from millstream.adoption.hand_back import hand_back
from millstream.adoption.left_by_dlt import DltPipeline, attached, left_by_dlt
from millstream.adoption.plan import Plan, StreamPlan, plan
from millstream.adoption.takeover import take_over

__all__ = [
    "DltPipeline",
    "Plan",
    "StreamPlan",
    "attached",
    "hand_back",
    "left_by_dlt",
    "plan",
    "take_over",
]
