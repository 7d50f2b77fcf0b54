"""One suite of what a load must do, run against every destination."""
