"""What plain transformers and peft answer, one headline at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from finsent_batch.config import ModelConfig
from finsent_batch.evaluation.predict import predict_headlines
from finsent_batch.labels import LABELS
from finsent_batch.models.directory import open_configured
from finsent_batch.models.prompts import DEFAULT_PROMPT, Prompt
from finsent_batch.models.weight_files import FileHashes

HEADLINES = [
    "Nokia posts record profit",
    "Net loss of EUR 3 million in the quarter",
    "Bank cuts jobs",
    "Shares rise on deal for 12.5 % of the oil",
    "Sales miss forecast and the bank says deal falls",
]


def ours(model: Path | str, headlines: Sequence[str] = HEADLINES, **settings: Any) -> np.ndarray:
    """Return the product's probabilities, (n, 3), in fp32 on the CPU unless told otherwise."""
    config = ModelConfig(**{"model": str(model), "weights": "fp32", "device": "cpu"} | settings)
    spec = open_configured(config)
    model = spec.resolve(config, FileHashes())
    return predict_headlines(model, headlines, lambda *_: None).probabilities


def scored(run: Any, model: Path | str, *options: str | Path) -> np.ndarray:
    """Score the headlines with the command, in fp32; gives probabilities, (n, 3)."""
    pl.DataFrame({"headline": HEADLINES}).write_parquet("feed.parquet")
    arguments = ("-o", "out.parquet", "--overwrite", "--weights", "fp32")
    done = run("score", "feed.parquet", "--model", model, *arguments, *options)
    assert done.code == 0, done.err
    return pl.read_parquet("out.parquet").select(f"p_{label}" for label in LABELS).to_numpy()


def classifier_answers(folder: Path, headlines: Sequence[str] = HEADLINES) -> np.ndarray:
    """Return transformers' probabilities of a classifier whose labels are in `LABELS`' order."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    order = [model.config.label2id[label] for label in LABELS]
    with torch.inference_mode():
        rows = [model(**tokenizer(h, return_tensors="pt")).logits[0, order] for h in headlines]
    return torch.stack(rows).softmax(-1).numpy()


def causal_answers(
    base: Path,
    headlines: Sequence[str] = HEADLINES,
    *,
    adapter: Path | None = None,
    prompt: Prompt = DEFAULT_PROMPT,
    tokenizer: Any = None,
) -> np.ndarray:
    """Return the label words' probabilities after the prompt, as transformers or peft has them."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = tokenizer or AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    first = label_tokens(tokenizer, prompt)
    rows = []
    with torch.inference_mode():
        for headline in headlines:
            ids = torch.tensor([tokenizer(prompt.ask(headline))["input_ids"]])
            rows.append(model(input_ids=ids).logits[0, -1, first].float())
    return torch.stack(rows).softmax(-1).numpy()


def label_tokens(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Return the first token of each label's word, as it follows a prompt."""
    if prompt.seam == "tokens":
        words = [prompt.answer(label).strip() for label in LABELS]
        return [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words]
    question = prompt.ask("Nokia")
    asked = len(tokenizer(question)["input_ids"])
    return [tokenizer(question + prompt.answer(label))["input_ids"][asked] for label in LABELS]
