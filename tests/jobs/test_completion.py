"""What the shell completes: options, queries, models, runs and the columns of the input."""

import pytest
from click.shell_completion import ShellComplete
from finsent_batch.jobs.cli import cli

from finsent_batch.config import EMBEDDED_MODELS


@pytest.fixture
def completed(run):
    """Return what is offered for the last word of a command line."""

    def call(*words: str) -> list[str]:
        *before, typed = words
        completion = ShellComplete(cli, {}, "finsent-batch", "_FINSENT_BATCH_COMPLETE")
        return [item.value for item in completion.get_completions(before, typed)]

    return call


def test_commands_options_and_choices(completed):
    assert completed("sc") == ["score"]
    assert "--text-column" in completed("score", "--te")
    assert completed("score", "--device", "c") == ["cpu", "cuda"]
    assert completed("--log-format", "j") == ["json"]


def test_queries_models_runs_and_columns(completed, score, feed):
    run_id = score("feed.parquet")["run_id"]
    assert completed("query", "label") == ["label_mix", "labelled"]
    assert completed("score", "--model", "m") == list(EMBEDDED_MODELS)
    assert any("tiny" in name for name in completed("score", "--model", "/"))
    assert completed("report", "--run", "") == [run_id]
    assert completed("score", "feed.parquet", "--text-column", "h") == ["headline"]
    assert completed("score", "feed.parquet", "--date-column", "") == feed.columns
    assert completed("score", ".", "--text-column", "head") == ["headline"]


def test_where_there_is_nothing_nothing_is_offered(completed, tmp_path):
    assert completed("--store", "gone.duckdb", "report", "--run", "") == []
    assert completed("score", "gone.csv", "--text-column", "") == []
    assert completed("score", "--text-column", "") == []
    assert list(tmp_path.iterdir()) == []
