"""The packaged queries: their files, descriptions and parameters."""

import difflib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..io.sql import read_sql, sql_names


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a query, as its file's header declares it."""

    name: str
    type: str
    description: str

    @property
    def required(self) -> bool:
        """Whether the query means nothing without it."""
        return self.description.startswith("required")

    @property
    def default(self) -> str | None:
        """What it is where it is not given; None of a required one."""
        found = re.search(r", default (.+)$", self.description)
        return found[1] if found else None

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the largest whole number that it may be."""
        found = re.search(r"from (\d+) to (\d+)", self.description)
        return (int(found[1]), int(found[2])) if found else (0, 2**31 - 1)

    @property
    def meaning(self) -> str:
        """The description without the default."""
        return re.sub(r", default .+$|^required, ", "", self.description)


@dataclass(frozen=True, kw_only=True)
class Query:
    """One file of `sql/`: a SELECT whose parameters are DuckDB variables with defaults."""

    name: str
    summary: str
    text: str
    parameters: tuple[Parameter, ...]

    @property
    def header(self) -> str:
        """The comment at the top: what it shows, its columns and parameters."""
        lines = itertools.takewhile(lambda line: line.startswith("--"), self.text.splitlines())
        return "\n".join(line.removeprefix("--").removeprefix(" ") for line in lines)

    @property
    def columns(self) -> str:
        """What the header says of the columns, in one line."""
        found = re.search(r"^columns: (.+(?:\n    .+)*)", self.header, re.MULTILINE)
        return " ".join(found[1].split()) if found else ""

    def reads(self, relation: str) -> bool:
        """Whether the query is about this table or view."""
        body = "\n".join(ln for ln in self.text.splitlines() if not ln.startswith("--"))
        return re.search(rf"\b{relation}\b", body) is not None


_PARAMETER = re.compile(r"^-- param (\w+) (\w+): (.+)$", re.MULTILINE)


def query_names() -> list[str]:
    """Return the names of the packaged queries, sorted; `_`-files are parts, not queries."""
    return [name for name in sql_names() if not name.startswith("_")]


def load_query(name: str) -> Query:
    """Read one packaged query.

    Raises:
        UsageError: no such query; the message names the nearest ones.
    """
    names = query_names()
    if name not in names:
        raise UsageError(f"no query named {name!r}; {nearest(name, names)}")
    text = read_sql(name)
    first = text.splitlines()[0].removeprefix("--").strip()
    parameters = tuple(
        Parameter(name=m[1], type=m[2], description=m[3]) for m in _PARAMETER.finditer(text)
    )
    return Query(name=name, summary=first, text=text, parameters=parameters)


def nearest(name: str, known: Sequence[str]) -> str:
    """Return what to say after an unknown name: the names like it, or all there are."""
    close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(known)}"
