"""Where the engine meets dlt; only these modules know dlt's internals.

patch           puts the engine's classes in place, after checking the installed dlt
normalizer      dlt's normalizer of JSON rows, through columns; arrow_normalizer: of Arrow tables
row_refusals    why a row is refused, by dlt or by the destination
quarantining_normalizer  dlt's own way, row by row, with rejected rows put in quarantine
exact_normalizer  both ways under `coercion_rules`
rules           dlt's answers to `schema_rules`
schema_rollback  undoes what a rejected row did to the schema
key_collisions  keys of one object that dlt gives the same column
named_flatten   flattening with names by `key_names`, and none that the destination refuses
parquet_writer  dlt's Parquet writer for columns
"""
