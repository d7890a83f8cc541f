"""Families of models against their own forward pass; benchmarks/model_families.py has them all."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from model_families import examine

# What families do differently: scaled or capped logits, heads with layers of their own, experts,
# states instead of attention, embeddings by layer, positions behind the padding token.
CAUSAL = [
    "llama", "mistral", "qwen2", "qwen3", "granite", "cohere", "gemma2", "gemma3n_text", "gpt2",
    "opt", "bloom", "mixtral", "mamba", "camembert", "big_bird",
]  # fmt: skip
CLASSIFIERS = [
    "bert", "roberta", "distilbert", "deberta-v2", "modernbert", "electra", "gpt2", "llama",
]  # fmt: skip


@pytest.mark.parametrize("family", CAUSAL)
def test_a_causal_family_answers_as_transformers_has_it(family, tmp_path):
    found = examine("causal", family, tmp_path)
    assert found.result == "right", found


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_a_classifier_family_answers_as_transformers_has_it(family, tmp_path):
    found = examine("classifier", family, tmp_path)
    assert found.result == "right", found


@pytest.mark.parametrize(("kind", "family"), [("causal", "t5"), ("classifier", "t5")])
def test_a_family_of_another_kind_is_refused(kind, family, tmp_path):
    assert examine(kind, family, tmp_path).result in ("refused", "not built")
