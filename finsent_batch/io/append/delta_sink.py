"""A Delta table that many inputs share: each replaces its own rows in one commit."""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...errors import BadDataError, CannotCreateError, StorageError, TryAgainError, first_line
from ...failpoints import failpoint
from ...optional_imports import load_deltalake
from ..atomic import force_to_disk
from ..base import Source, decodable, holds_the_whole
from ..columns import RowSchema
from ..duckdb_append import INPUT_COLUMN, input_name
from ..duckdb_errors import disk_reason, is_storage_failure, storage_advice
from ..lake.delta import LOG, is_delta, live_files, open_delta, options_of, unwrapped
from ..objects.addresses import address_of, divided
from ..objects.bucket import bucket_of
from ..objects.failures import told_of_table
from ..parquet import parquet_batch, parquet_schema
from ..provenance import Provenance
from ..result_columns import RESULT_SCHEMA
from ..sql import quote_literal
from .column_changes import ColumnPolicy, spelled_as
from .delta_types import delta_batch, delta_schema

_STORES_ERROR = re.compile(r"Generic (S3|GCS|MicrosoftAzure) error")


class DeltaSink:
    """A Delta table to which each input adds its rows, or replaces its own.

    A commit names the run in a transaction of the input (`txn` in the log), so that a run which
    comes to its commit twice is there once; another run of the same input replaces its rows.
    """

    policy = ColumnPolicy()
    """What becomes of columns that differ from the table's; set by whoever opens it."""
    changes: Sequence[str] = ()
    """What became of them, in words, once they were compared."""

    def __init__(self, folder: Path) -> None:
        self._address = address_of(folder)
        self.path = self._address or os.path.realpath(folder)
        self.table: str | None = None
        self._folder = folder if self._address else Path(self.path)

    def exists(self) -> bool:
        """Return whether there is such a table."""
        return is_delta(self._folder, CannotCreateError)

    def provenance(self) -> Provenance | None:
        """Return what the table says of its making: that inputs share it."""
        return Provenance(input=None, append=True) if self.exists() else None

    def check_replaceable(
        self, source: Source, *, overwrite: bool, limit: int | None = None
    ) -> None:
        """Refuse what is no such table, or one with more rows of the input than `limit`."""
        load_deltalake()
        if not self.exists():
            if self._holds_others():
                raise CannotCreateError(
                    f"{self.path} is no Delta table: name one, or an empty folder, with -o delta:"
                )
            return
        if limit is None or overwrite:
            return
        rows = open_delta(self._folder).to_pyarrow_dataset()
        own = pa.dataset.field(INPUT_COLUMN) == input_name(source.path, source.table)
        if INPUT_COLUMN in rows.schema.names and rows.count_rows(filter=own) > limit:
            raise holds_the_whole(source, limit, self.path)

    def _holds_others(self) -> bool:
        if self._address is not None:
            bucket, prefix = divided(self._address)
            return next(bucket_of(bucket).keys(prefix), None) is not None
        folder = self._folder
        return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))

    def check_columns(self, schema: RowSchema) -> None:
        """Refuse columns that the table has no type for, or that differ from its own."""
        if any(name.casefold() == INPUT_COLUMN for name in schema.names):
            raise BadDataError(
                f"the input already has the column {INPUT_COLUMN!r}, which --append adds: rename it"
            )
        given = self._held(schema)
        if not self.exists():
            return
        live_files(self._folder)  # else nobody could read what is written
        there = _names(pa.schema(open_delta(self._folder).schema().to_arrow()))
        if lacking := [name for name in (*RESULT_SCHEMA.names, INPUT_COLUMN) if name not in there]:
            raise CannotCreateError(
                f"{self.path} lacks the column {lacking[0]!r}, which appending fills: name another "
                "table with -o delta:"
            )
        self.changes = self._compared(there, _names(given))

    def _compared(self, there: dict[str, pa.Field], given: dict[str, pa.Field]) -> list[str]:
        added = {*RESULT_SCHEMA.names, INPUT_COLUMN}
        new = sorted(name for name in given.keys() - there.keys() - added)
        missing = sorted(name for name in there.keys() - given.keys() - added)
        if new and self.policy.new == "fail":
            raise CannotCreateError(
                f"{self.path} has no column {new[0]!r}, the input has: take it in with "
                "--on-new-columns add, or name another table with -o delta:"
            )
        if missing and self.policy.missing == "fail":
            raise CannotCreateError(
                f"{self.path} has the column {missing[0]!r}, the input has not: take it as NULL "
                "with --on-missing-columns null, or name another table with -o delta:"
            )
        for name in sorted(given.keys() & there.keys() - added):
            had, kind = _plain(there[name].type), _plain(given[name].type)
            if had != kind:
                raise CannotCreateError(
                    f"{self.path} holds {had} in the column {name!r}, the input {kind}: cast it in "
                    "a view, or name another table with -o delta:"
                )
        changes = [f"column {name!r} was added" for name in new]
        return changes + [f"column {name!r} is missing and NULL" for name in missing]

    def _held(self, schema: RowSchema) -> pa.Schema:
        """Return the columns of the rows as a Delta table has them, without `input_file`."""
        arrow = parquet_schema(schema.arrow, self.path) if schema.from_duckdb else schema.arrow
        return delta_schema(arrow, self.path)

    def check_writable(self) -> None:
        """Refuse a place that cannot be written."""
        if self._address is not None:
            bucket, prefix = divided(self._address)
            bucket_of(bucket).check_writable(prefix)
            return
        place = next(p for p in (self._folder, *self._folder.parents) if p.exists())
        if not os.access(place, os.W_OK | os.X_OK):
            raise CannotCreateError(f"cannot write {place}: check the path and its permissions")

    def write(
        self, schema: RowSchema, batches: Iterator[pa.RecordBatch], provenance: Provenance
    ) -> None:
        """Replace the input's rows by those of the batches, in one commit."""
        deltalake = load_deltalake()
        name = input_name(provenance.input or "", provenance.input_table)
        app, version = _transaction(name, provenance.run_id or "")
        there = open_delta(self._folder) if self.exists() else None
        if there is not None and there.transaction_version(app) == version:
            return  # this run's commit is there already
        held = self._held(schema)
        if there is not None:
            held = spelled_as(held, [field.name for field in there.schema().fields])
        failures: list[BaseException] = []
        rows = self._rows(schema, held, batches, name, failures)
        arrow = held.append(pa.field(INPUT_COLUMN, pa.string()))
        try:
            deltalake.write_deltalake(
                self.path if there is None else there,
                pa.RecordBatchReader.from_batches(arrow, rows),
                mode="error" if there is None else "overwrite",
                predicate=None if there is None else f"{INPUT_COLUMN} = {quote_literal(name)}",
                schema_mode="merge" if self.changes else None,
                storage_options=options_of(self._address) if there is None else None,
                commit_properties=deltalake.CommitProperties(
                    # Of two runs that make the table, the second would add its rows once more.
                    max_commit_retries=0 if there is None else None,
                    app_transactions=[deltalake.Transaction(app, version)],
                    custom_metadata={"finsent_run_id": provenance.run_id or ""},
                ),
            )
        except BaseException as error:
            self._raise_as_expected(error, failures, deltalake)
            raise
        failpoint("table_committed")
        if self._address is None:
            self._force_to_disk()

    def _force_to_disk(self) -> None:
        for file in live_files(self._folder):
            force_to_disk(Path(file))
        for log in (self._folder / LOG).iterdir():
            force_to_disk(log)
        force_to_disk(self._folder / LOG)
        force_to_disk(self._folder)

    def _rows(
        self,
        schema: RowSchema,
        held: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        name: str,
        failures: list[BaseException],
    ) -> Iterator[pa.RecordBatch]:
        parquet = parquet_schema(schema.arrow, self.path) if schema.from_duckdb else None
        try:
            for batch in decodable(batches, self.path):
                given = parquet_batch(batch, parquet) if parquet is not None else batch
                rows = delta_batch(given, held, self.path)
                source = pa.array([name] * rows.num_rows, pa.string())
                yield rows.append_column(pa.field(INPUT_COLUMN, pa.string()), source)
                failpoint("in_table")
            failpoint("before_table_commit")
        except GeneratorExit:
            raise
        except BaseException as error:
            failures.append(error)
            raise

    def _raise_as_expected(
        self, error: BaseException, failures: list[BaseException], deltalake: Any
    ) -> None:
        if failures:  # of the making of rows, which deltalake gave another form
            raise failures[0] from None
        if isinstance(error, deltalake.exceptions.CommitFailedError):
            raise TryAgainError(
                f"another process wrote {self.path} meanwhile ({first_line(error)}): run again"
            ) from None
        error = unwrapped(error)
        of_store = isinstance(error, OSError) or _STORES_ERROR.search(str(error)) is not None
        if self._address is not None and of_store:
            raise told_of_table(
                self._address, "cannot be written", error, CannotCreateError
            ) from None
        if is_storage_failure(error) or isinstance(error, OSError):
            raise StorageError(
                f"writing {self.path} failed ({disk_reason(error)}): its rows are the earlier "
                f"ones, and scores are kept; {storage_advice(error)} and run again"
            ) from None


def _transaction(name: str, run_id: str) -> tuple[str, int]:
    """Return the application id and version by which a table knows a run's commit of an input.

    The version is the time in the run's id, in milliseconds.
    """
    made = uuid.UUID(run_id).int >> 80 if run_id else 0
    return f"finsent-batch:{hashlib.sha256(name.encode()).hexdigest()[:16]}", made


def _names(schema: pa.Schema) -> dict[str, pa.Field]:
    return {field.name.casefold(): field for field in schema}


def _plain(kind: pa.DataType) -> str:
    """Return a type's name, whatever names and forms its parts have in Arrow."""
    held = str(kind).replace("large_", "").replace("_view", "")
    return held.replace("element:", "item:").replace(" not null", "")
