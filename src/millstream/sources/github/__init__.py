"""GitHub's REST API: issues, comments, events, pull requests and more, of one or many repositories.

Importing this, and creating a source, connects to nothing and imports neither dlt nor requests.
"""

from millstream.sources.github.source import GitHubSource

__all__ = ["GitHubSource"]
