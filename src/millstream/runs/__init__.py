"""One run of one stream, from the checks before it to the report after it.

runner          run, run_data, replay, accept; `_steps` lists the stages of a run in order
stages          one method a stage, and what the stages of a run share
handed_data     rows, resources and sources that Python code passes
workdir         the working folder of a run; an interrupted run leaves it behind
load_packages   the packages in it: interrupted, kept, counted; manifests: checksums of their files
pending_packages  packages that wait: held, damaged, failed or interrupted
load_ids, load_history   ids that are unique and in order; history written before each load
deduplication   one version per primary key
quarantine_replay  loads quarantined rows again
parallel        several streams at a time
preview, status tables before the first load; what is pending now
progress        the line in a terminal
step_errors     an exception in a stage -> the error that its user reads
"""
