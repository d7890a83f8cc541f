"""int8's bound for near-ties: measured for each model, kept with its record in the store."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.hardware import cpu_flags
from finsent_batch.models.directory import open_model
from finsent_batch.models.registry import near_tie
from finsent_batch.scorers.encoder import scorer as scorers
from finsent_batch.scorers.encoder.int8_bound import (
    EMBEDDED,
    HEADLINES,
    NEVER,
    measured_bound,
    probe_headlines,
)
from finsent_batch.scorers.encoder.scorer import EncoderScorer
from finsent_batch.store.store import Store

vnni = pytest.mark.skipif(
    not cpu_flags() & {"avx512_vnni", "avx_vnni"}, reason="this CPU has no VNNI instructions"
)


def test_the_headlines_are_many_and_always_the_same():
    found = probe_headlines()
    assert len(set(found)) == len(found) == HEADLINES
    assert found == probe_headlines()


def test_no_flip_is_beyond_the_bound():
    draw = np.random.default_rng(0)
    full = draw.dirichlet([1, 1, 1], 400).astype(np.float32)
    noise = draw.normal(0, 0.03, full.shape).astype(np.float32)
    fast = full + noise
    bound = measured_bound(fast, full)
    best = np.sort(fast, axis=1)
    margin = best[:, 2] - best[:, 1]
    flipped = fast.argmax(1) != full.argmax(1)
    assert flipped.any()
    assert (margin[flipped] < bound).all()


@pytest.mark.parametrize("shift", [0.9, np.nan])
def test_arithmetic_that_changes_too_much_is_not_taken(shift):
    full = np.tile(np.float32([0.2, 0.3, 0.5]), (5, 1))
    fast = full.copy()
    fast[0, 0] += np.float32(shift)
    assert measured_bound(fast, full) == NEVER


@vnni
def test_the_embedded_models_bound_comes_with_it():
    assert EncoderScorer(open_model("mini"), device="cpu", weights="int8").near_tie == EMBEDDED


@vnni
def test_a_model_that_int8_does_not_keep_runs_in_fp32(tiny_model, wordy, monkeypatch):
    monkeypatch.setattr(scorers, "measured_bound", lambda *_: NEVER)
    spec = open_model(str(tiny_model))
    found = EncoderScorer(spec, device="cpu", weights="int8")
    assert "int8 would change too many labels" in found.batching
    fp32 = EncoderScorer(spec, device="cpu", weights="fp32")
    texts = wordy(50)
    for one, other in zip(found.score(texts), fp32.score(texts), strict=True):
        assert np.array_equal(one.probabilities, other.probabilities)


@vnni
def test_the_bound_is_measured_once_and_kept_in_the_store(run, feed, tiny_model, monkeypatch):
    model, measured = shutil.copytree(tiny_model, "model"), []

    def count(fast, full):
        measured.append(len(fast))
        return measured_bound(fast, full)

    monkeypatch.setattr(scorers, "measured_bound", count)
    arguments = ("score", "feed.parquet", "--model", model, "--weights", "int8")
    done = run(*arguments, "--summary", "json")
    assert done.code == 0, done.err
    with Store.open(StoreConfig(path=Path("finsent.duckdb")), read_only=True) as store:
        kept = near_tie(store, done.json["model_fingerprint"])
    assert kept is not None
    assert 0 < kept <= NEVER
    pl.DataFrame({"headline": ["Oil falls again"]}).write_parquet("feed.parquet")
    assert run(*arguments).code == 0
    assert measured == [HEADLINES], "not a second time"
