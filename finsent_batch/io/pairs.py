"""Pairs of one input table and one output each: where the labels of an input go."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..config import ScoreConfig
from ..errors import BadDataError, UsageError
from .append.options import shared_folder
from .objects.addresses import address_of, divided, is_address, shown
from .paths import (
    OTHER_OUTPUT_SUFFIXES,
    OUTPUT_MARK,
    OUTPUT_SUFFIXES,
    STANDARD_STREAM,
    TABLES,
    check_inside,
    format_of,
    names_folder,
    output_format_of,
    stem_of,
    store_files,
    suffix_of,
)
from .sql import folded
from .whole.system_errors import check_target


@dataclass(frozen=True, kw_only=True)
class FilePair:
    """One table in, one table out; files only, nothing is opened yet."""

    input: Path
    table: str | None
    output: Path
    output_table: str | None
    input_format: str | None = None
    """One of `text.formats.INPUT_FORMATS`; None for a table of a DuckDB file."""
    output_format: str | None = None
    """One of `text.formats.OUTPUT_FORMATS`, or `delta`; None for a table of a DuckDB file."""
    output_schema: str | None = None
    """The schema that the user names before the table: made if it is not there."""
    append: bool = False
    partition_by: str | None = None
    """What the folders of `output` are by; None for a file or table."""
    address: str | None = None
    """Where `input` was copied from, if from elsewhere."""
    output_address: str | None = None
    """The object that `output` becomes, if the output is in a bucket."""
    to_standard_output: bool = False
    """Whether `output` is only where the rows wait until they are whole."""

    @property
    def named(self) -> str:
        """What the user calls the input."""
        return self.address or str(self.input)


def to_standard_output(config: ScoreConfig) -> bool:
    """Return whether labelled rows go to standard output, as they do from standard input alone."""
    if config.output is None:
        return config.inputs == (STANDARD_STREAM,)
    return str(config.output) == STANDARD_STREAM


def beside(folder: Path) -> Path:
    """Return a folder's default output folder; `.` and `..` are taken for what they are."""
    named = Path(os.path.normpath(Path.cwd() / folder)) if folder.name in ("", "..") else folder
    if not named.name:
        raise UsageError(f"{folder} has no folder beside it: name one for the outputs with -o")
    return named.with_name(named.name + OUTPUT_MARK)


def only_pair(config: ScoreConfig, path: Path) -> FilePair:
    """Return the pair of an input that is the only one; `-o` may name its output."""
    output = config.output
    if output is not None:
        check_target(output)
    if output is not None and (folder := shared_folder(config)) is not None:
        return _into_folder(config, path, folder)
    if output is None:
        output = path if suffix_of(path) == TABLES else path.with_name(_output_name(config, path))
    elif output.is_dir() or names_folder(output):  # as with several inputs
        output /= _output_name(config, path)
    check_inside(output, output.parent)
    return _checked(config, path, output, config.output_table)


def pair_of_many(
    config: ScoreConfig, path: Path, folder: Path | None, inside: Path = Path()
) -> FilePair:
    """Return the pair of an input that is one of several.

    `folder` is where the outputs go, this one to its subfolder `inside`, or the DuckDB file
    that holds them; None puts the output beside the input.
    """
    if folder is None:
        return only_pair(config, path)
    check_target(folder)
    if (shared := shared_folder(config)) is not None:
        return _into_folder(config, path, shared)
    kind = suffix_of(folder)
    if kind == TABLES:
        if config.output_table and not config.append:
            raise UsageError(
                "--output-table names one table, the inputs are several: collect them in it "
                "with --append, or leave it out"
            )
        check_inside(folder, folder.parent)
        return _checked(config, path, folder, config.output_table)
    if output_format_of(folder) and not folder.is_dir():
        raise UsageError(f"the inputs are several: name a folder with -o, not {folder}")
    output = folder / inside / _output_name(config, path)
    check_inside(output, folder)
    return _checked(config, path, output, config.output_table)


def _output_name(config: ScoreConfig, path: Path) -> str:
    table = config.table if suffix_of(path) == TABLES else None
    stem = path.name if path.is_dir() else stem_of(path)  # a lakehouse table is a folder
    return f"{table or stem}{OUTPUT_MARK}.{config.output_format or 'parquet'}"


def check_targets(pairs: Iterable[FilePair], *, append: bool) -> None:
    """Refuse two inputs with one output, unless they share a table.

    Raises:
        UsageError: there are such inputs.
    """
    targets: dict[tuple[Path, str | None], Path] = {}
    for pair in pairs:
        other = targets.setdefault((pair.output, folded(pair.output_table)), pair.input)
        if other is not pair.input and not append:
            raise UsageError(
                f"{other} and {pair.input} would both be written to {pair.output}: "
                "score them one by one with -o"
            )


def _into_folder(config: ScoreConfig, path: Path, folder: Path) -> FilePair:
    """Return the pair of an input that is appended to a folder by days, or to a Delta table."""
    _check_names(path, folder)
    address = address_of(folder)
    named = {divided(name) for name in config.inputs if is_address(name)}
    if divided(address) in named if address else path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            f"output {shown(folder)} holds the input itself: name another folder with -o"
        )
    table = config.table if suffix_of(path) == TABLES else None
    return FilePair(
        input=path,
        table=table,
        input_format=None if table else config.input_format or format_of(path),
        output=folder,
        output_table=None,
        output_format="parquet" if config.partition_by else "delta",
        append=True,
        partition_by=config.partition_by,
    )


def _check_names(path: Path, output: Path) -> None:
    for name, kind in ((path, BadDataError), (output, UsageError)):
        if any("\ud800" <= character <= "\udfff" for character in str(name)):
            shown = str(name).encode("utf-8", "replace").decode()
            raise kind(f"the name of {shown} is not valid in this locale: rename the file")


def _checked(config: ScoreConfig, path: Path, output: Path, output_table: str | None) -> FilePair:
    _check_names(path, output)
    table = config.table if suffix_of(path) == TABLES else None
    output_format = None
    if suffix_of(output) == TABLES:
        output_table = output_table or f"{table or stem_of(path)}_scored"
    else:
        output_format = _output_format(config, output)
        if output_table is not None:
            raise UsageError(f"--output-table goes with a .duckdb output, not with {output}")
    # DuckDB's names are the same whatever their case: `News` would replace `news`.
    same = os.path.realpath(output) == os.path.realpath(path)
    if same and folded(output_table) == folded(table):
        raise UsageError(f"output {output} is the input itself: name another with -o")
    if os.path.realpath(output) in map(os.path.realpath, store_files(config.store.path)):
        raise UsageError(f"output {output} is the store: give the results their own file")
    return FilePair(
        input=path,
        table=table,
        input_format=None if table else config.input_format or format_of(path),
        output=output,
        output_table=output_table,
        output_format=output_format,
        output_schema=_schema_of(config.output_table),
        append=config.append,
    )


def _output_format(config: ScoreConfig, output: Path) -> str:
    """Return what a file is written as: what its suffix says, so that readers know it too."""
    said, chosen = output_format_of(output), config.output_format
    if said and chosen and said != chosen:
        raise UsageError(
            f"{output} is {said} by its suffix, --output-format says {chosen}: leave one out"
        )
    if said:
        return said
    outputs = f"outputs are {OUTPUT_SUFFIXES}; also {OTHER_OUTPUT_SUFFIXES}"
    raise UsageError(f"{output}: unknown output suffix {suffix_of(output)!r}; {outputs}")


def _schema_of(table: str | None) -> str | None:
    schema, dot, name = (table or "").partition(".")
    return schema if dot and schema and name else None
