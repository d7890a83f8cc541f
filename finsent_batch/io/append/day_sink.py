"""A folder of Parquet by days that many inputs share, night after night; see `day_files`."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import BadDataError, CannotCreateError
from ..atomic import UNTOUCHED, keep_mode_and_owner, make_folder, write_failed
from ..base import Source, holds_the_whole
from ..columns import RowSchema
from ..parquet import ParquetSink, parquet_batch, parquet_writer, signed_schema
from ..paths import check_inside
from ..provenance import Provenance
from ..result_columns import CONFIDENT_COLUMN, RESULT_SCHEMA
from .column_changes import ColumnPolicy, spelled_as
from .day_files import (
    DAY,
    EVERY_DAY,
    NO_DAY,
    complete,
    file_name,
    files_of,
    is_undone,
    locked,
    replace_files,
    waiting_folder,
)
from .day_rows import DayReader, write_days


class DayPartitionsSink:
    """A folder by days to which each input adds its files, or replaces its own.

    The rows without a time that can be read are in the folder of no day. Files have the columns
    of their input; the day stands in the folder's name alone.
    """

    policy = ColumnPolicy()
    """What becomes of columns that differ from those of other inputs; set by whoever opens it."""
    folders_name_day = False
    """Whether the input's folders name its day: its column `day` is then the folder's here too."""
    changes: Sequence[str] = ()

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.path = os.path.realpath(folder)
        self.table: str | None = None
        self._folder = Path(self.path)
        self._connection = connection
        self._own: list[Path] = []
        self._spelling: list[str] = []
        """The columns of other inputs there, whose names stand in the files of this one too."""

    def exists(self) -> bool:
        """Return whether the input that `check_replaceable` was told of has rows there."""
        return bool(self._own)

    def provenance(self) -> Provenance | None:
        """Return what the input's first file there says of itself."""
        return ParquetSink(self._own[0]).provenance() if self._own else None

    def check_replaceable(
        self, source: Source, *, overwrite: bool, limit: int | None = None
    ) -> None:
        """Refuse a folder of something else, or one with more rows of the input than `limit`."""
        if self._folder.exists():
            self._check_by_days()
        self._own = files_of(self._folder, source.path, source.table)
        made = self.provenance()
        if limit is not None and not overwrite and made is not None and made.limit is None:
            raise holds_the_whole(source, limit, self.path)

    def _check_by_days(self) -> None:
        if not self._folder.is_dir():
            raise CannotCreateError(f"{self.path} is a file: name a folder with -o")
        others = [
            entry.name
            for entry in self._folder.iterdir()
            if not entry.name.startswith((f"{DAY}=", "."))
        ]
        if others:
            raise CannotCreateError(
                f"{self.path} holds more than folders by day, such as {sorted(others)[0]}: name "
                "another folder with -o, or an empty one"
            )

    def check_columns(self, schema: RowSchema) -> None:
        """Refuse a column `day` of the input's own, and columns that other inputs there lack."""
        own = [name for name in schema.names if name.casefold() == DAY]
        if own and not self.folders_name_day:
            raise BadDataError(
                f"the input already has the column {own[0]!r}, which --partition-by {DAY} adds: "
                "rename it"
            )
        ParquetSink(self._folder).check_columns(schema)
        self.changes = self._compared(schema)

    def _compared(self, schema: RowSchema) -> list[str]:
        """Compare the columns with those of the newest file of another input."""
        there = [f for f in self._folder.glob(f"{EVERY_DAY}/*.parquet") if f not in self._own]
        dated = [file for file in there if file.parent.name != f"{DAY}={NO_DAY}"]
        if not there:
            return []
        other = max(dated or there)
        try:
            schema_there = pq.read_schema(other)
        except (OSError, pa.ArrowException):
            return []
        self._spelling, had = schema_there.names, _types(schema_there)
        given = _types(signed_schema(schema, None, self.path)[0])
        named, changes = f"{other} ", []
        for name in given.keys() - had.keys() if self.policy.new == "fail" else ():
            raise CannotCreateError(
                f"{named}has no column {name!r}, the input has: take it in with --on-new-columns "
                "add, or name another folder with -o"
            )
        for name in had.keys() - given.keys() if self.policy.missing == "fail" else ():
            raise CannotCreateError(
                f"{named}has the column {name!r}, the input has not: go on without it with "
                "--on-missing-columns null, or name another folder with -o"
            )
        changes += [f"column {name!r} is new" for name in sorted(given.keys() - had.keys())]
        changes += [f"column {name!r} is missing" for name in sorted(had.keys() - given.keys())]
        for name in sorted(given.keys() & had.keys()):
            if had[name] != given[name] and "null" not in (had[name], given[name]):
                raise CannotCreateError(
                    f"{named}holds {had[name]} in the column {name!r}, the input {given[name]}: "
                    "cast it in the input, or name another folder with -o"
                )
        return changes

    def check_writable(self) -> None:
        """Refuse a place that cannot be written, and complete what a killed run left undone."""
        parent = next(path for path in self._folder.parents if path.exists())
        for place in (parent, *([self._folder] if self._folder.exists() else [])):
            if not os.access(place, os.W_OK | os.X_OK):
                raise CannotCreateError(f"cannot write {place}: check the path and its permissions")
        if not self._folder.exists():
            return
        if os.path.ismount(self._folder):
            raise CannotCreateError(
                f"{self.path} is a disk of its own, beside which no file can wait: name a folder "
                "in it with -o"
            )
        with self._expected_failures(), locked(self._folder):
            complete(self._folder)

    def write(
        self, schema: RowSchema, batches: Iterator[pa.RecordBatch], provenance: Provenance
    ) -> None:
        """Replace the input's files by the rows of the batches, all of them or none."""
        name = file_name(provenance.input or "", provenance.input_table)
        with self._expected_failures():
            make_folder(self._folder)
            with locked(self._folder):
                complete(self._folder)
                old = files_of(self._folder, provenance.input or "", provenance.input_table)
                with waiting_folder(self._folder) as waiting:
                    self._fill(waiting, name, schema, batches, provenance)
                    made = [file for file in waiting.iterdir() if file.name.startswith(f"{DAY}=")]
                    replace_files(
                        self._folder,
                        waiting,
                        {file.name: f"{file.name}/{name}" for file in made},
                        [str(file.relative_to(self._folder)) for file in old],
                    )

    def _fill(
        self,
        waiting: Path,
        name: str,
        schema: RowSchema,
        batches: Iterator[pa.RecordBatch],
        provenance: Provenance,
    ) -> None:
        held, signed = signed_schema(schema, provenance, self.path)
        left_out = [column for column in held.names if column.casefold() == DAY]
        kept = [column for column in held.names if column not in left_out]
        for column in left_out:
            index = held.get_field_index(column)
            held, signed = held.remove(index), signed.remove(index)
        held, signed = (spelled_as(columns, self._spelling) for columns in (held, signed))
        reader = DayReader(self._connection.cursor(), schema.arrow, provenance)

        def by_day() -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
            for batch in batches:
                yield parquet_batch(batch.select(kept), held), reader.days(batch)

        @contextmanager
        def opened(day: str) -> Iterator[pq.ParquetWriter]:
            file = waiting / f"{DAY}={day}"
            with parquet_writer(file, signed) as writer:
                yield writer
            _to_disk(file, self._folder / file.name / name)

        write_days(by_day(), held, opened, waiting / "rest")
        if not any(waiting.glob(EVERY_DAY)):  # no rows, which a file says
            with opened(NO_DAY):
                pass

    @contextmanager
    def _expected_failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            stands = "the next run completes it" if is_undone(self._folder) else UNTOUCHED
            raise write_failed(self._folder, error, stands) from None
        finally:
            with suppress(OSError):
                self._folder.rmdir()  # it was made for nothing


def _types(schema: pa.Schema) -> dict[str, str]:
    """Return the types of an input's own columns by their names in small letters."""
    added = {*RESULT_SCHEMA.names, CONFIDENT_COLUMN, DAY}
    names = {field.name.casefold(): str(field.type) for field in schema}
    return {name: kind for name, kind in names.items() if name not in added}


def _to_disk(file: Path, replaced: Path) -> None:
    check_inside(replaced, replaced.parent.parent)
    descriptor = os.open(file, os.O_RDWR)
    try:
        keep_mode_and_owner(descriptor, replaced)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
