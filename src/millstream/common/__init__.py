"""Helpers without knowledge of the product: locks, atomic writes, redaction, status line."""
