"""dlt's filesystem destination, with Delta and Iceberg tables that can be read and kept exact.

dlt commits each table by itself, and merges a table by its own rows alone. So this is left to
whoever loads:

- a column that may not be null stays so, and of several files of a load dlt takes the columns of
  one: columns may all be null, and are those of all files;
- list items that a row does not have any more stay in their table: they are taken out before a load
  becomes complete;
- rows that an interrupted load has appended would be appended again: `undo` takes them out;
- pyiceberg 0.12 can't update rows of a table that has got a column (apache/iceberg-python#3105),
  and compares all values one by one in Python: rows are deleted and appended in one commit here;
- DuckDB reads these tables with extensions that it fetches from the internet: it is given the files
  that the tables are made of.

client      dlt's destination, with what follows in its place
jobs        files of a load -> commits of a table
views       tables -> views in DuckDB
removal     rows that a merge, a refresh or a load that died has left
"""
