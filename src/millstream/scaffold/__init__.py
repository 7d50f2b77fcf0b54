"""What `millstream init` writes.

catalog     the table of sources and destinations
render      templates -> the text of every file
write       all files or none, nothing overwritten, nothing outside the folder
project     the three together
"""

from __future__ import annotations

from millstream.scaffold.catalog import DESTINATIONS, SOURCES
from millstream.scaffold.project import Project, write_project

__all__ = ["DESTINATIONS", "SOURCES", "Project", "write_project"]
