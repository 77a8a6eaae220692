"""Every exit code, error code and failure class: what it means and what to do. `docs/errors.md` is made from these.

A code is stable: scripts may rely on it. An error whose code is not here cannot be made (`shoestring.errors` asserts).
"""

from __future__ import annotations

from typing import NamedTuple

OK, FAILED, USAGE, SPEC_INVALID, ENVIRONMENT, BUDGET_REFUSED, NOT_FOUND, CONFLICT = range(8)
INTERRUPTED = 130

EXITS = {
    OK: "done",
    FAILED: "something failed that was asked for correctly",
    USAGE: "the command line is wrong",
    SPEC_INVALID: "a file of experiments or prices is wrong; every fault is listed with its place",
    ENVIRONMENT: "this machine, its database or its data sets lack something",
    BUDGET_REFUSED: "it may cost more than the budget allows; nothing was submitted",
    NOT_FOUND: "there is no such file, run, experiment, sweep or worker",
    CONFLICT: "it does not go with what is there already",
    INTERRUPTED: "interrupted by Ctrl-C",
}


class Code(NamedTuple):
    """One error code: the exit code that comes with it, what it means, and what to do where the error says no more."""

    exit_code: int
    means: str
    do: str


CODES = {
    # of whole commands
    "failed": Code(FAILED, "something failed; the message says what", "`shoestring doctor` says what is missing here"),
    "usage": Code(USAGE, "an argument is missing, unknown or out of range", "add --help to the command"),
    "spec_invalid": Code(SPEC_INVALID, "the file has faults, each with a code of its own", "mend what is listed"),
    "environment": Code(ENVIRONMENT, "something that is needed is not installed, built or readable",
                        "`shoestring doctor` says what is missing here"),
    "file_access": Code(ENVIRONMENT, "a file or folder cannot be read, made or written",
                        "check path, permissions and space; SHOESTRING_HOME moves all that is written"),
    "budget_refused": Code(BUDGET_REFUSED, "the forecast's 90th percentile is above the budget's dollars",
                           "ask for less, or raise budget.max_usd"),
    "not_found": Code(NOT_FOUND, "there is nothing of that name or number", "`shoestring status` lists the runs"),
    "conflict": Code(CONFLICT, "the state of what is there does not allow it", "`shoestring status` shows the state"),
    "lease_lost": Code(CONFLICT, "another worker holds the run now; this one writes nothing more",
                       "nothing: the run goes on elsewhere"),
    # of the database
    "database": Code(ENVIRONMENT, "the database does not answer, or its address is wrong", "shoestring doctor"),
    "no_secret": Code(ENVIRONMENT, "the variable or file that is to hold a secret is missing, empty or too long",
                      "SHOESTRING_DB=env:NAME or file:PATH, and put the address there"),
    "deadlock": Code(ENVIRONMENT, "two commands waited for each other, and this one was taken back five times",
                     "give the same command again"),
    "no_database": Code(ENVIRONMENT, "there is no database file yet", "shoestring db upgrade"),
    "no_driver": Code(ENVIRONMENT, "the driver of that database is not installed", "pip install 'psycopg[binary]'"),
    "no_schema": Code(ENVIRONMENT, "the database is empty", "shoestring db upgrade"),
    "old_schema": Code(ENVIRONMENT, "an older program made the database", "shoestring db upgrade"),
    "dirty_schema": Code(ENVIRONMENT, "the database has tables, and not one revision of the schema",
                         "go back to a copy that was whole, or to a new database"),
    "newer_schema": Code(ENVIRONMENT, "a newer program made the database", "upgrade shoestring"),
    "foreign_database": Code(ENVIRONMENT, "the database belongs to another program",
                             "point SHOESTRING_DB at a database of its own"),
    "not_a_database": Code(ENVIRONMENT, "the file is no SQLite database", "move it away, then: shoestring db upgrade"),
    "network_file_system": Code(ENVIRONMENT, "SQLite on NFS, SMB or the like loses data", "use PostgreSQL"),
    # what the trainer said, when a command runs it (import, export)
    "bad_checkpoint": Code(FAILED, "weights that are damaged, foreign or of another shape",
                           "give a whole file in the public MicroDiT layout"),
    "bad_config": Code(FAILED, "a training job that does not fit together", "change what the message names"),
    "bad_data": Code(FAILED, "a data set that is missing, damaged or of another kind", "build it again: dvc repro"),
    "disk_full": Code(FAILED, "no space left on the disk", "make room and give the command again"),
    "out_of_memory": Code(FAILED, "not enough memory", "a smaller model or batch_size"),
    # of a file's text
    "empty": Code(SPEC_INVALID, "the file says nothing", "start with `version: 1`"),
    "too_large": Code(SPEC_INVALID, "more than 256 KiB or 25,000 values", "split the file"),
    "not_utf8": Code(SPEC_INVALID, "the bytes are not UTF-8", "save the file as UTF-8"),
    "bad_character": Code(SPEC_INVALID, "an invisible or control character", "remove it"),
    "yaml_syntax": Code(SPEC_INVALID, "this is not YAML", "check quotes, brackets and indentation"),
    "several_documents": Code(SPEC_INVALID, "a second YAML document in the file", "one file, one document"),
    "too_deep": Code(SPEC_INVALID, "nested deeper than 32 levels, or a chain of more than 16 `extends`", "flatten it"),
    "anchor": Code(SPEC_INVALID, "YAML anchors are not allowed", "use `extends` or `defaults`"),
    "alias": Code(SPEC_INVALID, "YAML aliases are not allowed", "use `extends` or `defaults`"),
    "merge_key": Code(SPEC_INVALID, "YAML merge keys (<<) are not allowed", "use `extends`"),
    "tag": Code(SPEC_INVALID, "YAML tags are not allowed: a file is data, never code", "write plain values"),
    "duplicate_key": Code(SPEC_INVALID, "a key is written twice", "keep one of them"),
    "non_string_key": Code(SPEC_INVALID, "a key is no text", "put it in quotes"),
    "leading_zero": Code(SPEC_INVALID, "012 is ten to some tools and twelve to others", "drop the zero, or quote it"),
    "number_too_long": Code(SPEC_INVALID, "a whole number of more than 40 digits", "write a smaller one, or quote it"),
    # of its fields
    "unknown_field": Code(SPEC_INVALID, "no field has that name there", "docs/spec.md lists the fields"),
    "missing_field": Code(SPEC_INVALID, "a field without a default is not written", "write it, here or in `defaults`"),
    "unsupported_version": Code(SPEC_INVALID, "the file is for a newer program", "upgrade shoestring"),
    "wrong_type": Code(SPEC_INVALID, "text where a number is wanted, a list where a mapping is, and the like",
                       "write a value of the kind that is wanted"),
    "out_of_range": Code(SPEC_INVALID, "a value outside what is allowed", "write a value inside the range"),
    "not_finite": Code(SPEC_INVALID, "NaN, infinity, or more than a float can hold", "write a finite number"),
    "bad_choice": Code(SPEC_INVALID, "none of the values that are allowed there", "write one of those"),
    "bad_name": Code(SPEC_INVALID, "not a name: up to 64 of a-z 0-9 . _ -, beginning with a letter or digit",
                     "rename it"),
    "bad_format": Code(SPEC_INVALID, "text that is not written as the field wants it", "write it like the example"),
    "invalid_value": Code(SPEC_INVALID, "values that contradict each other", "change one of them"),
    "not_exactly_one": Code(SPEC_INVALID, "of usd, steps and images (or every_…) exactly one is wanted", "keep one"),
    "bad_shares": Code(SPEC_INVALID, "the stages' shares do not sum to 1", "give every stage a share"),
    "does_not_fit": Code(SPEC_INVALID, "model, data, batch and devices do not go together", "change what is named"),
    "duplicate_name": Code(SPEC_INVALID, "two experiments have one name", "rename one"),
    "unknown_experiment": Code(SPEC_INVALID, "no experiment of the file has that name", "write one that is there"),
    "extends_cycle": Code(SPEC_INVALID, "experiments extend each other", "break the circle"),
    "unknown_preset": Code(SPEC_INVALID, "no model preset has that name", "write one of the presets"),
    "unknown_hardware": Code(SPEC_INVALID, "no price row has that name", "add it to prices.yaml"),
    "bad_matrix": Code(SPEC_INVALID, "a matrix maps dotted paths to lists of values", "model.experts.count: [1, 4]"),
    "too_many_runs": Code(SPEC_INVALID, "more than 1,000 runs in one file", "split the file, or use a sweep"),
    "bad_prompts_file": Code(SPEC_INVALID, "a prompts file that is missing, outside the project, too large or no text",
                             "a text file under the project, one prompt a line"),
    "bad_search": Code(SPEC_INVALID, "a sweep's search that cannot be searched", "change it as the message says"),
    "unknown_param": Code(SPEC_INVALID, "a dotted path that leads to no field", "docs/spec.md lists the fields"),
    # of its prices
    "free_hardware": Code(SPEC_INVALID, "dollars buy no end on hardware that costs nothing", "until: {steps: …}"),
    "until_too_small": Code(SPEC_INVALID, "the dollars do not buy one step of each stage", "ask for more dollars"),
    "budget_below_checkpoint": Code(SPEC_INVALID, "the cap stops the run before its first checkpoint", "raise it"),
}  # fmt: skip


