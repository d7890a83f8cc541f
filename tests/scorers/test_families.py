"""Families of models against their own forward pass; benchmarks/model_families.py has them all."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from model_families import examine
from tiny_models import save_tokenizer

from finsent_batch.errors import ConfigError

from ..helpers.references import ours

# What families do differently: scaled or capped logits, heads with layers of their own, experts,
# states instead of attention, embeddings by layer, positions behind the padding token.
CAUSAL = [
    "llama", "mistral", "qwen2", "qwen3", "granite", "cohere", "gemma2", "gemma3n_text", "gpt2",
    "opt", "bloom", "mixtral", "mamba", "camembert", "big_bird",
]  # fmt: skip
CLASSIFIERS = [
    "bert", "roberta", "distilbert", "deberta-v2", "modernbert", "electra", "gpt2", "llama",
    "ibert", "perceiver",
]  # fmt: skip


@pytest.mark.parametrize("family", CAUSAL)
def test_a_causal_family_answers_as_transformers_has_it(family, tmp_path):
    found = examine("causal", family, tmp_path)
    assert found.result == "right", found


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_a_classifier_family_answers_as_transformers_has_it(family, tmp_path):
    found = examine("classifier", family, tmp_path)
    assert found.result == "right", found


@pytest.mark.parametrize(
    ("kind", "family"),
    [("causal", "musicgen"), ("causal", "emu3"), ("classifier", "mra")],
)
def test_what_transformers_cannot_run_here_is_refused(kind, family, tmp_path):
    """Codes of audio, weights that the auto class does not find, the same answer to every text."""
    found = examine(kind, family, tmp_path)
    assert found.result == "refused", found


def test_a_model_of_another_kind_is_refused(tmp_path):
    from transformers import T5Config, T5ForConditionalGeneration

    save_tokenizer(tmp_path, "causal")
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 4}
    config = T5Config(vocab_size=500, decoder_start_token_id=0, **sizes)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="finsent-batch scores sequence classifiers"):
        ours(tmp_path)
