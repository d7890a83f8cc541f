"""The SQL files of `sql/` and the quoting of names that come from users."""

import re
from dataclasses import dataclass
from importlib import resources

from .errors import UsageError


def quote_identifier(name: str) -> str:
    """Return a name of any characters as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return text as a quoted SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a query, as its file's header declares it."""

    name: str
    type: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Query:
    """One file of `sql/`: a SELECT whose parameters are DuckDB variables with defaults."""

    name: str
    summary: str
    text: str
    parameters: tuple[Parameter, ...]

    @property
    def reads_published(self) -> bool:
        """Whether the query is about news (`scored_headlines`) rather than the store's tables."""
        body = "\n".join(ln for ln in self.text.splitlines() if not ln.startswith("--"))
        return "scored_headlines" in body


_PARAMETER = re.compile(r"^-- param (\w+) (\w+): (.+)$", re.MULTILINE)


def query_names() -> list[str]:
    """Return the names of the packaged queries, sorted."""
    folder = resources.files("finsent_batch.sql")
    return sorted(f.name.removesuffix(".sql") for f in folder.iterdir() if f.name.endswith(".sql"))


def load_query(name: str) -> Query:
    """Read one packaged query.

    Raises:
        UsageError: no such query; the message lists those there are.
    """
    names = query_names()
    if name not in names:
        raise UsageError(f"no query named {name!r}; there are: {', '.join(names)}")
    text = resources.files("finsent_batch.sql").joinpath(f"{name}.sql").read_text("utf-8")
    first = text.splitlines()[0].removeprefix("--").strip()
    parameters = tuple(
        Parameter(name=m[1], type=m[2], description=m[3]) for m in _PARAMETER.finditer(text)
    )
    return Query(name=name, summary=first, text=text, parameters=parameters)
