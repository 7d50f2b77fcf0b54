"""Requests over HTTP: kept within rate limits, repeated where that helps, explained."""
