"""dlt and Dagster glued together by hand."""
