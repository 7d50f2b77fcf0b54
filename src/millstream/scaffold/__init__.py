"""What `millstream init` and `dg scaffold defs` write.

catalog     the table of sources and destinations
render      templates -> the text of every file
write       all files or none, nothing overwritten, nothing outside the folder
project     the three together
adopted     a defs.yaml for a dlt pipeline that is taken over
"""

from __future__ import annotations

from millstream.scaffold.adopted import adopted_defs, adopted_folder, write_adopted
from millstream.scaffold.catalog import DESTINATIONS, SOURCES
from millstream.scaffold.project import Project, write_project
from millstream.scaffold.render import code, source_block

__all__ = [
    "DESTINATIONS",
    "SOURCES",
    "Project",
    "adopted_defs",
    "adopted_folder",
    "code",
    "source_block",
    "write_adopted",
    "write_project",
]
