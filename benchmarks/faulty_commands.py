"""Every command that writes, what it starts from, and how its results are looked at."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MODEL = ("--model", "model", "--weights", "fp32", "--max-batch-tokens", "256")
STORE = "finsent.duckdb"
_TRAIN = (
    "train", "--base", "model", "--lora-r", "2", "--num-train-epochs", "1", "--threads", "1",
    "--report-to", "none", "--no-opposites", "--per-device-train-batch-size", "16",
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command line, the one whose results it replaces, and where these are."""

    name: str
    arguments: tuple[str, ...]
    result: str
    """The file, table (`file::table`) or folder that it writes; empty where that is the store."""
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
        Command("score a table", table, "news.duckdb::news_scored"),
        Command("score a folder", folder, "outs"),
        Command("models promote", (*promote, "model"), STORE, (*promote, "model2")),
        Command("compare -o", ("compare", "model", "model2", "--data", "labelled.csv",
                               "--weights", "fp32", "-o", "flips.csv"), "flips.csv"),
        Command("evaluate", ("evaluate", *MODEL, "--data", "labelled.csv", "-o", "eval"), "eval"),
        Command("merge", ("merge", "adapter", "-o", "merged", "--overwrite"), "merged",
                ("merge", "adapter0", "-o", "merged")),
        Command("train", (*_TRAIN, "--data", "split", "-o", "trained", "--overwrite"), "trained",
                (*_TRAIN, "--data", "split", "-o", "trained", "--seed", "7")),
    ]  # fmt: skip


_VARYING = ("run_id", "scored_at")


def look(folder: Path, command: Command) -> dict[str, str]:
    """Return a digest of each result that appears for itself, by its name.

    Equal results have equal ones; where there is none it is `none`, or `torn` and why.
    """
    if command.result == "lake":
        return _by_days(folder, command.result)
    if command.name == "score a folder":
        names = (f"{command.result}/{i}.scored.parquet" for i in range(2))
        return {name: look_at(folder, name) for name in names}
    return {command.result: look_at(folder, command.result)} if command.result else {}


def _by_days(folder: Path, result: str) -> dict[str, str]:
    """Look at each day as any reader does, and at the whole as the next run or query does."""
    from finsent_batch.io.append.day_files import NO_DAY, complete
    from finsent_batch.io.atomic import temporary_of

    days = [f"{result}/day={day}" for day in (*(f"2024-01-0{i}" for i in range(1, 5)), NO_DAY)]
    found = {day: look_at(folder, day) for day in days}
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / result
        for there, here in ((folder / result, copy), (temporary_of(folder / result), None)):
            if there.exists():
                shutil.copytree(there, here or temporary_of(copy))
        complete(copy)
        return found | {f"{result}, completed": look_at(copy.parent, result)}


def look_at(folder: Path, result: str) -> str:
    """Return a digest of one result; see `look`."""
    path, _, table = result.partition("::")
    file = folder / path
    if not file.exists():
        return "none"
    try:
        if (file / "_delta_log").exists():
            return _digest(_delta(file))
        if result == STORE:
            return _promoted(file)
        if file.is_dir():
            return _folder(file)
        return _digest(_file(file, table))
    except Exception as error:  # noqa: BLE001 - whatever a half-written file gives
        return f"torn: {type(error).__name__}: {error}"[:200]


def _file(file: Path, table: str = "") -> Any:
    import duckdb
    import polars as pl

    # Opened once, as a reader must where files are replaced: polars opens a path again.
    if file.suffix == ".parquet":
        return pl.read_parquet(file.read_bytes()).drop(_VARYING, strict=False).write_csv()
    if file.suffix == ".csv":
        return (
            pl.read_csv(file.read_bytes(), infer_schema=False)
            .drop(_VARYING, strict=False)
            .write_csv()
        )
    if file.suffix == ".duckdb":
        with duckdb.connect(str(file), read_only=True) as connection:
            tables = [name for (name,) in connection.execute("SHOW TABLES").fetchall()]
            wanted = [table] if table in tables else [] if table else tables
            frames = [connection.sql(f"FROM {name} ORDER BY ALL").pl() for name in wanted]
        return [frame.drop(_VARYING, strict=False).write_csv() for frame in frames] or "empty"
    text = file.read_text("utf-8")
    if file.suffix == ".html":
        assert text.rstrip().endswith("</html>")
        return "a whole page"
    if file.name == "finsent.json":
        return {k: v for k, v in json.loads(text).items() if k != "metrics"}
    if file.suffix == ".json":
        return sorted(json.loads(text))
    return text if file.suffix in (".txt", ".jinja") else hashlib.sha256(text.encode()).hexdigest()


def _delta(folder: Path) -> str:
    import polars as pl
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(str(folder)):
        return "none"
    frame = pl.from_arrow(DeltaTable(folder).to_pyarrow_table())
    return frame.drop(_VARYING, strict=False).sort("place").write_csv()


def _promoted(store: Path) -> str:
    from finsent_batch.config import StoreConfig
    from finsent_batch.models.registry import current_promotion
    from finsent_batch.store.store import Store

    with Store.open(StoreConfig(path=store), read_only=True) as opened:
        found = current_promotion(opened)
    return Path(found.model).name if found else "none"


def _folder(folder: Path) -> str:
    if (folder / "manifest.json").exists():
        from finsent_batch.store.export import check_export

        check_export(folder)
        return "a whole export"
    if not any(folder.iterdir()):
        return "none"
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.is_dir() or name.startswith(("logs", "checkpoints")) or file.name[0] == ".":
            continue
        if file.suffix == ".safetensors":
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        elif file.suffix not in (".md", ".html"):
            found[name] = _file(file)
    metrics = folder / "metrics.json"
    if metrics.exists():
        found["n"] = json.loads(metrics.read_text())["n"]
    return _digest(found)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def scores(file: Path) -> list[str]:
    """Return the keys of all scores in one of a store's two files, as often as they are there.

    A key is the headline's, the model's and the run's that gave the score, divided by spaces.
    """
    import duckdb

    if not file.exists():
        return []
    with duckdb.connect(str(file), read_only=True) as connection:
        if ("scores",) not in connection.execute("SHOW TABLES").fetchall():
            return []
        sql = "SELECT concat_ws(' ', headline_key, model_fingerprint, run_id) FROM scores"
        return [key for (key,) in connection.execute(sql).fetchall()]


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


Run = Callable[..., None]
"""Runs a command line in a folder, in a process of its own, and raises if it fails."""


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
