"""Refusals and the ways out that their messages name: how to make the one and follow the other."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

Step = Callable[[], object]
"""Does something in the working folder."""
HEADS = ["Oil falls", "Sales rise", "Net loss"]
ROWS = "id,headline,source\n1,Oil falls,A\n2,Sales rise,B\n3,Net loss,C\n"
TABLE = pa.table({"headline": HEADS})


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What `score` refuses."""

    make: Step
    command: str = "n.csv"
    """What follows `score`, as in a shell."""
    says: str
    """Words of the message, as they stand in the code."""
    advice: Mapping[str, str | Step | tuple[Step, str]]
    """Each way out: words of the message, and the command that then works, after a step or not.

    A step alone is followed by the same command.
    """
    code: int = 65
    rows: int = 3
    """That are read once an advice is followed."""


def written(name: str, content: str, encoding: str = "utf-8") -> Step:
    return lambda: Path(name).write_bytes(content.encode(encoding))


def as_parquet(columns: dict[str, Any], name: str = "n.parquet") -> Step:
    return lambda: pq.write_table(pa.table(columns), name)


def sql(*statements: str, name: str = "n.duckdb") -> Step:
    def make() -> None:
        with duckdb.connect(name) as connection:
            for statement in statements:
                connection.execute(statement)

    return make


def steps(*found: Step) -> Step:
    return lambda: [step() for step in found]


def follow(
    run: Callable[..., Any], refusal: Refusal, words: str, model: Path
) -> tuple[Any, dict[str, Any]]:
    """Run into a refusal, follow one advice; gives the refusal's result and the summary after."""
    options = ("--model", model, "--weights", "fp32", "--summary", "json")

    def score(command: str) -> Any:
        return run("score", *shlex.split(command), *options)

    refusal.make()
    refused = score(refusal.command)
    error = refused.err.splitlines()[-1] if refused.err else ""
    assert refused.code == refusal.code, refused.err
    assert refusal.says in error
    assert words in error
    advice = refusal.advice[words]
    step, command = (None, advice) if isinstance(advice, str) else (advice, refusal.command)
    if isinstance(advice, tuple):
        step, command = advice
    if step is not None:
        step()
    done = score(str(command))
    assert done.code == 0, done.err
    return refused, done.json
