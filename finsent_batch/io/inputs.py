"""Find the inputs of `score INPUT… -o OUTPUT`, and pair each with its output."""

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..config import ScoreConfig
from ..errors import FinsentError, MissingInputError, UsageError
from .append.options import check_options
from .duckdb_files import table_names
from .lake.tables import check_no_lake_table, lake_table
from .object_store import Copied, fetch
from .objects.addresses import ADDRESSES, address_of, is_address
from .objects.waiting import check_output, waiting_outputs
from .pairs import (
    FilePair,
    beside,
    check_targets,
    only_pair,
    pair_of_many,
    to_standard_output,
)
from .paths import (
    COMMON_SUFFIXES,
    OTHER_SUFFIXES,
    STANDARD_STREAM,
    TABLES,
    format_of,
    is_input,
    is_left_out,
    is_our_output,
    suffix_of,
    visited_once,
    walk,
)
from .text.formats import INPUT_FORMATS
from .whole.standard_streams import copy_standard_input, waiting_place
from .whole.system_errors import check_reachable, matching


@dataclass
class _Copies:
    """Inputs from elsewhere, as they lie here for the run."""

    inputs: dict[str, Path] = field(default_factory=dict)
    """What the user names, and its copy: a file or a folder."""
    addresses: dict[Path, str] = field(default_factory=dict)
    """What each copied file is called where it comes from."""


@contextmanager
def resolve_inputs(
    config: ScoreConfig, copied: Copied, left_out: list[str] | None = None
) -> Iterator[list[FilePair]]:
    """Find a run's inputs and name their outputs; what lies elsewhere is copied here first.

    That is what comes from standard input or an object store; what goes to one waits here.
    `copied` is told the MB done and all there are, now and then while copying; it may raise. Files
    of a folder or glob that are not taken, as no suffix says what they are, are added to
    `left_out`.

    Raises:
        MissingInputError: nothing is there.
        UsageError: an unknown suffix, or options that contradict each other.
        BadDataError: files of a lakehouse table are named, not the table.
        CannotCreateError: a link leads an output out of its folder.
        TryAgainError: the object store fails while it is read.
        StorageError: there is no room for the copies.
    """
    _check_names(config)
    check_output(config)
    check_options(config)
    address = address_of(config.output)
    with ExitStack() as stack:
        if address is None:
            yield stack.enter_context(_inputs_here(config, copied, left_out))
            return
        waiting = stack.enter_context(waiting_outputs(address))
        here = replace(config, output=waiting.output)
        try:
            pairs = stack.enter_context(_inputs_here(here, copied, left_out))
        except FinsentError as error:
            error.args = (str(error).replace(str(waiting.output), address),)
            raise
        yield waiting.addressed(pairs)


@contextmanager
def _inputs_here(
    config: ScoreConfig, copied: Copied, left_out: list[str] | None
) -> Iterator[list[FilePair]]:
    """Pair a run's inputs with outputs on this machine; see `resolve_inputs`."""
    elsewhere = [n for n in config.inputs if n == STANDARD_STREAM or is_address(n)]
    if not elsewhere and not to_standard_output(config):
        yield _resolve_pairs(config, _Copies(), left_out)
        return
    with tempfile.TemporaryDirectory(prefix="finsent-fetched-") as folder:
        copies = _Copies()
        for number, name in enumerate(elsewhere):
            _copy(config, name, Path(folder) / str(number), copies, copied, left_out)
        if to_standard_output(config):
            yield [_to_standard_output(config, copies, Path(folder))]
        else:
            pairs = _resolve_pairs(config, copies, left_out)
            yield [replace(p, address=copies.addresses.get(p.input)) for p in pairs]


def _check_names(config: ScoreConfig) -> None:
    names = config.inputs
    if not all(name.strip() for name in names) or not names:
        raise UsageError("the input's name is empty: name a file, a folder or a quoted glob")
    for name in names:
        if "://" in name and not is_address(name):
            raise UsageError(
                f"{name}: inputs are files and folders of this machine, or {ADDRESSES} addresses"
            )
    if config.output is None:
        for name in names:
            if is_address(name) or (name == STANDARD_STREAM and len(names) > 1):
                raise UsageError(f"{name}: name an output with -o, a file, a folder or an address")
    piped = names.count(STANDARD_STREAM)
    if piped > 1:
        raise UsageError("standard input (-) can be read once only: name it once")
    if config.input_name is not None and not piped:
        raise UsageError("--input-name is the name of standard input: score - --input-name NAME")
    if piped and config.input_format is None:
        raise UsageError(
            f"say what standard input is with --input-format {'|'.join(INPUT_FORMATS)}"
        )


def _copy(
    config: ScoreConfig,
    name: str,
    folder: Path,
    copies: _Copies,
    copied: Copied,
    left_out: list[str] | None,
) -> None:
    """Copy an input from elsewhere into `folder`, which is made, and note what is there."""
    folder.mkdir()
    if name == STANDARD_STREAM:
        assert config.input_format is not None
        file, address = copy_standard_input(folder, config.input_format, config.input_name, copied)
        copies.inputs[name] = file
        copies.addresses[file] = address
        return
    copies.inputs[name], addresses = fetch(name, folder, copied, left_out)
    copies.addresses |= addresses


