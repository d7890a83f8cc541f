"""Kill runs at named places and at random times; what is found then, and after the next run.

    python benchmarks/kill_recovery.py --kills 120

Each trial starts from yesterday's store and output or from nothing, kills the same
command with SIGKILL several times over, then lets it end. After each kill the output
must be the earlier one or the new one, whole, and no committed score may be gone; at
the end the table must be that of a run that was never interrupted. Exit code 1 if not.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import duckdb
import polars as pl
from report import RESULTS, emit

from finsent_batch.failpoints import PLACES, VARIABLE

SUFFIXES = (".parquet", ".csv", ".duckdb")
KILLS_A_TRIAL = 4
# A run that goes on cuts other batches, which moves probabilities in fp32 by less than this.
TOLERANCE = 1e-4
WORDS = ("profit", "sales", "loss", "rises", "falls", "bank", "oil", "record", "cuts", "jobs")


class Night:
    """A folder with today's feed, and how the command is run there."""

    def __init__(self, folder: Path, suffix: str, model: list[str]) -> None:
        self.folder = folder
        self.output = folder / f"out{suffix}"
        self.command = [
            str(Path(sys.executable).parent / "finsent-batch"), "--store", "store.duckdb",
            "score", "feed.parquet", "-o", self.output.name, *model,
            "--commit-seconds", "0", "--max-batch-tokens", "1024", "--summary", "json",
        ]  # fmt: skip

    def run(self) -> dict[str, int]:
        """Let the command end and return its row counts."""
        done = subprocess.run(self.command, cwd=self.folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the run after a kill failed: {done.stderr}")
        return json.loads(done.stdout)["rows"]

    def kill(self, failpoint: str, seconds: float | None) -> list[str] | None:
        """Start the command and kill it; the places it passed, or None if it ended before."""
        trail = self.folder / "trail"
        with trail.open("w") as stderr:
            process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, VARIABLE: ",".join([":trace", *([failpoint] * (not seconds))])},
            )
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        lines = trail.read_text().splitlines()
        trail.unlink()
        if process.returncode not in (0, -9):
            raise SystemExit(f"exit code {process.returncode}: {lines[-1:]}")
        passed = [line.split()[1] for line in lines if line.startswith(VARIABLE)]
        return None if process.returncode == 0 else passed

    def table(self) -> pl.DataFrame | None:
        """Return what stands as output, None where there is none."""
        if not self.output.exists():
            return None
        if self.output.suffix != ".duckdb":
            frame = (pl.read_parquet if self.output.suffix == ".parquet" else pl.read_csv)(
                self.output
            )
        else:
            with duckdb.connect(str(self.output), read_only=True) as connection:
                if not connection.execute("SHOW TABLES").fetchall():
                    return None
                frame = connection.sql("FROM feed_scored").pl()
        return frame.drop("run_id", "scored_at")

    def committed(self) -> set[str]:
        """Return the keys in the store, checked to be there once each."""
        store = self.folder / "store.duckdb"
        if not store.exists():
            return set()
        with duckdb.connect(str(store), read_only=True) as connection:
            if not connection.execute("SHOW TABLES").fetchall():
                return set()
            keys = connection.execute("SELECT headline_key::VARCHAR FROM scores").fetchall()
        if len(set(keys)) != len(keys):
            raise SystemExit("a headline was scored twice")
        return {key for (key,) in keys}


def compare(found: pl.DataFrame, expected: pl.DataFrame) -> tuple[int, int, int]:
    """Return rows lost, duplicated and differing, by `id`."""
    lost = expected.join(found, on="id", how="anti").height
    duplicated = found.height - found["id"].n_unique()
    both = expected.join(found, on="id", suffix="_found")
    same = pl.lit(True)
    for name in expected.columns[1:]:
        one, other = pl.col(name), pl.col(f"{name}_found")
        is_number = expected.schema[name].is_float()
        same &= (one - other).abs() <= TOLERANCE if is_number else one.eq_missing(other)
    in_order = found["id"].to_list() == sorted(found["id"].to_list())
    return lost, duplicated, both.filter(~same).height + (not in_order)


def feed(rows: int, seed: int) -> pl.DataFrame:
    """Make `rows` rows of which every third repeats an earlier headline."""
    draw = random.Random(seed)
    texts: list[str] = []
    for i in range(rows):
        new = f"{' '.join(draw.choices(WORDS, k=3 + i % 12))} {i}"
        texts.append(draw.choice(texts) if texts and i % 3 == 2 else new)
    return pl.DataFrame(
        {"id": range(rows), "headline": texts, "price": [i / 8 for i in range(rows)]}
    )


