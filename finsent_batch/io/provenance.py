"""Provenance: what an output says of its making, so that the same command may replace its own."""

import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Protocol, Self

PROVENANCE_KEY: Final = "finsent_batch"
"""Under which a Parquet file's metadata and a table's comment hold it."""

_SETTLED: Final = ("limit", "text_column", "date_column", "date_format", "timezone")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Which run made an output, and from what."""

    input: str | None
    """Absolute path or address of the input; None for a table that inputs share."""
    input_table: str | None = None
    run_id: str | None = None
    version: str | None = None
    """The version of this program."""
    model: str | None = None
    model_fingerprint: str | None = None
    append: bool = False
    """Whether the output is a table that inputs share."""
    limit: int | None = None
    """Of a trial, how many of the input's first rows it holds at most; None for all."""
    settled: bool = False
    """Whether it is known where the news stand in the input, and so what follows."""
    text_column: str | None = None
    date_column: str | None = None
    date_format: str | None = None
    timezone: str | None = None

    def shared(self) -> "Provenance":
        """Return what a table that inputs share says after one of them was added."""
        return Provenance(input=None, run_id=self.run_id, version=self.version, append=True)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, as outputs keep it."""
        own = asdict(self)
        if self.append:
            return {name: own[name] for name in ("version", "run_id", "append")} | {
                "input": None,
                "input_table": None,
            }
        names = ("version", "input", "input_table", "run_id", "model", "model_fingerprint")
        return {name: own[name] for name in (*names, *(_SETTLED if self.settled else ()))}

    @classmethod
    def from_json(cls, value: object) -> Self | None:
        """Return the provenance that an output holds as JSON; None for anything else."""
        if not isinstance(value, dict) or "input" not in value:
            return None
        names = [f.name for f in fields(cls) if f.name not in ("append", "settled")]
        known = {name: value.get(name) for name in names}
        for name, given in known.items():
            if not isinstance(given, int | None if name == "limit" else str | None):
                return None
        return cls(**known, append=value.get("append") is True, settled="date_column" in value)


class FileProvenance(Protocol):
    """Where the provenance of files that have no room for it is kept."""

    def find(self, file: Path) -> Provenance | None:
        """Return the provenance of a file that nobody has changed since it was noted."""
        ...

    def note(self, file: Path, coming: os.stat_result, provenance: Provenance) -> None:
        """Note the provenance of what is about to become `file`."""
        ...
