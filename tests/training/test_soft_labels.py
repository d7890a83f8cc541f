"""`train --soft-labels`: a student on a tiny base learns from tables that `score` wrote."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from ..conftest import Result

FAST = ("--num-train-epochs", 1, "--per-device-train-batch-size", 16, "--lora-r", 4, "--threads", 1)
Run = Callable[..., Result]
VERBS = {"positive": "rises", "negative": "falls", "neutral": "posts"}


def headline(i: int, verb: str) -> str:
    words = ("nokia", "bank", "oil", "profit", "sales", "shares", "jobs")
    return f"{words[i % 7]} {words[i // 7 % 7]} {words[i // 49 % 7]} {verb} {i}"


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Sixty labelled sentences, as `prepare` writes them."""
    folder = tmp_path / "split"
    folder.mkdir()
    for name, numbers in (("train", range(36)), ("valid", range(36, 48)), ("test", range(48, 60))):
        labels = [list(VERBS)[i % 3] for i in numbers]
        texts = [headline(i, VERBS[label]) for i, label in zip(numbers, labels, strict=True)]
        pl.DataFrame({"headline": texts, "label": labels}).write_parquet(folder / f"{name}.parquet")
    return folder


def scored(
    texts: list[str], probabilities: list[tuple[float, float, float]] | None = None
) -> pl.DataFrame:
    """Return a table with what a teacher might have said, as `score` writes it."""
    said = np.random.default_rng(0).dirichlet([1, 1, 1], len(texts))
    if probabilities is not None:
        said = np.array(probabilities)
    names = ("p_negative", "p_neutral", "p_positive")
    columns = {name: pl.Series(said[:, i], dtype=pl.Float32) for i, name in enumerate(names)}
    return pl.DataFrame(
        {
            "headline": texts,
            **columns,
            "score_status": ["scored"] * len(texts),
            "model_fingerprint": ["f" * 32] * len(texts),
        }
    )


def feed(count: int) -> list[str]:
    return [headline(i, "gains") for i in range(1000, 1000 + count)]


def train(run: Run, base: Path, *more: object) -> Result:
    options = ("--data", "split", "--base", base, "-o", "model", "--overwrite", *FAST)
    return run("-q", "train", "--preset", "mini", *options, *more)


def notes(folder: Path) -> dict[str, object]:
    return json.loads((folder / "finsent.json").read_text())["training"]["soft_labels"]