def _to_standard_output(config: ScoreConfig, copies: _Copies, folder: Path) -> FilePair:
    """Return the only pair of a run whose rows go to standard output."""
    [name] = config.inputs if len(config.inputs) == 1 else [""]
    here = copies.inputs.get(name, Path(name).expanduser())
    lake = lake_table(here) is not None
    if not name or (here.is_dir() and not lake) or (not here.exists() and glob.has_magic(name)):
        raise UsageError("standard output (-o -) takes one input: name one file, or a folder in -o")
    if not lake:
        _check_file(config, here)
    output, chosen = waiting_place(folder, config.output_format, format_of(here))
    pair = only_pair(replace(config, output=output, output_format=chosen), here)
    _check_table(config, [pair])
    return replace(pair, address=copies.addresses.get(here), to_standard_output=True)


def _resolve_pairs(
    config: ScoreConfig, copies: _Copies, left_out: list[str] | None
) -> list[FilePair]:
    """Pair each input with its output, inputs that are named twice once."""
    names = config.inputs
    if len(names) > 1:  # what a shell makes of `feeds/*`, outputs of earlier runs included
        names = tuple(n for n in names if n in copies.inputs or not is_our_output(Path(n)))
        if not names:
            raise MissingInputError(
                f"{config.inputs[0]} and the others are outputs of earlier runs: name their inputs"
            )
    found: dict[tuple[str, str | None], FilePair] = {}
    for name in names:
        path = copies.inputs.get(name, Path(name).expanduser())
        for pair in _pairs(config, name, path, several=len(names) > 1, left_out=left_out):
            found.setdefault((os.path.realpath(pair.input), pair.table), pair)
    pairs = list(found.values())
    _check_table(config, pairs)
    check_targets(pairs, append=config.append)
    return pairs


def _check_table(config: ScoreConfig, pairs: list[FilePair]) -> None:
    if config.table and all(pair.table is None for pair in pairs):
        [*others, last] = pairs
        what = "none of the inputs is one" if others else f"{last.named} is one table by itself"
        raise UsageError(f"--table goes with a .duckdb input; {what}")


def _pairs(
    config: ScoreConfig, name: str, path: Path, *, several: bool, left_out: list[str] | None
) -> list[FilePair]:
    """Pair the files of one INPUT with their outputs; see `resolve_inputs`."""
    check_reachable(path)
    if lake_table(path) is not None:
        path = path if path.name not in ("", "..") else path.resolve()
        return [pair_of_many(config, path, config.output) if several else only_pair(config, path)]
    if path.is_dir():
        check_no_lake_table(*path.absolute().parents)
        base, found = path, list(walk(path))
        files = [f for f in found if is_input(f) and f.is_file()]
        folder = config.output or beside(path)
    elif path.exists() or not glob.has_magic(name):
        _check_file(config, path)
        return [pair_of_many(config, path, config.output) if several else only_pair(config, path)]
    else:
        found = [file for file in matching(str(path)) if file.is_file()]
        files = visited_once(f for f in found if is_input(f))
        check_no_lake_table(*{p for file in files for p in file.absolute().parents})
        base = Path(os.path.commonpath([f.parent for f in files])) if files else path.parent
        folder = config.output or base
    # A pipe of an input's name would never end, and is no more an input than a name unknown.
    others = [str(f) for f in found if is_left_out(f) or (is_input(f) and not f.is_file())]
    if left_out is not None:
        left_out += others
    if not files:
        no = f"{name}: no {COMMON_SUFFIXES} files there (nor {OTHER_SUFFIXES})"
        raise MissingInputError(no + (f"; it has: {', '.join(others[:5])}" if others else ""))
    if config.table and not several:
        raise UsageError("--table goes with one .duckdb input, not with a folder")
    inside = (f.relative_to(base).parent if f.is_relative_to(base) else Path() for f in files)
    return [pair_of_many(config, f, folder, i) for f, i in zip(files, inside, strict=True)]


def _check_file(config: ScoreConfig, path: Path) -> None:
    """Refuse an input that is no file, or none that can be read by its name and the options."""
    suffix = suffix_of(path)
    if format_of(path) is None and suffix != TABLES and config.input_format is None:
        raise UsageError(
            f"{path}: unknown suffix {suffix!r}; inputs are {COMMON_SUFFIXES}, .duckdb, or a "
            f"folder or quoted glob of them; also {OTHER_SUFFIXES}; or say what it is with "
            "--input-format"
        )
    if not path.exists():
        raise MissingInputError(f"{path} does not exist: check the path")
    if not path.is_file():
        raise UsageError(f"{path} is not a regular file: write its content to one and score that")
    if suffix == TABLES and config.table is None:
        raise UsageError(f"{path}: name a table with --table; it has: {table_names(path)}")
