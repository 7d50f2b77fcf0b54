"""Where the tables go: a dlt destination from configuration, checked before anything is extracted."""
