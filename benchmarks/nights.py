"""Fourteen nights, one after another, into one store and one DuckDB table.

    python benchmarks/nights.py ../shared/data

Then the last night once more, which must find nothing to score, and in other
arithmetic, which is another model: it must score everything and keep the old scores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
from report import emit

COUNTS = ("read", "unique_scored", "from_store", "duplicate", "empty", "invalid")


def night(file: Path, folder: Path, *options: str) -> dict[str, Any]:
    """Score one night into the table and return the summary."""
    command = [
        str(Path(sys.executable).parent / "finsent-batch"),
        "--store", str(folder / "store.duckdb"), "score", str(file), "--summary", "json",
        "-o", str(folder / "news.duckdb"), "--output-table", "headlines", "--append", *options,
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    summary: dict[str, Any] = json.loads(done.stdout)
    summary["rows"]["from_store"] = summary["rows"]["reused"] - summary["rows"]["duplicate"]
    return summary


def ask(file: Path, sql: str) -> Any:
    """Return the one value that SQL gives."""
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute(sql).fetchall()[0][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    files = sorted((parser.parse_args().data / "feeds" / "nightly").glob("*.parquet"))
    passes = [(f.stem, f, ()) for f in files]
    passes += [
        (f"{files[-1].stem} again", files[-1], ()),
        (f"{files[-1].stem} in fp32", files[-1], ("--weights", "fp32")),
    ]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        published: dict[Path, int] = {}
        for name, file, options in passes:
            summary = night(file, folder, *options)
            published[file] = summary["rows"]["read"]
            there = ask(folder / "news.duckdb", "SELECT count(*) FROM headlines")
            assert there == sum(published.values()), "rows lost or doubled"
            kept = ask(folder / "store.duckdb", "SELECT count(*) FROM scores")
            counts = [summary["rows"][c] for c in COUNTS]
            rows.append([name, *counts, there, kept, summary["seconds"]["total"]])
    emit("nights", ["night", *COUNTS, "rows in table", "scores in store", "s"], rows)


if __name__ == "__main__":
    main()
