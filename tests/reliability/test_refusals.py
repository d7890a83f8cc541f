"""Every refusal of an input or output has a test that follows its advice, or one that is named."""

import ast
from collections.abc import Iterator
from pathlib import Path

from .test_remedies import CASES as TEXTS
from .test_remedies_tables import CASES as TABLES

ROOT = Path(__file__).parent.parent.parent
EXPECTED = {
    "BadDataError", "UsageError", "CannotCreateError", "MissingInputError", "ConfigError",
    "FileTakenError", "EmptyFileError",
}  # fmt: skip
PLACES = "pipeline/test_score_bad_input.py::test_places_where_nothing_can_be_written"
LAKES = "io/test_lake_tables.py"
OBJECTS = "io/test_object_store.py"
PIPES = "pipeline/test_score_streams.py"
SEVERAL = "pipeline/test_score_inputs.py::test_inputs_that_cannot_be_meant"
DAYS = "io/test_day_partitions.py::test_what_is_refused_leaves_the_folder"
COLUMNS = "io/test_day_partitions.py::test_columns_that_differ_are_refused_or_taken_as_they_are"
DELTA = "io/test_delta.py::test_what_is_refused_leaves_the_table"
UNREADABLE = "io/test_delta.py::test_a_table_whose_files_do_not_say_what_counts_is_refused"
MERGED = "io/test_delta.py::test_columns_that_differ_are_refused_or_merged"
BUCKETS = "io/test_object_outputs.py"
OTHERWISE = {
    ": deltalake takes #, ? and % in an address": BUCKETS,
    " in a folder's path for another sign": "io/test_delta.py::"
    "test_a_folder_that_deltalake_would_take_for_another_is_refused",
    ": no file of this machine can have so long a name": OBJECTS,
    ": a Delta table is what nights share: add --append": DELTA,
    " is the whole table: leave out --output-table": DELTA,
    " is no Delta table: name one": DELTA,
    ", which appending fills: name another table with -o delta:": DELTA,
    "take it in with --on-new-columns add, or name another table": MERGED,
    "--on-missing-columns null, or name another table": MERGED,
    "a view, or name another table with -o delta:": MERGED,
    ", by which its files alone ": UNREADABLE,
    " is a Delta table that deltalake cannot read (": UNREADABLE,
    " is a Delta table whose log cannot be read (": UNREADABLE,
    ": a Delta table has no type for the column ": "io/test_delta.py::"
    "test_values_come_back_or_the_night_is_refused",
    " cannot hold a value of the column ": "io/test_delta.py::"
    "test_values_come_back_or_the_night_is_refused",
    " makes a folder that nights share: add --append": DAYS,
    " makes a folder: name it with -o": DAYS,
    " writes Parquet: leave out ": DAYS,
    " keeps each input's columns as they are": DAYS,
    " holds the input itself: name another folder": DAYS,
    " is a file: name a folder with -o": DAYS,
    " holds more than folders by day": DAYS,
    ", which --partition-by ": COLUMNS,
    "take it in with --on-new-columns add": COLUMNS,
    "--on-missing-columns null, or name another folder": COLUMNS,
    "cast it in the input, or name another folder": COLUMNS,
    " is a disk of its own": "io/test_day_partitions.py::"
    "test_a_disk_of_its_own_has_no_place_beside_it",
    " and is not an output of this input: name another with ": "pipeline/test_score_outputs.py",
    " lacks the column ": "reliability/test_odd_names.py::"
    "test_a_table_that_lost_a_column_is_refused_before_anything_is_scored",
    "standard input (-) can be read once only: name it once": SEVERAL,
    "--input-name is the name of standard input": SEVERAL,
    " and the others are outputs of earlier runs": SEVERAL,
    "say what standard input is with --input-format ": PIPES,
    "standard output (-o -) takes one input": PIPES,
    "nothing came on standard input": PIPES,
    "--input-name is empty or too long": PIPES,
    " is nothing for a terminal": f"{PIPES}::test_a_terminal_shows_text_alone",
    " may not be read by this user: check its permissions": "reliability/test_permissions.py",
    "--append collects inputs in one table of a .duckdb file": "reliability/"
    "test_remedies_tables.py",
    " by its suffix, --output-format says ": "pipeline/test_score_inputs.py",
    ": a column without a name, as one of the input is": "pipeline/test_score_inputs.py::"
    "test_a_column_without_a_name_fits_plain_csv_alone",
    " holds the whole of ": "queries/test_counted_once.py::test_a_trial_replaces_no_whole_output",
    " has a row of more than 64 MB: check its quotes, or write it as Parquet": "reliability/"
    "test_remedies.py::test_a_row_that_is_too_long_is_read_from_parquet",
    " has a header of more than 64 MB: check it": "reliability/test_odd_names.py",
    ": rename the file or its folder": "reliability/test_odd_names.py",
    ": use another -o": "reliability/test_protected.py",
    ": give the result a folder of its own": "reliability/test_protected.py",
    "cannot create ": "reliability/test_protected.py",
    " exactly, and nothing was written: correct the input": "io/test_column_changes.py",
    " in the way": "io/test_atomic.py",
    " than --memory-limit allows: raise it": "reliability/test_faults.py::"
    "test_a_memory_limit_that_is_too_low",
    "a file is damaged (": "store/test_verify.py",
    " is the store or already open: give the store its own file": "io/test_duckdb_errors.py",
    " is truncated or corrupt: get it again (": "io/test_sources.py::"
    "test_a_duckdb_file_that_is_cut_off_is_bad_data",
    ": give the result a file of its own": "reliability/test_protected.py",
    ", or append to another with --output-table": "reliability/"
    "test_remedies_tables.py::test_a_table_that_does_not_fit_can_be_altered_or_left",
    "cannot write ": PLACES,
    "cannot create table ": "io/test_sinks.py::test_a_view_is_not_replaced_by_a_table",
    " cannot be read: ": "io/test_sources.py::test_a_duckdb_file_that_is_cut_off_is_bad_data",
    " was written by a newer DuckDB: upgrade duckdb": "io/test_duckdb_errors.py",
    " cannot be parsed as CSV (": "reliability/test_fuzz.py",
    ": name an output with -o, a file, a folder or an address": OBJECTS,
    "a bucket's prefix without a file's suffix": "io/test_delta_in_bucket.py::"
    "test_what_cannot_be_is_said_in_one_line",
    ": an object is one output whole": f"{BUCKETS}::test_what_cannot_be_is_said_in_one_line",
    ", Azure takes no more than 5.2 at ": "io/test_addresses.py::"
    "test_what_azure_does_not_take_at_once_is_refused",
    ": a DuckDB file cannot be written in a bucket": f"{BUCKETS}::"
    "test_what_cannot_be_is_said_in_one_line",
    " has no folder beside it: name one for the outputs with -o": "io/test_paths.py",
    ": install what reads it with ": f"{LAKES}::"
    "test_without_the_extension_the_command_that_installs_it_is_named",
    ", and only its catalog knows which of ": f"{LAKES}::"
    "test_which_metadata_of_an_iceberg_table_counts",
    ", which DuckDB cannot read (": f"{LAKES}::test_what_the_extension_cannot_read_is_said",
    ", and DuckDB's extension ": LAKES,
    " cannot be listed (": OBJECTS,
    "the address holds credentials": OBJECTS,
    " objects there": OBJECTS,
    " has a key that cannot be read (": OBJECTS,
}
"""Words of the messages that `test_remedies` does not follow, and the tests that meet them."""


SHORT = 8
"""Characters of words that say nothing by themselves, such as ` line `."""


def refusals() -> Iterator[tuple[str, list[str]]]:
    """Yield (where, words) of each refusal in `io/`: the constant parts of its message."""
    for file in sorted((ROOT / "finsent_batch" / "io").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in EXPECTED:
                words = [
                    part.value
                    for argument in node.args
                    for part in ast.walk(argument)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                yield f"{file.name}:{node.lineno}", words


def followed() -> set[str]:
    return {refusal.says for refusal in (*TEXTS.values(), *TABLES.values())}


def test_every_refusal_has_a_test() -> None:
    known = followed() | set(OTHERWISE)
    missing = [
        (where, words)
        for where, words in refusals()
        if any(len(word) > SHORT for word in words)
        and not any(says in word for says in known if len(says) > SHORT for word in words)
    ]
    assert missing == []


def test_what_is_tested_otherwise_is_tested() -> None:
    written = {word for _, words in refusals() for word in words}
    for words, test in OTHERWISE.items():
        assert any(words in word for word in written), words
        file, _, name = test.partition("::")
        source = (ROOT / "tests" / file).read_text("utf-8")
        assert not name or f"def {name}(" in source, test
