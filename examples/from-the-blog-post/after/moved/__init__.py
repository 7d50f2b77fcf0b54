"""The same tables, assets and jobs by Millstream."""
