"""Fixtures: a real tiny classifier, the command as users call it, the shared data."""

import gc
import json
import logging
import os
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import settings

from .helpers import forks
from .helpers.fuzzing import TIMES, examples
from .helpers.loaded_models import keep_loaded
from .helpers.tiny_bert import WORDS, save_classifier, save_plain_classifier

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("OMP_NUM_THREADS", "2")

# The libraries' objects are gone through at each collection: a twentieth of the time otherwise.
gc.set_threshold(50_000, 20, 100)

# A busy machine is no failure; the same cases each time, so that a failure means the change.
settings.register_profile(
    "finsent", deadline=None, derandomize=not TIMES, max_examples=examples(100), print_blob=True
)
settings.load_profile("finsent")

REPOSITORY = Path(__file__).parent.parent


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Fork what commands are forked from, in the processes that run tests."""
    if session.items:
        forks.begin()


@dataclass(frozen=True)
class Result:
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def loaded_once() -> set[Path]:
    """The models that the runs of this process load once: `mini`, the tiny one, causal bases."""
    folders = {REPOSITORY / "finsent_batch" / "models" / "mini"}
    keep_loaded(folders)
    return folders


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, loaded_once: set[Path]) -> Path:
    """A BERT of two layers with random weights and a word vocabulary, as FinBERT lays one out."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_classifier(folder)
    loaded_once.add(folder)
    return folder


@pytest.fixture(scope="session")
def plain_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a BERT whose files are known to the letter, so that it runs packed on a GPU."""
    folder = tmp_path_factory.mktemp("models") / "plain"
    save_plain_classifier(folder)
    return folder


@pytest.fixture(scope="session")
def causal_base(
    tmp_path_factory: pytest.TempPathFactory, loaded_once: set[Path]
) -> Callable[..., Path]:
    """Make a tiny causal model of an architecture, each one once; see `causal.save_base`."""
    from .helpers.causal_models import save_base

    @cache
    def make(architecture: str = "llama", **changes: Any) -> Path:
        folder = tmp_path_factory.mktemp("bases") / architecture
        loaded_once.add(save_base(folder, architecture, **changes))
        return folder

    return make


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the variables by which whoever runs the tests has set options."""
    for name in list(os.environ):
        if name.startswith("FINSENT_") and name != "FINSENT_DATA":
            monkeypatch.delenv(name)
    # The width of tables: pytest-xdist hands its own terminal's to the tests.
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def logging_as_at_first() -> None:
    """Undo what a command has set up for its own process, in another test or in its fixtures."""
    logger = logging.getLogger("finsent_batch")
    logger.setLevel(logging.NOTSET)
    logger.propagate, logger.handlers[:] = True, []


@pytest.fixture
def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    loaded_once: set[Path],
) -> Callable[..., Result]:
    """Run the command in this process, in an empty working folder; returns code, stdout, stderr."""
    from finsent_batch.jobs.cli import run as run_cli

    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        import signal

        handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        capfd.readouterr()
        try:
            code = run_cli([str(a) for a in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def score(run: Callable[..., Result], tiny_model: Path) -> Callable[..., dict[str, Any]]:
    """Score with the tiny model, which must succeed; gives the summary."""

    def call(*arguments: object, model: Path = tiny_model) -> dict[str, Any]:
        options = ("--model", model, "--weights", "fp32", "--summary", "json")
        done = run("score", *arguments, *options)
        assert done.code == 0, done.err
        return done.json

    return call


@pytest.fixture
def run_process(tmp_path: Path) -> Callable[..., Result]:
    """Run the installed command as a process of its own."""

    def call(*arguments: object, env: dict[str, str] | None = None) -> Result:
        command, given = [forks.COMMAND, *arguments], {**os.environ, **(env or {})}
        if all(name.startswith(forks.READ_LATE) for name in env or {}):
            done = forks.run(command, cwd=tmp_path, env=given, text=True)
        else:  # what libraries look at when they are imported
            done = subprocess.run(
                list(map(str, command)), cwd=tmp_path, env=given, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def headlines() -> pl.DataFrame:
    """Twelve rows with a null, a blank, a duplicate and columns of several types."""
    text = [
        "Nokia posts record profit",
        "Bank cuts jobs",
        None,
        "Oil falls",
        "   ",
        "Nokia  posts record profit",
        "Shares rise on deal",
        "Sales miss forecast",
        "Net loss of EUR 3 million",
        "Oil falls",
        "Quarter beats forecast",
        "Operating profit falls to EUR 12.5 million",
    ]
    return pl.DataFrame(
        {
            "id": range(len(text)),
            "headline": text,
            "price": [i * 1.5 for i in range(len(text))],
            "tags": [[str(i), "x"] for i in range(len(text))],
        }
    )


@pytest.fixture(scope="session")
def wordy() -> Callable[[int], list[str]]:
    """Make a number of distinct headlines of the tiny model's words, of 3 to 14 words each."""

    def make(count: int) -> list[str]:
        words = WORDS.split()
        draw = random.Random(0)
        return [f"{' '.join(draw.choices(words, k=3 + i % 12))} {i}" for i in range(count)]

    return make


@pytest.fixture(scope="session")
def scored_table() -> Callable[..., pl.DataFrame]:
    """Build a table as `score` publishes it from (time, headline, three probabilities or None).

    Columns given by name come first and replace `published_at`.
    """
    labels = ("negative", "neutral", "positive")

    def build(rows: list[tuple[Any, str | None, Any]], /, **columns: list[Any]) -> pl.DataFrame:
        said = [p for _, _, p in rows]
        scored_at = datetime(2024, 6, 1, 12)
        results = {
            "headline": pl.Series([r[1] for r in rows], dtype=pl.String),
            "sentiment": [p and labels[p.index(max(p))] for p in said],
            "sentiment_score": pl.Series([p and p[2] - p[0] for p in said], dtype=pl.Float32),
            **{
                f"p_{name}": pl.Series([p and p[i] for p in said], dtype=pl.Float32)
                for i, name in enumerate(labels)
            },
            "score_status": ["scored" if p else "empty" for p in said],
            "model_fingerprint": ["f" * 32 if p else None for p in said],
            "run_id": ["run" if p else None for p in said],
            "scored_at": [scored_at if p else None for p in said],
        }
        return pl.DataFrame((columns or {"published_at": [r[0] for r in rows]}) | results)

    return build


@pytest.fixture
def feed(tmp_path: Path, headlines: pl.DataFrame) -> pl.DataFrame:
    """`headlines` as feed.parquet in the working folder."""
    headlines.write_parquet(tmp_path / "feed.parquet")
    return headlines


@pytest.fixture(scope="session")
def data() -> Path:
    """The shared data folder; tests that need it are skipped where it is absent."""
    for folder in (os.environ.get("FINSENT_DATA", ""), REPOSITORY.parent / "shared" / "data"):
        if folder and (Path(folder) / "phrasebank").is_dir():
            return Path(folder)
    pytest.skip("no FINSENT_DATA folder with the shared data")


@pytest.fixture
def bitsandbytes() -> Any:
    """The library that packs weights into 4 bits, quietly imported."""
    from finsent_batch.optional_imports import load_bitsandbytes

    pytest.importorskip("bitsandbytes", reason="pip install 'finsent-batch[llm]'")
    return load_bitsandbytes()
