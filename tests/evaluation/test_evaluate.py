"""`evaluate --against base`: the tutorial's table, McNemar's test, gates, card and files."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from finsent_batch.labels import LABELS

from ..conftest import Result
from ..helpers.causal_models import save_adapter
from ..helpers.tables import read_table

Run = Callable[..., Result]


@pytest.fixture
def adapter(causal_base: Callable[..., Path], tmp_path: Path) -> Path:
    """An adapter with random weights, and a card as `train` writes it."""
    more = {
        "preset": "llama2-7b",
        "training": {"data": [], "data_sha256": "0", "hyperparameters": {}, "seed": 0},
        "versions": {},
        "metrics": {},
    }
    return save_adapter(tmp_path / "adapter", causal_base(), quantisation="nf4", card=more)


@pytest.fixture
def rows(tmp_path: Path, wordy: Callable[[int], list[str]]) -> pl.DataFrame:
    labels = [LABELS[i % 3] for i in range(30)]
    frame = pl.DataFrame({"headline": wordy(30), "label": labels})
    frame.write_parquet(tmp_path / "test.parquet")
    return frame


def evaluate(run: Run, *more: object) -> Result:
    options = ("--against", "base", "--data", "test.parquet", "-o", "report")
    return run("evaluate", "--model", "adapter", *options, *more)


def test_base_and_tuned_stand_side_by_side_as_in_the_tutorial(
    run: Run, adapter: Path, rows: pl.DataFrame, causal_base: Callable[..., Path], tmp_path: Path
) -> None:
    done = evaluate(run)
    assert done.code == 0, done.err
    shown = read_table(done.out)
    assert [row["model"] for row in shown] == ["base", "tuned"]
    recalls = ["recall negative", "recall neutral", "recall positive"]
    assert list(shown[0])[:5] == ["model", "accuracy", *recalls]
    predictions = pl.read_parquet(tmp_path / "report" / "predictions.parquet")
    assert predictions.equals(pl.read_csv(tmp_path / "report" / "predictions.csv").cast(
        dict(predictions.schema)  # type: ignore[arg-type]
    ))  # fmt: skip
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["against"]["model"] == str(causal_base())
    for row, column, found in zip(
        shown, ("against_sentiment", "sentiment"), (metrics["against"], metrics), strict=True
    ):
        right = predictions[column] == rows["label"]
        assert float(row["accuracy"]) == pytest.approx(right.mean(), abs=5e-4)
        for i, label in enumerate(LABELS):
            own = right.filter(rows["label"] == label)
            assert float(row[f"recall {label}"]) == pytest.approx(own.mean(), abs=5e-4)
            called = predictions.filter(rows["label"] == label)[column]
            assert found["confusion"][i] == [*((called == other).sum() for other in LABELS), 0]
    only = [
        int(((predictions[a] == rows["label"]) & (predictions[b] != rows["label"])).sum())
        for a, b in (("sentiment", "against_sentiment"), ("against_sentiment", "sentiment"))
    ]
    assert f"McNemar: {only[0]} right only by tuned, {only[1]} only by base, p = " in done.out
    assert sum(only) > 0
    card = (adapter / "README.md").read_text()
    assert f"| evaluate/test.parquet | 30 | {metrics['accuracy']:.3f} |" in card
    assert f"| base/test.parquet | 30 | {metrics['against']['accuracy']:.3f} |" in card


def test_gates_on_an_adapter_and_its_base_exit_with_3(
    run: Run, adapter: Path, rows: pl.DataFrame, tmp_path: Path
) -> None:
    assert evaluate(run).code == 0
    said = pl.read_parquet(tmp_path / "report" / "predictions.parquet")

    def truth(column: str) -> None:
        rows.with_columns(said[column].alias("label")).write_parquet(tmp_path / "test.parquet")

    truth("sentiment")
    done = evaluate(run, "--gate", "accuracy>=0.80", "--gate", "no-regression")
    assert done.code == 0, done.err
    assert float(read_table(done.out)[1]["accuracy"]) == 1
    truth("against_sentiment")
    done = evaluate(run, "--gate", "no-regression")
    assert done.code == 3
    assert "gate failed: no-regression: accuracy" in done.err
    assert "wrote metrics.json" in done.out
    done = evaluate(run, "--gate", "accuracy>=0.999")
    assert (done.code, "not >= 0.999" in done.err) == (3, True), done.err


def test_two_models_of_one_name_are_told_apart(
    run: Run, tiny_model: Path, rows: pl.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "tiny").symlink_to(tiny_model)
    more = ("--against", "tiny", "--data", "test.parquet", "-o", "report")
    done = run("evaluate", "--model", "tiny", *more)
    assert done.code == 0, done.err
    assert [row["model"] for row in read_table(done.out)] == ["tiny (again)", "tiny"]


def test_another_evaluation_is_not_replaced_unasked(
    run: Run, tiny_model: Path, rows: pl.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "other.parquet").write_bytes((tmp_path / "test.parquet").read_bytes())

    def again(*more: object) -> Result:
        return run("evaluate", "--model", tiny_model, "-o", "report", *more)

    assert again("--data", "test.parquet").code == 0
    assert again("--data", "test.parquet").code == 0
    before = (tmp_path / "report" / "metrics.json").read_bytes()
    for more in (("--data", "other.parquet"), ("--data", "test.parquet", "--against", tiny_model)):
        done = again(*more)
        assert done.code == 73
        assert "report holds another evaluation, of" in done.err
        assert "test.parquet: name another folder with -o, or replace it with --over" in done.err
        assert (tmp_path / "report" / "metrics.json").read_bytes() == before
    assert again("--data", "other.parquet", "--overwrite").code == 0


def test_the_other_models_predictions_are_kept_as_its_own(
    run: Run, tiny_model: Path, rows: pl.DataFrame, tmp_path: Path
) -> None:
    more = ("--against", tiny_model, "--data", "test.parquet", "-o", "report")
    assert run("evaluate", "--model", tiny_model, *more).code == 0
    mine = pl.read_parquet(tmp_path / "report" / "predictions.parquet")
    theirs = pl.read_parquet(tmp_path / "report" / "predictions_against.parquet")
    assert theirs.equals(mine.select(theirs.columns))
    asked = "SELECT count(*) AS n FROM evaluations"
    assert run("query", "--sql", asked, "--format", "csv").out == "n\n2\n"


def test_what_fails_or_is_quiet_leaves_nothing_to_see(
    run: Run, tiny_model: Path, rows: pl.DataFrame, tmp_path: Path
) -> None:
    done = run("evaluate", "--model", "gone", "--data", "test.parquet", "-o", "new/folder")
    assert done.code == 66
    assert not (tmp_path / "new").exists()
    done = run("evaluate", "--model", tiny_model, "--data", "test.parquet", "-o", "r", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = run("compare", tiny_model, tiny_model, "--data", "test.parquet", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
