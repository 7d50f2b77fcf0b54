"""The history of a pipeline as one HTML page: what `millstream report` writes.

gather      what the `_millstream_*` tables of the destination know
diagram     root and child tables; plots: rows and seconds per load; timeline: the changes;
            columns: the profile. Each makes its part of the page
markup      elements, with everything that is not markup escaped
render      the whole page, which asks nothing of anyone: no scripts, no requests
"""

from __future__ import annotations

from millstream.html_report.gather import StreamHistory, gather
from millstream.html_report.render import render

__all__ = ["StreamHistory", "gather", "render"]
