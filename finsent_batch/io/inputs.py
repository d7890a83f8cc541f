"""Resolve `score INPUT -o OUTPUT` into pairs of one input table and one output each."""

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import ScoreConfig
from ..errors import BadDataError, MissingInputError, UsageError
from .duckdb_files import table_names
from .lake.tables import check_no_lake_table, lake_table
from .object_store import SCHEME, Copied, fetch
from .paths import (
    _OUTPUT_MARK,
    COMMON_SUFFIXES,
    OTHER_SUFFIXES,
    check_inside,
    format_of,
    is_input,
    is_left_out,
    stem_of,
    suffix_of,
    visited_once,
    walk,
)

OUTPUT_SUFFIXES = (".parquet", ".csv", ".duckdb")


@dataclass(frozen=True, kw_only=True)
class FilePair:
    """One table in, one table out; files only, nothing is opened yet."""

    input: Path
    table: str | None
    output: Path
    output_table: str | None
    output_schema: str | None = None
    """The schema that the user names before the table: made if it is not there."""
    append: bool = False
    address: str | None = None
    """Where `input` was copied from, if from elsewhere."""

    @property
    def named(self) -> str:
        """What the user calls the input."""
        return self.address or str(self.input)


def resolve_pairs(config: ScoreConfig, left_out: list[str] | None = None) -> list[FilePair]:
    """Find the input files and name an output for each.

    Files of a folder or glob that are not taken, as no suffix says what they are, are
    added to `left_out`.

    Raises:
        MissingInputError: nothing is there.
        UsageError: an unknown suffix, or options that contradict each other.
        BadDataError: files of a lakehouse table are named, not the table.
        CannotCreateError: a link leads an output out of its folder.
    """
    if config.append:
        _check_append(config)
    if not config.input.strip():
        raise UsageError("the input's name is empty: name a file, a folder or a quoted glob")
    if "://" in config.input:
        raise UsageError(
            f"{config.input}: inputs are files and folders of this machine, or s3:// addresses"
        )
    path = Path(config.input).expanduser()
    if lake_table(path) is not None:
        return [_single(config, path if path.name not in ("", "..") else path.resolve())]
    if path.is_dir():
        check_no_lake_table(*path.absolute().parents)
        base, found = path, list(walk(path))
        files = [f for f in found if is_input(f) and f.is_file()]
        folder = config.output or _beside(path)
    elif path.exists() or not glob.has_magic(config.input):
        return [_single(config, path)]
    else:
        found = [Path(p) for p in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - absolute too
        found = [f for f in found if f.is_file()]
        files = visited_once(f for f in found if is_input(f))
        check_no_lake_table(*{p for file in files for p in file.absolute().parents})
        base = Path(os.path.commonpath([f.parent for f in files])) if files else path.parent
        folder = config.output or base
    # A pipe of an input's name would never end, and is no more an input than a name unknown.
    others = [str(f) for f in found if is_left_out(f) or (is_input(f) and not f.is_file())]
    if left_out is not None:
        left_out += others
    if not files:
        named = f"; it has: {', '.join(others[:5])}" if others else ""
        raise MissingInputError(
            f"{config.input}: no {COMMON_SUFFIXES} files there (nor {OTHER_SUFFIXES}){named}"
        )
    if config.table:
        raise UsageError("--table goes with one .duckdb input, not with a folder")
    return _many(config, base, files, folder)


def _check_append(config: ScoreConfig) -> None:
    if config.output_table is None:
        raise UsageError("--append needs --output-table: the one table that all inputs share")
    if config.overwrite and config.limit is None:
        raise UsageError("--append adds to a table, --overwrite replaces it: choose one")


def _beside(folder: Path) -> Path:
    """Return the default output folder; `.` and `..` are taken for the folders they are."""
    named = Path(os.path.normpath(Path.cwd() / folder)) if folder.name in ("", "..") else folder
    if not named.name:
        raise UsageError(f"{folder} has no folder beside it: name one for the outputs with -o")
    return named.with_name(named.name + _OUTPUT_MARK)


def _single(config: ScoreConfig, path: Path) -> FilePair:
    suffix = suffix_of(path)
    if not path.is_dir():  # a lakehouse table is a folder
        _check_file(config, path, suffix)
    if suffix != ".duckdb" and config.table is not None:
        raise UsageError(f"--table goes with a .duckdb input; {path} is one table by itself")
    stem = path.name if path.is_dir() else stem_of(path)
    output = config.output
    if output is None:
        output = path if suffix == ".duckdb" else path.with_name(stem + ".scored.parquet")
    elif output.is_dir():
        output = output / f"{config.table or stem}.scored.parquet"
    check_inside(output, output.parent)
    return _checked(config, path, output, config.output_table)


def _check_file(config: ScoreConfig, path: Path, suffix: str) -> None:
    if format_of(path) is None and suffix != ".duckdb":
        raise UsageError(
            f"{path}: unknown suffix {suffix!r}; inputs are {COMMON_SUFFIXES}, .duckdb, or a "
            f"folder or quoted glob of them; also {OTHER_SUFFIXES}"
        )
    if not path.exists():
        raise MissingInputError(f"{path} does not exist: check the path")
    if not path.is_file():
        raise UsageError(f"{path} is not a regular file: write its content to one and score that")
    if suffix == ".duckdb" and config.table is None:
        raise UsageError(f"{path}: name a table with --table; it has: {table_names(path)}")


def _checked(config: ScoreConfig, path: Path, output: Path, output_table: str | None) -> FilePair:
    for name in (path, output):
        if any("\ud800" <= character <= "\udfff" for character in str(name)):
            shown = str(name).encode("utf-8", "replace").decode()
            raise BadDataError(f"the name of {shown} is not valid in this locale: rename it")
    suffix = suffix_of(output)
    if not suffix:
        raise UsageError(
            f"{output} has no suffix and is not a folder: outputs are "
            f"{', '.join(OUTPUT_SUFFIXES)}, or an existing folder"
        )
    if suffix not in OUTPUT_SUFFIXES:
        raise UsageError(
            f"{output}: unknown output suffix {suffix!r}; outputs are {', '.join(OUTPUT_SUFFIXES)}"
        )
    if suffix == ".duckdb":
        output_table = output_table or f"{config.table or stem_of(path)}_scored"
    elif output_table is not None:
        raise UsageError(f"--output-table goes with a .duckdb output, not with {output}")
    # DuckDB's names are the same whatever their case: `News` would replace `news`.
    same = os.path.realpath(output) == os.path.realpath(path)
    if same and _folded(output_table) == _folded(config.table):
        raise UsageError(f"output {output} is the input itself: name another with -o")
    if os.path.realpath(output) == os.path.realpath(config.store.path):
        raise UsageError(f"output {output} is the store: give the results their own file")
    return FilePair(
        input=path,
        table=config.table,
        output=output,
        output_table=output_table,
        output_schema=_schema_of(config.output_table),
        append=config.append,
    )


def _schema_of(table: str | None) -> str | None:
    schema, dot, name = (table or "").partition(".")
    return schema if dot and schema and name else None


def _folded(name: str | None) -> str | None:
    return None if name is None else name.casefold()


def _many(config: ScoreConfig, base: Path, files: list[Path], folder: Path) -> list[FilePair]:
    kind = suffix_of(folder)
    if kind in OUTPUT_SUFFIXES and not folder.is_dir() and kind != ".duckdb":
        raise UsageError(f"{config.input} is many files: name a folder with -o, not {folder}")
    pairs = []
    for file in files:
        inside = file.relative_to(base).parent if file.is_relative_to(base) else Path()
        if kind == ".duckdb":
            if config.output_table and not config.append:
                raise UsageError(
                    "--output-table names one table, the input is many files: collect them "
                    "in it with --append, or leave it out"
                )
            check_inside(folder, folder.parent)
            pairs.append(_checked(config, file, folder, config.output_table))
        else:
            output = folder / inside / f"{stem_of(file)}.scored.parquet"
            check_inside(output, folder)
            pairs.append(_checked(config, file, output, config.output_table))
    targets: dict[tuple[Path, str | None], Path] = {}
    for pair in pairs:
        other = targets.setdefault((pair.output, _folded(pair.output_table)), pair.input)
        if other is not pair.input and not config.append:
            raise UsageError(
                f"{other} and {pair.input} would both be written to {pair.output}: "
                "score them one by one with -o"
            )
    return pairs


@contextmanager
def resolve_inputs(
    config: ScoreConfig, copied: Copied, left_out: list[str] | None = None
) -> Iterator[list[FilePair]]:
    """Find a run's inputs and name their outputs; what lies in an object store is copied first.

    `copied` is told the MB done and all there are, now and then while copying; it may raise.
    `left_out`: see `resolve_pairs`.

    Raises:
        MissingInputError, UsageError, CannotCreateError: see `resolve_pairs`.
        TryAgainError: the object store fails while it is read.
        StorageError: there is no room for the copies.
    """
    if config.output is not None and "s3:/" in str(config.output):
        raise UsageError(f"-o {config.output}: outputs are written on this machine; copy them then")
    if not config.input.startswith(SCHEME):
        yield resolve_pairs(config, left_out)
        return
    if config.output is None:
        raise UsageError(f"{config.input}: name a file or folder of this machine with -o")
    with tempfile.TemporaryDirectory(prefix="finsent-fetched-") as folder:
        here, addresses = fetch(config.input, Path(folder), copied, left_out)
        yield [
            replace(pair, address=addresses[pair.input])
            for pair in resolve_pairs(replace(config, input=str(here)))
        ]