class Harness:
    """Trials of one kind of output, and what they found by the place of the kill."""

    def __init__(self, scratch: Path, suffix: str, model: list[str], rows: int) -> None:
        self.folder, self.yesterday = scratch / "night", scratch / f"yesterday{suffix}"
        self.suffix, self.model = suffix, model
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        # Outputs know their input by its path: the earlier one, too, is made where trials are.
        night = Night(self.folder, suffix, model)
        feed(rows, 0).head(rows // 3).write_parquet(self.folder / "feed.parquet")
        night.run()
        self.before = night.table()
        feed(rows, 0).write_parquet(self.folder / "feed.parquet")
        self.folder.rename(self.yesterday)
        whole = self._start(fresh=True)
        begun = time.monotonic()
        self.distinct = whole.run()["unique_scored"]
        self.seconds = time.monotonic() - begun
        self.expected = whole.table()
        self.found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def _start(self, *, fresh: bool) -> Night:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.yesterday, self.folder)
        night = Night(self.folder, self.suffix, self.model)
        if fresh:
            night.output.unlink()
            (self.folder / "store.duckdb").unlink()
        return night

    def trial(self, draw: random.Random, places: list[str], kills: int) -> int:
        """Kill a run up to `kills` times, then let it end; returns the kills that hit."""
        fresh = draw.random() < 0.5
        night = self._start(fresh=fresh)
        earlier = None if fresh else self.before
        hit: list[str] = []
        committed = night.committed()
        for _ in range(kills):
            at_random = draw.random() < 0.5
            place = places[draw.randrange(len(places))]
            times = draw.randint(1, 6) if place in PLACES[2:6] else 1
            seconds = draw.uniform(0, self.seconds) if at_random else None
            passed = night.kill(f"{place}:kill:{times}", seconds)
            if passed is None:
                committed = night.committed()
                break
            hit.append(passed[-1] if passed else "start")
            self._check(night, hit[-1], passed, earlier, committed)
            committed = night.committed()
        rows = night.run()
        again = rows["unique_scored"] - (self.distinct - len(committed))
        left = {p.name for p in night.folder.iterdir()}
        left -= {"feed.parquet", "store.duckdb", night.output.name}
        table = night.table()
        assert table is not None
        wrong = compare(table, self.expected)
        for place in hit:
            for name, count in zip(("lost", "duplicated", "differing"), wrong, strict=True):
                self.found[place][name] += count
            self.found[place]["again"] += again
            self.found[place]["left"] += len(left)
        return len(hit)

    def _check(
        self,
        night: Night,
        place: str,
        passed: list[str],
        earlier: pl.DataFrame | None,
        committed: set[str],
    ) -> None:
        found = self.found[place]
        found["kills"] += 1
        table = night.table()
        is_whole = (table is None and earlier is None) or any(
            table is not None and whole is not None and compare(table, whole) == (0, 0, 0)
            and table.height == whole.height
            for whole in (earlier, self.expected)
        )  # fmt: skip
        found["torn"] += not is_whole
        found["forgotten"] += len(committed - night.committed())
        since = passed[max((i for i, p in enumerate(passed) if p == "committed"), default=-1) + 1 :]
        found["batches"] = max(found["batches"], since.count("batch"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--rows", type=int, default=1_500)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--weights", default="fp32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    model = ["--model", arguments.model, "--weights", arguments.weights]
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for i, suffix in enumerate(SUFFIXES):
            harness = Harness(Path(scratch), suffix, model, arguments.rows)
            places = list(PLACES[:9] if suffix != ".duckdb" else PLACES[:7] + PLACES[9:])
            kills = arguments.kills * (i + 1) // len(SUFFIXES) - arguments.kills * i // len(
                SUFFIXES
            )
            while kills > 0:
                kills -= harness.trial(draw, places, min(kills, KILLS_A_TRIAL))
            for place in ("start", *PLACES):
                if found := harness.found.get(place):
                    rows.append([suffix[1:], place, *(found[name] for name in COLUMNS)])
    sums = [sum(row[i] for row in rows) for i in range(2, len(COLUMNS) + 2)]
    sums[1] = max(row[3] for row in rows)
    emit("kill_recovery", ["output", "last place passed", *COLUMNS.values()],
         [*rows, ["all", "", *sums]], results=arguments.results, seed=arguments.seed)  # fmt: skip
    if any(sums[2:]) or sums[1] > 1:
        sys.exit(1)


COLUMNS = {
    "kills": "kills",
    "batches": "most batches in one commit lost",
    "torn": "outputs torn",
    "forgotten": "scores forgotten",
    "again": "scored again",
    "lost": "rows lost",
    "duplicated": "duplicated",
    "differing": "differing",
    "left": "files left",
}


if __name__ == "__main__":
    main()