def test_what_a_teacher_scored_trains_a_student(
    run: Run, split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    pl.DataFrame({"headline": [*feed(50), None, " "]}).write_parquet(tmp_path / "feed.parquet")
    for source, output in (("feed.parquet", "a.parquet"), (split / "train.parquet", "b.parquet")):
        done = run("score", source, "--model", tiny_model, "-o", output)
        assert done.code == 0, done.err
    done = train(run, tiny_model, "--soft-labels", "a.parquet", "--soft-labels", "b.parquet")
    assert done.code == 0, done.err
    found = notes(tmp_path / "model")
    assert (found["headlines"], found["used"], found["of_training_rows"]) == (86, 50, 36)
    assert [entry["rows"] for entry in found["files"]] == [52, 36]
    assert all(sum(entry["models"].values()) in (50, 36) for entry in found["files"])
    card = (tmp_path / "model" / "README.md").read_text()
    assert "a.parquet" in card
    assert "50 headlines" in card
    assert not (tmp_path / "model" / "checkpoints").exists()
    done = run("score", "feed.parquet", "--model", "model", "-o", "out.parquet")
    assert done.code == 0, done.err


def test_a_student_learns_what_its_teacher_says_and_not_the_words(
    run: Run, split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """A teacher that calls every `gains` negative is believed, though no label says so."""
    scored(feed(400), [(0.98, 0.01, 0.01)] * 400).write_parquet(tmp_path / "a.parquet")
    more = ("--learning-rate", 2e-3, "--num-train-epochs", 6)
    assert train(run, tiny_model, "--soft-labels", "a.parquet", *more).code == 0
    pl.DataFrame({"headline": [headline(i, "gains") for i in range(30)]}).write_parquet(
        tmp_path / "new.parquet"
    )
    assert run("score", "new.parquet", "--model", "model", "-o", "out.parquet").code == 0
    labels = pl.read_parquet(tmp_path / "out.parquet")["sentiment"]
    assert (labels == "negative").mean() > 0.9


def test_several_tables_are_averaged_and_confident_neutrals_thinned(
    run: Run, split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    texts = feed(200)
    neutral = [(0.01, 0.98, 0.01)] * 100
    scored(texts, neutral + [(0.8, 0.1, 0.1)] * 100).write_parquet(tmp_path / "a.parquet")
    scored(texts, neutral + [(0.1, 0.1, 0.8)] * 100).write_parquet(tmp_path / "b.parquet")
    files = ("--soft-labels", "a.parquet", "--soft-labels", "b.parquet")
    assert train(run, tiny_model, *files, "--soft-neutral-share", 0.3).code == 0
    found = notes(tmp_path / "model")
    assert found["headlines"] == 200
    assert 50 < found["thinned"] < 90
    assert found["used"] == 200 - found["thinned"]
    kept = found["thinned"]
    assert train(run, tiny_model, *files, "--soft-neutral-share", 0.3, "--seed", 1).code == 0
    assert notes(tmp_path / "model")["thinned"] == kept


def test_held_out_rows_in_a_feed_stop_training_and_are_named(
    run: Run, split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    test_rows = pl.read_parquet(split / "test.parquet")["headline"].to_list()
    nearly = "UPDATE " + pl.read_parquet(split / "valid.parquet")["headline"][0].upper()
    other = tmp_path / "other.csv"
    pl.DataFrame({"text": [headline(7777, "loses")]}).write_csv(other)
    texts = [*feed(20), test_rows[0], test_rows[1] + " !", nearly, headline(7777, "loses")]
    scored(texts).write_parquet(tmp_path / "a.parquet")
    scored(feed(20)).write_parquet(tmp_path / "b.parquet")
    files = ("--soft-labels", "a.parquet", "--soft-labels", "b.parquet")
    done = train(run, tiny_model, *files)
    assert done.code == 65
    assert "3 headlines of a.parquet repeat validation or test rows" in done.err
    assert "--drop-held-out" in done.err
    assert "4 headlines of a.parquet" in train(run, tiny_model, *files, "--exclude", other).err
    assert not (tmp_path / "model" / "finsent.json").exists()
    done = train(run, tiny_model, *files, "--exclude", other, "--drop-held-out")
    assert done.code == 0, done.err
    assert notes(tmp_path / "model")["held_out"] == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop("p_neutral"), "has no column p_neutral"),
        (
            lambda t: t.rename({"p_negative": "p_bearish", "p_positive": "p_bullish"}),
            "p_bearish, p_neutral, p_bullish are a model's with other labels",
        ),
        (lambda t: t.with_columns(p_positive=pl.lit(0.9)), "do not add up to 1"),
        (
            lambda t: t.with_columns(p_positive=pl.lit(None, dtype=pl.Float32)),
            "20 rows have NULL where a probability should be",
        ),
        (lambda t: t.with_columns(p_negative=pl.lit("much")), "p_negative holds"),
        (
            lambda t: t.with_columns(p_negative=pl.lit(-0.5), p_neutral=pl.lit(0.5),
                                     p_positive=pl.lit(1.0)),
            "below 0 or above 1",
        ),
        (lambda t: t.rename({"headline": "said"}), "--soft-text-column"),
    ],
)  # fmt: skip
def test_tables_that_are_no_soft_labels_are_refused(
    run: Run,
    split: Path,
    tiny_model: Path,
    tmp_path: Path,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    said: str,
) -> None:
    change(scored(feed(20))).write_parquet(tmp_path / "a.parquet")
    done = train(run, tiny_model, "--soft-labels", "a.parquet")
    assert (done.code, said in done.err) == (65, True), done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_named_text_column_is_taken(
    run: Run, split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    scored(feed(20)).rename({"headline": "said"}).write_parquet(tmp_path / "a.parquet")
    done = train(run, tiny_model, "--soft-labels", "a.parquet", "--soft-text-column", "said")
    assert done.code == 0, done.err


def test_what_is_not_there_or_no_parquet_is_refused(
    run: Run, split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    assert train(run, tiny_model, "--soft-labels", "absent.parquet").code == 66
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    assert train(run, tiny_model, "--soft-labels", "a.parquet").code == 65
    scored(feed(20)).write_csv(tmp_path / "a.csv")
    done = train(run, tiny_model, "--soft-labels", "a.csv")
    assert (done.code, "read from Parquet" in done.err) == (2, True)
    (tmp_path / "one").mkdir()
    assert train(run, tiny_model, "--soft-labels", "one").code in (2, 66)


def test_a_transfer_set_that_the_disk_cannot_hold_is_refused_before_training(
    run: Run, split: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    free = SimpleNamespace(free=5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    scored(feed(20)).write_parquet(tmp_path / "a.parquet")
    done = train(run, tiny_model, "--soft-labels", "a.parquet")
    assert (done.code, "free: make room" in done.err) == (74, True), done.err


def test_a_transfer_set_that_memory_cannot_hold_is_refused_before_training(
    run: Run, split: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finsent_batch.labelled import soft_tables

    monkeypatch.setattr(soft_tables, "main_memory", lambda: 10**8)
    scored(feed(20)).write_parquet(tmp_path / "a.parquet")
    done = train(run, tiny_model, "--soft-labels", "a.parquet")
    assert (done.code, "GB of memory" in done.err) == (69, True), done.err


def test_soft_labels_are_not_for_causal_models(run: Run, split: Path, tmp_path: Path) -> None:
    scored(feed(20)).write_parquet(tmp_path / "a.parquet")
    done = run("train", "--preset", "llama2-7b", "--data", "split", "--base", "none", "-o", "model",
               "--soft-labels", "a.parquet")  # fmt: skip
    assert (done.code, "--soft-labels is for encoders" in done.err) == (2, True), done.err


def test_prepare_writes_variations_to_score(
    run: Run, split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    rows = pl.concat([pl.read_parquet(split / f"{s}.parquet") for s in ("train", "valid", "test")])
    rows.write_csv(tmp_path / "mine.csv")
    done = run("prepare", "mine.csv", "-o", "varied", "--variations", 3, "--valid-size", 0.2,
               "--test-size", 0.2)  # fmt: skip
    assert done.code == 0, done.err
    found = pl.read_parquet(tmp_path / "varied" / "variations.parquet")
    assert 60 < found.height <= 108
    report = json.loads((tmp_path / "varied" / "split.json").read_text())
    assert report["variations"] == found.height
    done = run("score", "varied/variations.parquet", "--model", tiny_model, "-o", "v.parquet")
    assert done.code == 0, done.err
    options = ("--data", "varied", "--base", tiny_model, "-o", "model", *FAST)
    done = run("-q", "train", *options, "--soft-labels", "v.parquet")
    assert done.code == 0, done.err
