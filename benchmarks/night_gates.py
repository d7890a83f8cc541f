"""Nights that are planted to be held back, and real ones that are not.

    python benchmarks/night_gates.py ../shared/data
    python benchmarks/night_gates.py ../shared/data --only year

`planted`: after the real nights, nights that no one wants are scored with the gates of
docs/gates.md into the output of the night before, which must stay byte for byte. `nights`: the
fourteen real nights, one after another. `year`: the year 2013 day by day, 830,903 rows; scoring
them with the embedded model takes about an hour of two cores, so that a classifier of random
weights stands in for it: a fixed function of the words, whose labels move with the text of the
days as a model's do, and whose figures say nothing of a model's. Everything else is the real
thing. `estimate`: estimated and true accuracy on labelled rows that the embedded model was not
trained on, and how many of so many nights drawn from them lie in the interval.

Every night goes through `score` as the command runs it. A hit is a planted night that was held
back; a false alarm is a real one that was.
"""

import argparse
import hashlib
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from night_estimates import COLUMNS, estimates
from planted_nights import planted
from report import emit

from finsent_batch.config import ModelConfig, ScoreConfig, StoreConfig
from finsent_batch.errors import FinsentError, GateFailedError
from finsent_batch.pipeline.auditing.comparison import NIGHTS_COMPARED
from finsent_batch.pipeline.score import score

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.helpers.tiny_bert import save_classifier

GATES = (
    *("alarms<1", "missing_sources<1", "unseen_share>=0.2", "age_hours<=36", "age_hours>=-1"),
    *("distinct_share>=0.5", "not_english_share<=0.2"),
)
"""Those of docs/gates.md; the defaults come on top."""


class Feed:
    """Nights of one feed, scored one after another into one folder."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder
        self.model = ModelConfig(model=model, weights="fp32" if "/" in model else "auto")

    def score(
        self, frame: pl.DataFrame, day: date, gates: tuple[str, ...] = GATES
    ) -> tuple[str, list[str]]:
        """Score a night as of its evening; returns its status and what failed or is unusual."""
        file = self.folder / "feed" / f"{day}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(file)
        config = ScoreConfig(
            input=str(file),
            output=self.folder / "out.parquet",
            overwrite=True,
            model=self.model,
            store=StoreConfig(path=self.folder / "store.duckdb"),
            gates=gates,
            as_of=f"{day}T23:59",
        )
        try:
            summary, status = score(config), "published"
        except GateFailedError as error:
            summary, status = error.summary, "held"
        except FinsentError as error:
            return f"refused ({error.exit_code})", [str(error).split(":")[0]]
        failed = [g["gate"] for g in summary.gates if g["holds"] is False]
        return status, [*failed, *summary.night["unusual"]]


def plant(feed: Feed, nights: list[tuple[date, pl.DataFrame]], report: Callable[..., None]) -> int:
    """Score planted nights over the output of the night before; returns how many got through."""
    day, _ = nights[-1]
    for real_day, frame in nights[:-1]:
        feed.score(frame, real_day)
    output, through = feed.folder / "out.parquet", 0
    before = hashlib.sha256(output.read_bytes()).hexdigest()
    for kind, frame in planted(nights).items():
        status, why = feed.score(frame, day)
        same = hashlib.sha256(output.read_bytes()).hexdigest() == before
        through += status == "published" or not same
        report(kind, status, "yes" if same else "NO", ", ".join(why))
    status, why = feed.score(nights[-1][1], day)
    report("the real night", status, "", ", ".join(why))
    return through


def run_nights(
    feed: Feed, nights: list[tuple[date, pl.DataFrame]], report: Callable[..., None]
) -> tuple[int, Counter[str]]:
    """Score nights one after another; returns how many were held back, and by which figures."""
    held, why = 0, Counter[str]()
    for day, frame in nights:
        status, reasons = feed.score(frame, day)
        if status != "published":
            held += 1
            why.update(reasons)
            report(f"{day:%a %Y-%m-%d}", status, frame.height, ", ".join(reasons))
            # What a person looked at and published all the same is a night like others.
            feed.score(frame, day, gates=())
    return held, why


def by_day(data: Path) -> list[tuple[date, pl.DataFrame]]:
    """Return the year as nights."""
    year = pl.read_parquet(data / "feeds" / "reuters_2013.parquet").drop("id")
    days = year.with_columns(pl.col("published_at").dt.date().alias("day")).partition_by(
        "day", as_dict=True, include_key=False
    )
    return [(day, days[(day,)]) for (day,) in sorted(days)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with feeds/, phrasebank/, sentfin/, tfns/")
    parts = ("estimate", "nights", "planted", "year")
    parser.add_argument("--only", choices=parts, action="append", help="repeatable; default: all")
    parser.add_argument("--model", default="mini", help="of `estimate` and the fourteen nights")
    parser.add_argument("--draws", type=int, default=2000, help="bootstrapped nights")
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="DIR",
        help="write the fit of `estimate` into this model's manifest",
    )
    parser.add_argument("--days", type=int, default=365, help="of the year, from its first day")
    parser.add_argument(
        "--from",
        dest="first",
        type=date.fromisoformat,
        metavar="DAY",
        help="of the year, judge from this day on, after the ninety nights before it",
    )
    arguments = parser.parse_args()
    files = sorted((arguments.data / "feeds" / "nightly").glob("*.parquet"))
    nights = [(date.fromisoformat(file.stem), pl.read_parquet(file)) for file in files]
    for part in arguments.only or parts:
        rows: list[list[Any]] = []
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            if part == "estimate":
                model, fitted = arguments.model, arguments.calibrate
                rows = estimates(arguments.data, folder, arguments.draws, model, fitted)
                emit("night-gates-estimate", COLUMNS, rows)
                continue
            model, real = arguments.model, nights
            if part == "year":
                save_classifier(folder / "tiny")
                model, real = str(folder / "tiny"), by_day(arguments.data)[: arguments.days]
            feed = Feed(folder, model)
            if part == "year" and arguments.first:
                known = [night for night in real if night[0] < arguments.first][-NIGHTS_COMPARED:]
                real = [night for night in real if night[0] >= arguments.first]
                for day, frame in known:
                    feed.score(frame, day, gates=())

            def add(*row: Any, rows: list[list[Any]] = rows) -> None:
                rows.append(list(row))
                print(*row, flush=True)

            if part == "planted":
                # Friday the 17th: the working days before it are nine nights of the same kind.
                until = next(i for i, (day, _) in enumerate(nights) if day == date(2014, 1, 17))
                through = plant(feed, nights[: until + 1], add)
                columns = ["night", "status", "output untouched", "why"]
                emit("night-gates-planted", columns, rows, through=through)
                print(f"{len(rows) - 1 - through} of {len(rows) - 1} planted nights held back")
                continue
            held, why = run_nights(feed, real, add)
            columns = ["night", "status", "rows", "why"]
            emit(f"night-gates-{part}", columns, rows, nights=len(real), held=held, why=dict(why))
            print(f"{held} false alarms in {len(real)} nights: {dict(why)}")


if __name__ == "__main__":
    main()
