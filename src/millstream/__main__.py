"""`python -m millstream`, where the command itself is not on the path."""

from millstream.cli import entry

entry()
