"""The encoder scorer: batches, threads, near-ties, truncation."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from finsent_batch.errors import UnavailableError
from finsent_batch.hardware import cpu_flags
from finsent_batch.models.directory import open_model
from finsent_batch.scorers.batching import length_sorted_batches, pad
from finsent_batch.scorers.encoder import packed_bert
from finsent_batch.scorers.encoder.scorer import EncoderScorer

from ...helpers.tiny_bert import WORDS

vnni = pytest.mark.skipif(
    not cpu_flags() & {"avx512_vnni", "avx_vnni"}, reason="this CPU has no VNNI instructions"
)


def texts(count: int = 300) -> list[str]:
    draw = np.random.default_rng(0)
    return [" ".join(draw.choice(WORDS.split(), draw.integers(1, 12))) for _ in range(count)]


def probabilities(scorer: EncoderScorer, given: list[str]) -> np.ndarray:
    found = np.full((len(given), 3), np.nan, dtype=np.float32)
    for batch in scorer.score(given):
        assert np.isnan(found[batch.positions]).all(), "a text was answered twice"
        found[batch.positions] = batch.probabilities
    assert not np.isnan(found).any()
    return found


def make(
    model: Path, weights: str, budget: int | None = None, device: str = "cpu"
) -> EncoderScorer:
    return EncoderScorer(
        open_model(str(model)), device=device, weights=weights, max_batch_tokens=budget
    )


@pytest.mark.parametrize("budget", [1, 37, 256, 100_000])
def test_batch_size_and_order_do_not_change_answers(tiny_model: Path, budget: int) -> None:
    given = texts()
    want = probabilities(make(tiny_model, "fp32"), given)
    got = probabilities(make(tiny_model, "fp32", budget), given[::-1])[::-1]
    assert got == pytest.approx(want, abs=1e-5)


@vnni
def test_int8_gives_fp32s_labels_but_for_near_ties(tiny_model: Path) -> None:
    given = texts()
    want = probabilities(make(tiny_model, "fp32"), given)
    got = probabilities(make(tiny_model, "int8"), given)
    equal = got.argmax(1) == want.argmax(1)
    assert equal.mean() > 0.98
    near = np.sort(got, axis=1)[:, 2] - np.sort(got, axis=1)[:, 1] < 0.1
    assert got[near] == pytest.approx(want[near], abs=1e-5), "near-ties are decided in fp32"


def test_bf16_runs_and_mostly_agrees(tiny_model: Path) -> None:
    given = texts(60)
    want = probabilities(make(tiny_model, "fp32"), given)
    assert (probabilities(make(tiny_model, "bf16"), given).argmax(1) == want.argmax(1)).mean() > 0.8


def as_on_a_small_gpu(scorer: EncoderScorer, tokens: int) -> list[int]:
    """Run a scorer's batches as on a GPU, of which none above a number of tokens fits."""
    run, tried = scorer._launch, []

    def launch(forward, tokenized, batch):
        tried.append(int(tokenized.sizes[batch].sum()))
        if tried[-1] > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        scorer.device = "cpu"
        try:
            return run(forward, tokenized, batch)
        finally:
            scorer.device = "cuda"

    scorer.device = "cuda"
    scorer._launch = launch
    return tried


def test_out_of_memory_halves_the_budget_and_goes_on(tiny_model: Path, caplog) -> None:
    given = texts()
    want = probabilities(make(tiny_model, "fp32"), given)
    scorer = make(tiny_model, "fp32", 65_536)
    tried = as_on_a_small_gpu(scorer, 300)
    with caplog.at_level(logging.WARNING):
        got = probabilities(scorer, given)
    assert got == pytest.approx(want, abs=1e-5)
    assert "out of memory: continuing with batches of" in caplog.text
    failed = [size for size in tried if size > 300]
    assert 1 <= len(failed) <= 5
    assert tried[: len(failed)] == failed, "later batches keep to the smaller budget"


def test_a_text_that_fits_into_no_memory_ends_the_run_in_one_line(tiny_model: Path) -> None:
    scorer = make(tiny_model, "fp32")
    as_on_a_small_gpu(scorer, 1)
    with pytest.raises(UnavailableError, match=r"one headline of \d+ tokens .* use --device cpu"):
        list(scorer.score(texts(3)))


def out_of_memory(monkeypatch, held: Callable[[int, int], bool]) -> list[int]:
    """Let a device hold only some chunks, by how many were tried before and their texts."""
    make_chunk, tried = packed_bert.PackedChunk, []

    def on_a_full_device(tokenized, chosen, *rest):
        tried.append(len(chosen))
        if held(len(tried), len(chosen)):
            return make_chunk(tokenized, chosen, *rest)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(packed_bert, "PackedChunk", on_a_full_device)
    return tried


@pytest.mark.usefixtures("stand_in_gpu")
def test_texts_that_a_gpu_does_not_hold_go_to_it_in_parts(plain_model: Path, monkeypatch) -> None:
    given = texts()
    want = probabilities(make(plain_model, "fp32"), given)
    scorer = make(plain_model, "fp32", 256, "cuda")
    tried = out_of_memory(monkeypatch, lambda attempts, _: attempts > 1)
    assert probabilities(scorer, given) == pytest.approx(want, abs=1e-5)
    assert tried[:2] == [300, 150]
    assert len(tried) <= 5, "a part is handed over once"


@pytest.mark.usefixtures("stand_in_gpu")
def test_a_batch_that_a_gpu_cannot_even_read_is_halved(
    plain_model: Path, monkeypatch, caplog
) -> None:
    given = texts()
    want = probabilities(make(plain_model, "fp32"), given)
    scorer = make(plain_model, "fp32", 65_536, "cuda")
    out_of_memory(monkeypatch, lambda _, size: size <= 40)
    with caplog.at_level(logging.WARNING):
        assert probabilities(scorer, given) == pytest.approx(want, abs=1e-5)
    assert "out of memory: continuing with batches of" in caplog.text
    out_of_memory(monkeypatch, lambda *_: False)
    with pytest.raises(UnavailableError, match=r"one headline of \d+ tokens .* use --device cpu"):
        list(scorer.score(given))


def test_long_text_is_truncated_and_said_so(tiny_model: Path) -> None:
    given = ["profit " * 500, "profit"]
    flags = {}
    for batch in make(tiny_model, "fp32").score(given):
        flags.update(zip(batch.positions.tolist(), batch.truncated.tolist(), strict=True))
        assert batch.tokens <= 64 * len(batch.positions)
    assert flags == {0: True, 1: False}


def test_no_texts_give_no_batches(tiny_model: Path) -> None:
    assert list(make(tiny_model, "fp32").score([])) == []


def test_batches_cover_all_longest_first_within_budget() -> None:
    lengths = [5, 1, 9, 9, 30, 2]
    batches = list(length_sorted_batches(lengths, 20))
    assert sorted(int(i) for batch in batches for i in batch) == list(range(6))
    assert [max(lengths[i] for i in batch) for batch in batches] == [30, 9, 5]
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or longest * len(batch) <= 20


def test_pad_pads_right() -> None:
    ids, mask = pad([[1, 2, 3], [4]], 0)
    assert ids.tolist() == [[1, 2, 3], [4, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
