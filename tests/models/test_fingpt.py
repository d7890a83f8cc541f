"""An adapter as FinGPT's are: LoRA on q, k and v, its own prompt, no tokenizer, no manifest."""

import numpy as np
import polars as pl
import pytest

from finsent_batch.labels import LABELS
from finsent_batch.models.prompts import load_prompt

from ..helpers.causal_models import save_adapter
from ..helpers.references import HEADLINES, causal_answers, ours, scored

FINGPT = {"r": 8, "lora_alpha": 32, "target_modules": ["q_proj", "k_proj", "v_proj"]}
FINGPT_PROMPT = '''
template = """Instruction: What is the sentiment of this news? \\
Please choose an answer from {negative/neutral/positive}.
Input: {headline}
Answer: """
seam = "tokens"

[label_words]
negative = "negative"
neutral = "neutral"
positive = "positive"
'''
COLUMNS = [f"p_{label}" for label in LABELS]


@pytest.fixture
def fingpt(tmp_path, causal_base):
    """An adapter on q, k and v alone, without tokenizer, and the prompt it was trained with."""
    folder = save_adapter(tmp_path / "fingpt", causal_base(), lora=FINGPT)
    (folder / "finsent.json").unlink()
    (tmp_path / "fingpt.toml").write_text(FINGPT_PROMPT)
    return folder


@pytest.fixture
def expected(fingpt, causal_base):
    """What peft answers, (n, 3)."""
    return causal_answers(causal_base(), adapter=fingpt, prompt=load_prompt("fingpt.toml"))


def test_fingpts_adapter_answers_as_peft_has_it(run, fingpt, expected):
    found = scored(run, fingpt, "--prompt", "fingpt.toml")
    assert found == pytest.approx(expected, abs=1e-4)
    assert not np.allclose(found, scored(run, fingpt), atol=1e-3), "another prompt, other answers"


def test_fingpts_adapter_is_measured_beside_its_base(run, fingpt, labelled, expected, causal_base):
    done = run("evaluate", "--model", fingpt, "--prompt", "fingpt.toml", "--against", "base",
               "--data", labelled, "-o", "report", "--weights", "fp32")  # fmt: skip
    assert done.code == 0, done.err
    found = pl.read_parquet("report/predictions.parquet").head(len(HEADLINES))
    assert found.select(COLUMNS).to_numpy() == pytest.approx(expected, abs=1e-4)
    base = causal_answers(causal_base(), prompt=load_prompt("fingpt.toml"))
    against = found.select(f"against_{name}" for name in COLUMNS).to_numpy()
    assert against == pytest.approx(base, abs=1e-4)
    assert not np.allclose(base, expected, atol=1e-3), "the adapter tells"


def test_fingpts_adapter_is_merged_and_compared(run, fingpt, labelled, expected):
    """The merged model keeps prompt and seam in its manifest; transformers loads it, too."""
    done = run("merge", fingpt, "--prompt", "fingpt.toml", "-o", "merged")
    assert done.code == 0, done.err
    assert ours("merged") == pytest.approx(expected, abs=1e-4)
    plain = causal_answers("merged", prompt=load_prompt("fingpt.toml"))
    assert plain == pytest.approx(expected, abs=1e-4)
    done = run("compare", fingpt, "merged", "--prompt", "fingpt.toml", "--data", labelled,
               "--weights", "fp32", "--summary", "json")  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["flips"] == 0
    assert done.json["mean_absolute_change"] < 1e-4
    assert done.json["warnings"] == []


def test_options_of_a_promoted_model_belong_into_its_manifest(run, fingpt, labelled, causal_base):
    options = ("--prompt", "fingpt.toml")
    gate = ("--data", labelled, "--gate", "accuracy>=0", "--weights", "fp32")
    done = run("models", "promote", fingpt, *options, *gate)
    assert done.code == 2
    assert f"models describe {fingpt} --prompt … --write" in done.err
    done = run("models", "describe", fingpt, *options, "--write")
    assert done.code == 0, done.err
    assert run("models", "promote", fingpt, *gate).code == 0
    expected = causal_answers(causal_base(), adapter=fingpt, prompt=load_prompt("fingpt.toml"))
    assert scored(run, "promoted") == pytest.approx(expected, abs=1e-4)


def test_comparing_with_a_classifier_takes_the_options_for_the_adapter(
    run, fingpt, labelled, tiny_model
):
    done = run("compare", fingpt, tiny_model, "--prompt", "fingpt.toml", "--data", labelled,
               "--weights", "fp32")  # fmt: skip
    assert done.code == 0, done.err
