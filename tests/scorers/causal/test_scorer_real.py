"""A real pre-trained Llama on real headlines: packed batches and padded ones agree."""

from pathlib import Path

import numpy as np
import pytest

from finsent_batch.headlines import normalize
from finsent_batch.models.directory import open_model
from finsent_batch.scorers.causal.scorer import LabelTokenScorer

HEADLINES = 60


@pytest.fixture(scope="module")
def base(data: Path) -> Path:
    folder = data.parent / "models" / "reuters_llama_30m"
    if not folder.is_dir():
        pytest.skip(f"no {folder}, a small pre-trained Llama")
    return folder


def test_packed_and_padded_give_the_same_labels(data: Path, base: Path) -> None:
    lines = (data / "phrasebank/Sentences_50Agree.txt").read_text("latin-1").splitlines()
    step = len(lines) // HEADLINES
    texts = normalize([line.rpartition("@")[0] for line in lines[::step]][:HEADLINES])
    spec = open_model(str(base))
    found = []
    for packed in (True, False):
        scorer = LabelTokenScorer(spec, device="cpu", weights="fp32", packed=packed)
        assert scorer.batching == ("packed" if packed else "padded")
        probabilities = np.full((len(texts), 3), np.nan, dtype=np.float32)
        for batch in scorer.score(texts):
            probabilities[batch.positions] = batch.probabilities
        found.append(probabilities)
    packed_found, padded_found = found
    assert packed_found == pytest.approx(padded_found, abs=1e-4)
    margin = np.diff(np.sort(padded_found, axis=1)[:, 1:], axis=1)[:, 0]
    same = packed_found.argmax(1) == padded_found.argmax(1)
    assert same[margin > 1e-3].all()
    assert same.mean() > 0.99
    assert len(np.unique(padded_found.argmax(1))) > 1, "the labels must differ to say anything"
