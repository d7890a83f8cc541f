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
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from accuracy import splits
from report import emit

import finsent_batch as fb
from finsent_batch.config import ModelConfig, ScoreConfig, StoreConfig
from finsent_batch.errors import FinsentError, GateFailedError
from finsent_batch.labelled.duplicates import normalized
from finsent_batch.labels import LABELS
from finsent_batch.metrics.confidence import ConfidenceFit, reach_of
from finsent_batch.models.manifest import write_manifest
from finsent_batch.pipeline.score import score

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.helpers.tiny_bert import save_classifier

GATES = (
    *("alarms<1", "missing_sources<1", "unseen_share>=0.2", "age_hours<=36", "age_hours>=-1"),
    *("distinct_share>=0.5", "not_english_share<=0.2"),
)
"""Those of docs/gates.md; the defaults come on top."""
WORDS = ("Umsatz", "Gewinn", "Verlust", "Konzern", "Quartal", "Prognose", "Aktie", "Bank")


class Feed:
    """Nights of one feed, scored one after another into one folder."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder
        self.model = ModelConfig(model=model, weights="fp32" if "/" in model else "auto")

    def score(self, frame: pl.DataFrame, day: date, output: str = "out") -> tuple[str, list[str]]:
        """Score a night as of its evening; returns its status and what failed or is unusual."""
        file = self.folder / "feed" / f"{day}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(file)
        config = ScoreConfig(
            input=str(file),
            output=self.folder / f"{output}.parquet",
            overwrite=True,
            model=self.model,
            store=StoreConfig(path=self.folder / "store.duckdb"),
            gates=GATES,
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


def planted(nights: list[tuple[date, pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    """Return nights that must not be published, made from the last real one that is planned."""
    day, night = nights[-1]
    week_before = next(f for d, f in nights if d == day - timedelta(days=7))
    draw = np.random.default_rng(0)
    german = [
        f"{draw.choice(WORDS)} der {draw.choice(WORDS)} steigt auf {n} Millionen"
        for n in range(night.height)
    ]
    text = pl.col("headline")
    return {
        "empty": night.head(0),
        "no file of the night: header alone, as text": night.head(0).cast(
            {"published_at": pl.String}
        ),
        "wrong column: blank": night.with_columns(pl.lit(" ").alias("headline")),
        "wrong column: the source": night.with_columns(pl.col("source").alias("headline")),
        "wrong column: numbers as text": night.with_columns(
            pl.int_range(pl.len()).add(10**9).cast(pl.String).alias("headline")
        ),
        "wrong column: addresses": night.with_columns(
            ("https://news.example/" + pl.int_range(pl.len()).cast(pl.String)).alias("headline")
        ),
        "another language": night.with_columns(pl.Series("headline", german)),
        "another language for half of the rows": night.with_columns(
            pl.when(pl.int_range(pl.len()) % 2 == 0)
            .then(pl.Series("headline", german))
            .otherwise(text)
            .alias("headline")
        ),
        "ten times the volume": pl.concat(
            [night.with_columns(text + f" ({n})") for n in range(10)]
        ),
        "a tenth of the volume": night.sample(night.height // 10, seed=0),
        "one headline repeated": night.with_columns(text.first().alias("headline")),
        "last week's file again": week_before,
        "last week's headlines, tonight's times": week_before.with_columns(
            pl.col("published_at") + pl.duration(days=7)
        ),
        "sources gone: all but one": night.filter(pl.col("source") == "press_release"),
        "sources gone: press releases": night.filter(pl.col("source") != "press_release"),
        "sources gone: the smallest": night.filter(pl.col("source") != "video"),
        "times a year early": night.with_columns(pl.col("published_at").dt.offset_by("-1y")),
        "times a year late": night.with_columns(pl.col("published_at").dt.offset_by("1y")),
        "times unreadable": night.with_columns(pl.lit("at night").alias("published_at")),
    }


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
            feed_gates_off(feed, day)
    return held, why


def feed_gates_off(feed: Feed, day: date) -> None:
    """Publish a night as somebody does who has looked at it."""
    score(
        ScoreConfig(
            input=str(feed.folder / "feed" / f"{day}.parquet"),
            output=feed.folder / "out.parquet",
            overwrite=True,
            model=feed.model,
            store=StoreConfig(path=feed.folder / "store.duckdb"),
            as_of=f"{day}T23:59",
        )
    )


def estimates(data: Path, scratch: Path, draws: int, calibrate: Path | None) -> list[list[Any]]:
    """Return a line for each labelled set: estimated and true accuracy, and the coverage.

    How probabilities say whether a label is right is fitted to the other sets alone; what the
    manifest of `calibrate` gets is fitted to all of them.
    """
    splits(data, scratch)
    sets = {
        "PhraseBank, the tutorial's 900": ("tutorial/test", "phrasebank/valid"),
        "SEntFiN, test": ("sentfin/test", "sentfin/valid"),
        "TFNS, test": ("tfns/test", "tfns/valid"),
    }
    held_out = {title: [labelled(scratch, name) for name in names] for title, names in sets.items()}
    if calibrate is not None:
        fit = fitted([part for parts in held_out.values() for part in parts])
        manifest = json.loads((calibrate / "finsent.json").read_text("utf-8"))
        write_manifest(calibrate, manifest | {"confidence_fit": asdict(fit)})
    lines = []
    for title, (tested, *_) in held_out.items():
        others = fitted([p for other, parts in held_out.items() if other != title for p in parts])
        p, truth = tested
        sure, right = others.right(p), (p.argmax(axis=1) == truth).astype(np.float64)
        rng, inside = np.random.default_rng(0), 0
        for _ in range(draws):
            night = rng.integers(0, len(sure), len(sure))
            reach = reach_of((sure[night] * (1 - sure[night])).sum(), len(night))
            inside += abs(sure[night].mean() - right[night].mean()) <= reach
        reach = reach_of((sure * (1 - sure)).sum(), len(sure))
        lines.append([title, len(sure), f"{p.max(axis=1).mean():.3f}",
                      f"{sure.mean():.3f} ± {reach:.3f}", f"{right.mean():.3f}",
                      f"{sure.mean() - right.mean():+.3f}", f"{inside / draws:.1%}"])  # fmt: skip
    return lines


def labelled(folder: Path, name: str) -> tuple[Any, Any]:
    """Return probabilities and labels of held-out rows."""
    frame = normalized(pl.read_parquet(folder / f"{name}.parquet"))
    scored = fb.score_frame(frame.select("headline"), model="mini", store=folder / "s.duckdb")
    truth = np.array([LABELS.index(label) for label in frame["label"]])
    return scored.select(f"p_{label}" for label in LABELS).to_numpy(), truth


def fitted(parts: list[tuple[Any, Any]]) -> ConfidenceFit:
    """Return the fit to all of these rows."""
    return ConfidenceFit.fitted(*(np.concatenate(side) for side in zip(*parts, strict=True)))


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
    parser.add_argument("--model", default="mini", help="of the fourteen nights")
    parser.add_argument("--draws", type=int, default=2000, help="bootstrapped nights")
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="DIR",
        help="write the fit of `estimate` into the manifest of the embedded model",
    )
    parser.add_argument("--days", type=int, default=365, help="of the year, from its first day")
    arguments = parser.parse_args()
    files = sorted((arguments.data / "feeds" / "nightly").glob("*.parquet"))
    nights = [(date.fromisoformat(file.stem), pl.read_parquet(file)) for file in files]
    for part in arguments.only or parts:
        rows: list[list[Any]] = []
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            if part == "estimate":
                rows = estimates(arguments.data, folder, arguments.draws, arguments.calibrate)
                columns = ["rows of", "n", "confidence", "estimated", "true", "error",
                           "nights in the interval"]  # fmt: skip
                emit("night-gates-estimate", columns, rows)
                continue
            model, real = arguments.model, nights
            if part == "year":
                save_classifier(folder / "tiny")
                model, real = str(folder / "tiny"), by_day(arguments.data)[: arguments.days]
            feed = Feed(folder, model)

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
