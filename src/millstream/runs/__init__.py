"""One run of one stream, from the checks before it to the report after it.

runner          run, run_data, replay; `execute` lists the stages of a run in order
context         RunContext: which stream is loaded, and into what
stages          a function for each stage
scope           all of a stream, or one partition of it
turn            runs that load the same tables, one after the other
recorder        RunRecorder: what the stages found, and the report made of it
recovery        what interrupted runs left, finished or dropped
handed_data     rows, resources and sources that Python code passes
workdir         the working folder of a run; an interrupted run leaves it behind
load_packages   the packages in it: interrupted, kept, counted; manifests: checksums of their files
pending_packages  packages that wait: held, damaged, failed or interrupted; pending_decisions:
                accept, reject, list and drop them
load_ids, load_history   ids that are unique and in order; history written before each load
deduplication   one version per primary key
quarantine_replay  loads quarantined rows again
parallel        several streams at a time
preview, status tables before the first load; what is pending now
progress        the line in a terminal
step_errors     an exception in a stage -> the error that its user reads
"""
