"""Fourteen nights, one after another, into one store and one DuckDB table.

    python benchmarks/nights.py ../shared/data

Then the last night once more, which must find nothing to score, and in other
arithmetic, which is another model: it must score everything and keep the old scores.

After every night the totals of each day, as the command and the shell give them, must be those
that SQL of its own finds in the inputs and the scores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
from report import emit

COUNTS = ("read", "unique_scored", "from_store", "duplicate", "empty", "invalid")
FINSENT = str(Path(sys.executable).parent / "finsent-batch")
Days = dict[date, tuple[int, float]]
"""Headlines and mean score of each day."""


def night(file: Path, folder: Path, *options: str) -> dict[str, Any]:
    """Score one night into the table and return the summary."""
    summary: dict[str, Any] = json.loads(
        command(
            folder, "score", str(file), "--summary", "json",
            "-o", str(folder / "news.duckdb"), "--output-table", "headlines", "--append", *options,
        )
    )  # fmt: skip
    summary["rows"]["from_store"] = summary["rows"]["reused"] - summary["rows"]["duplicate"]
    return summary


def command(folder: Path, *arguments: str) -> str:
    """Run the command on the folder's store and return what it prints."""
    done = [FINSENT, "--store", str(folder / "store.duckdb"), *arguments]
    return subprocess.run(done, stdout=subprocess.PIPE, text=True, check=True).stdout


def ask(file: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows that SQL gives, as in the shell."""
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def expected_days(store: Path, models: Mapping[Path, str]) -> Days:
    """Return the totals of the inputs by SQL over them and the scores alone.

    `models` has the fingerprint of the model that scored each input last.
    """
    nights = " UNION ALL ".join(
        f"SELECT published_at, headline, '{model}' AS model FROM read_parquet('{file}')"
        for file, model in models.items()
    )
    rows = ask(
        store,
        rf"""SELECT CAST(published_at AS DATE), count(*), avg(p_positive - p_negative),
            count(p_positive)
        FROM ({nights}) AS n LEFT JOIN scores AS s
            ON s.model_fingerprint = n.model
            AND s.headline = trim(nfc_normalize(regexp_replace(n.headline, '[\s\pZ]+', ' ', 'g')))
        GROUP BY ALL""",
    )
    assert all(count == scored for _, count, _, scored in rows), "a headline has no score"
    return {day: (count, mean) for day, count, mean, _ in rows}


def check_days(folder: Path, models: Mapping[Path, str]) -> int:
    """Compare the totals of each day, three ways; returns how many days there are."""
    expected = expected_days(folder / "store.duckdb", models)
    said = json.loads(command(folder, "query", "daily_sentiment", "--format", "json"))
    sql = "SELECT day, headlines, mean_score FROM daily_sentiment"
    found: dict[str, Days] = {
        "the command": {
            date.fromisoformat(row["day"]): (row["headlines"], row["mean_score"]) for row in said
        },
        "the shell": {day: (n, mean) for day, n, mean in ask(folder / "store.duckdb", sql)},
    }
    for who, days in found.items():
        assert days.keys() == expected.keys(), f"{who} has other days"
        for day, (count, mean) in days.items():
            assert count == expected[day][0], f"{who} counts {count} headlines on {day}"
            assert abs(mean - expected[day][1]) < 1e-4, f"{who} has another mean on {day}"
    return len(expected)


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
        models: dict[Path, str] = {}
        for name, file, options in passes:
            summary = night(file, folder, *options)
            published[file] = summary["rows"]["read"]
            models[file] = summary["model_fingerprint"]
            [(there,)] = ask(folder / "news.duckdb", "SELECT count(*) FROM headlines")
            assert there == sum(published.values()), "rows lost or doubled"
            [(kept,)] = ask(folder / "store.duckdb", "SELECT count(*) FROM scores")
            days = check_days(folder, models)
            counts = [summary["rows"][c] for c in COUNTS]
            rows.append([name, *counts, there, kept, days, summary["seconds"]["total"]])
            print(f"{name}: {days} days as in the inputs", file=sys.stderr)
    columns = ["night", *COUNTS, "rows in table", "scores in store", "days", "s"]
    emit("nights", columns, rows)


if __name__ == "__main__":
    main()
