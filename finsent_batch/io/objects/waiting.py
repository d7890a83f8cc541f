"""Where the outputs of a bucket wait on this machine, and the options that do not go with one."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from ...config import ScoreConfig
from ...errors import UsageError
from ..pairs import FilePair
from ..paths import TABLES, output_format_of, suffix_of
from .addresses import ADDRESSES, address_of, divided, is_address


@dataclass(frozen=True, kw_only=True)
class WaitingPlace:
    """A file or folder of this machine in place of an address, and what is called what."""

    output: Path
    """In place of what `-o` names."""
    folder: Path
    address: str
    """Of what `folder` stands for."""

    def addressed(self, pairs: Iterable[FilePair]) -> list[FilePair]:
        """Return the pairs with the addresses of their outputs.

        Raises:
            UsageError: one of them is an input.
        """
        found = [replace(p, output_address=self._address_of(p.output)) for p in pairs]
        inputs = {divided(pair.address) for pair in found if pair.address}
        for address in filter(None, (pair.output_address for pair in found)):
            if divided(address) in inputs:
                raise UsageError(f"output {address} is the input itself: name another with -o")
        return found

    def _address_of(self, file: Path) -> str:
        return f"{self.address}/{file.relative_to(self.folder).as_posix()}"


@contextmanager
def waiting_outputs(address: str) -> Iterator[WaitingPlace]:
    """Give a place for the outputs of an address: an object's by its suffix, or else a prefix's."""
    with tempfile.TemporaryDirectory(prefix="finsent-output-") as made:
        folder = Path(made)
        _, key = divided(address)
        if output_format_of(PurePath(key)) is None:
            yield WaitingPlace(output=folder, folder=folder, address=address.rstrip("/"))
        else:
            above, _, name = address.rpartition("/")
            yield WaitingPlace(output=folder / name, folder=folder, address=above)


def check_output(config: ScoreConfig) -> None:
    """Refuse an address as an output that is none, or options that do not go with one.

    Raises:
        UsageError: so it is.
    """
    address = address_of(config.output)
    if address is None:
        return
    if not is_address(address):
        raise UsageError(
            f"-o {address}: outputs are files of this machine, or {ADDRESSES} addresses"
        )
    _, key = divided(address)
    if config.append or config.partition_by is not None:
        raise UsageError(
            f"-o {address}: an object is one output whole; leave out --append and --partition-by, "
            "or collect inputs on this machine"
        )
    if suffix_of(PurePath(key)) == TABLES or config.output_table is not None:
        raise UsageError(
            f"-o {address}: a DuckDB file cannot be written in a bucket: name .parquet or .csv "
            "there, or a .duckdb file of this machine"
        )