class Failure(NamedTuple):
    """Why an attempt ended badly; what becomes of its run is decided in `shoestring.retries`."""

    means: str
    do: str


FAILURES = {
    "bad_config": Failure("config.json does not fit together", "submit the experiment again"),
    "bad_spec": Failure("the run's spec cannot be read by this program", "submit the experiment again"),
    "poisonous": Failure(
        "the run's row is damaged, or a newer program wrote it", "submit the experiment once more with --again"
    ),
    "bad_data": Failure("the data set is missing, damaged, or not the one planned for", "build it again, then retry"),
    "bad_checkpoint": Failure(
        "no published checkpoint verifies", "delete that folder to train from step 0, then retry"
    ),
    "nan": Failure("the loss is not finite", "lower lr or raise warmup_steps"),
    "assertion": Failure("a check of the program itself failed", "report it with the log"),
    "error": Failure("an error that has no class of its own", "read the log: shoestring logs RUN"),
    "launch": Failure("the trainer could not be started", "mend what the message names; it is tried again by itself"),
    "crashed": Failure("the trainer ended and left no result", "read the log: shoestring logs RUN"),
    "out_of_memory": Failure("not enough memory", "lower batch_size, or raise compute.accumulate"),
    "disk_full": Failure("no space left for a checkpoint", "make room, then: shoestring resume RUN"),
    "dependency_failed": Failure("a run that it waits for failed or was cancelled", "retry that one, then this one"),
    "preempted": Failure("the machine was taken away", "nothing: it goes on from its last checkpoint"),
    "stopped_by_request": Failure("the worker asked it to stop", "nothing: it goes on from its last checkpoint"),
    "parent_gone": Failure("its worker ended or fell silent", "nothing: it goes on from its last checkpoint"),
    "killed": Failure("a signal killed the trainer", "nothing; if it comes again, look for the kernel's OOM killer"),
    "worker_lost": Failure("its worker's beats stopped", "nothing: another worker takes it"),
    "lease_lost": Failure("another worker held the run meanwhile", "nothing: it goes on there"),
    "node_lost": Failure("the machine is gone", "nothing: another worker takes it"),
}
