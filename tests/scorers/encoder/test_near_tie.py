"""The margin for near-ties: measured for each model, kept with its record in the store."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.hardware import cpu_flags
from finsent_batch.models import spec as models
from finsent_batch.models.directory import open_model
from finsent_batch.models.registry import near_tie
from finsent_batch.scorers.batching import all_probabilities, lead
from finsent_batch.scorers.encoder import scorer as scorers
from finsent_batch.scorers.encoder.scorer import EncoderScorer
from finsent_batch.scorers.near_tie import (
    EMBEDDED,
    HEADLINES,
    LARGEST,
    NEVER,
    SMALLEST,
    measured_margin,
    probe_headlines,
)
from finsent_batch.store.store import Store

vnni = pytest.mark.skipif(
    not cpu_flags() & {"avx512_vnni", "avx_vnni"}, reason="this CPU has no VNNI instructions"
)
ways = pytest.mark.parametrize(
    ("weights", "device"), [pytest.param("int8", "cpu", marks=vnni), ("bf16", "cuda")]
)


def test_the_headlines_are_many_and_always_the_same():
    found = probe_headlines()
    assert len(set(found)) == len(found) == HEADLINES
    assert found == probe_headlines()


def test_no_flip_is_beyond_the_margin():
    draw = np.random.default_rng(0)
    full = draw.dirichlet([1, 1, 1], 400).astype(np.float32)
    noise = draw.normal(0, 0.03, full.shape).astype(np.float32)
    fast = full + noise
    widest = measured_margin(fast, full)
    best = np.sort(fast, axis=1)
    margin = best[:, 2] - best[:, 1]
    flipped = fast.argmax(1) != full.argmax(1)
    assert flipped.any()
    assert (margin[flipped] < widest).all()


@pytest.mark.parametrize("shift", [0.9, np.nan])
def test_arithmetic_that_changes_too_much_is_not_taken(shift):
    full = np.tile(np.float32([0.2, 0.3, 0.5]), (5, 1))
    fast = full.copy()
    fast[0, 0] += np.float32(shift)
    assert measured_margin(fast, full) == NEVER


def test_an_answer_without_a_number_is_within_every_margin():
    full = np.tile(np.float32([0.2, 0.3, 0.5]), (5, 1))
    assert measured_margin(full, full) == SMALLEST
    assert lead(np.full((1, 3), np.nan)) < SMALLEST


@pytest.mark.usefixtures("stand_in_gpu")
@ways
def test_the_embedded_models_margin_comes_with_it(weights, device, monkeypatch):
    monkeypatch.setattr(scorers, "measured_margin", lambda *_: pytest.fail("measured"))
    found = EncoderScorer(open_model("mini"), device=device, weights=weights)
    assert found.near_tie == EMBEDDED[weights]
    assert found.batching.endswith(", near-ties again in fp32")


@pytest.mark.usefixtures("stand_in_gpu")
@ways
def test_a_model_that_is_not_kept_runs_in_fp32(weights, device, plain_model, wordy, monkeypatch):
    monkeypatch.setattr(scorers, "measured_margin", lambda *_: NEVER)
    spec = open_model(str(plain_model))
    found = EncoderScorer(spec, device=device, weights=weights)
    assert f"fp32: {weights} would change too many labels" in found.batching
    fp32 = EncoderScorer(spec, device=device, weights="fp32")
    texts = wordy(50)
    for one, other in zip(found.score(texts), fp32.score(texts), strict=True):
        assert np.array_equal(one.probabilities, other.probabilities)


@pytest.mark.usefixtures("stand_in_gpu")
def test_bf16_on_a_gpu_gives_fp32s_labels_by_the_measured_margin(plain_model, wordy):
    spec = open_model(str(plain_model))
    found = EncoderScorer(spec, device="cuda", weights="bf16")
    margin = found.near_tie
    assert SMALLEST < margin <= LARGEST
    texts = wordy(300)
    tokenized = found.tokenize(texts)
    fast, full = (
        all_probabilities(partial(found._run, forward, tokenized), len(tokenized.sizes))
        for forward in (found._fast, found._full)
    )
    near = lead(fast) < margin
    got = np.empty_like(full)
    for batch in found.score(texts):
        got[batch.positions] = batch.probabilities
    assert 0 < near.sum() < len(texts)
    assert got[near] == pytest.approx(full[near], abs=1e-5)
    assert got[~near] == pytest.approx(fast[~near], abs=1e-2)
    assert (got.argmax(1) == full.argmax(1)).all()


def test_bf16_on_a_cpu_is_no_way_of_two_arithmetics(plain_model):
    found = EncoderScorer(open_model(str(plain_model)), device="cpu", weights="bf16", near_tie=0.1)
    assert (found.near_tie, found.batching) == (None, "padded")


@pytest.mark.usefixtures("stand_in_gpu")
@ways
def test_the_margin_is_measured_once_and_kept_in_the_store(
    run, feed, plain_model, weights, device, monkeypatch
):
    monkeypatch.setattr(models, "resolve_device", lambda _: device)
    model, measured = shutil.copytree(plain_model, "model"), []

    def count(fast, full):
        measured.append(len(fast))
        return measured_margin(fast, full)

    monkeypatch.setattr(scorers, "measured_margin", count)
    arguments = ("score", "feed.parquet", "--model", model, "--weights", weights)
    done = run(*arguments, "--summary", "json")
    assert done.code == 0, done.err
    with Store.open(StoreConfig(path=Path("finsent.duckdb")), read_only=True) as store:
        kept = near_tie(store, done.json["model_fingerprint"])
    assert kept is not None
    assert SMALLEST <= kept <= NEVER
    pl.DataFrame({"headline": ["Oil falls again"]}).write_parquet("feed.parquet")
    assert run(*arguments, "--dry-run").code == 0
    assert run(*arguments).code == 0
    assert measured == [HEADLINES], "not a second time"
