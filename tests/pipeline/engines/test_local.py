"""Scoring and tokenizing side by side: one chunk is scored while the next is tokenized."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import duckdb
import polars as pl
import pytest

from finsent_batch.config import ModelConfig, ScoreConfig, StoreConfig
from finsent_batch.errors import InterruptedRunError
from finsent_batch.pipeline import score as scoring
from finsent_batch.pipeline import score_stage as scoring_stage
from finsent_batch.pipeline.engines import local
from finsent_batch.pipeline.engines.base import Commits, commit_scores
from finsent_batch.progress import StopRequest
from finsent_batch.scorers.encoder.scorer import EncoderScorer

CHUNK, ROWS = 20, 70


class Watched(EncoderScorer):
    """The real scorer, with something to do as each chunk is tokenized and scored."""

    def __init__(self, *arguments, on_tokenize, on_score, **options):
        super().__init__(*arguments, **options)
        self.on_tokenize, self.on_score = on_tokenize, on_score
        self.chunks_tokenized = self.chunks_scored = 0
        self.chunk = CHUNK

    def tokenize(self, texts):
        self.on_tokenize(self.chunks_tokenized)
        self.chunks_tokenized += 1
        return super().tokenize(texts)

    def score_tokenized(self, tokenized):
        self.on_score(self.chunks_scored)
        self.chunks_scored += 1
        yield from super().score_tokenized(tokenized)


@pytest.fixture
def score(tmp_path, tiny_model, wordy, monkeypatch):
    """Score ROWS headlines in chunks of CHUNK with a watched scorer."""
    file = tmp_path / "feed.parquet"
    pl.DataFrame({"headline": wordy(ROWS)}).write_parquet(file)

    def call(
        on_tokenize=lambda chunk: None, on_score=lambda chunk: None, stop=None, commit_seconds=0
    ):
        def load(model, **_):
            how = {"device": model.device, "weights": model.weights}
            return Watched(model.spec, **how, on_tokenize=on_tokenize, on_score=on_score)

        monkeypatch.setattr(scoring_stage, "load_scorer", load)
        config = ScoreConfig(
            input=str(file),
            model=ModelConfig(model=str(tiny_model), weights="fp32"),
            store=StoreConfig(path=tmp_path / "finsent.duckdb"),
            commit_seconds=commit_seconds,
        )
        return scoring.score(config, stop=stop)

    yield call
    left = [t.name for t in threading.enumerate() if t.name.startswith(("tokenize", "store"))]
    assert left == [], "no thread outlives its run"


def committed(folder):
    with duckdb.connect(folder / "finsent.duckdb", read_only=True) as store:
        return store.execute("SELECT count(*), count(DISTINCT headline_key) FROM scores").fetchone()


def test_the_next_chunk_is_tokenized_while_one_is_scored(score, tmp_path):
    begun = [threading.Event() for _ in range(4)]
    main = threading.current_thread()

    def on_tokenize(chunk):
        assert threading.current_thread() is not main
        begun[chunk].set()

    def on_score(chunk):
        assert threading.current_thread() is main
        # Without overlap the next chunk's turn would never come.
        assert chunk == 3 or begun[chunk + 1].wait(timeout=60)
        assert chunk > 0 or not begun[chunk + 3].is_set(), "two chunks ahead, not all"

    assert score(on_tokenize, on_score).rows["unique_scored"] == ROWS
    assert committed(tmp_path) == (ROWS, ROWS)


def test_a_stop_ends_the_run_within_the_chunk(score, tmp_path):
    stop = StopRequest()

    def on_score(chunk):
        if chunk == 1:
            stop.signal = 15

    with pytest.raises(InterruptedRunError):
        score(on_score=on_score, stop=stop)
    count, distinct = committed(tmp_path)
    assert CHUNK < count == distinct <= 2 * CHUNK
    assert score().rows["unique_scored"] == ROWS - count


def test_many_scores_are_committed_before_their_time(score, tmp_path, monkeypatch):
    sizes = []

    def commit(store, positions, *rest):
        sizes.append(len(positions))
        commit_scores(store, positions, *rest)

    monkeypatch.setattr(local, "commit_scores", commit)
    monkeypatch.setattr(local, "ENOUGH", 15)
    assert score(commit_seconds=3600).rows["unique_scored"] == ROWS
    assert sizes == [CHUNK, CHUNK, CHUNK, ROWS - 3 * CHUNK]
    assert committed(tmp_path) == (ROWS, ROWS)


@pytest.mark.parametrize("where", ["on_tokenize", "on_score"])
@pytest.mark.parametrize("chunk", [0, 2])
def test_an_error_ends_the_run_and_keeps_what_was_committed(score, tmp_path, where, chunk):
    def fail(number):
        if number == chunk:
            raise MemoryError("no more")

    with pytest.raises(MemoryError, match="no more"):
        score(**{where: fail})
    assert committed(tmp_path) == (chunk * CHUNK, chunk * CHUNK)
    assert score().rows["unique_scored"] == ROWS - chunk * CHUNK


def test_behind_a_commit_that_failed_none_is_made():
    made, told, go = [], [], threading.Event()

    def commit(number):
        go.wait(10)
        if number == 1:
            raise OSError("disk full")
        made.append(number)

    with ThreadPoolExecutor(1) as storing:
        commits = Commits(storing, lambda: told.append(len(made)))
        for number in range(3):
            commits.add(partial(commit, number))
        go.set()
        with pytest.raises(OSError, match="disk full"):
            commits.settle(0)
    assert made == [0]
    assert told == [1]
