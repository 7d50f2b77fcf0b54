"""Formats and notations that several rooms share.

raw_part        parts of an extracted file that hold JSON lines or BSON as they were read
typed_json      dlt's typed JSON, in which extracted rows lie on disk
copy_files      load files for PostgreSQL's COPY
duplicate_keys  JSON objects with the same key twice
json_path       JSON paths of columns
key_names       the column name of each key, stable over loads
system_columns  names that a destination refuses for columns
"""
