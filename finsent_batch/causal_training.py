"""The story of `train` for causal models: QLoRA on the tutorial's prompt, then calibration.

Method: QLoRA (Dettmers et al. 2023) with the tutorial's settings; the model is
then loaded as `score` loads it, and one temperature is fitted on the validation
rows (Guo et al. 2017).
"""

import json
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, set_seed

from .causal_data import Answers, PackedCollator, balanced, training_set
from .causal_fitting import adapted, fit_causal
from .config import TrainConfig
from .hardware import resolve_device
from .labels import LABELS
from .memory import activation_budget, micro_batch
from .metrics import Floats, Ints, evaluate_predictions, fit_temperature
from .mixture import epoch_rows
from .model_card import save_settings, write_card
from .models.bases import read_json, resolve_base, weight_files
from .models.directory import FORMAT_VERSION, open_model
from .models.files import FileHashes
from .models.spec import CAUSAL, ModelSpec
from .planning import Progress
from .prompts import DEFAULT_PROMPT
from .ranks import Ranks
from .scorers import FROM_DISK
from .scorers.attention import NAME as PACKED
from .scorers.causal import compute_dtype, load_base
from .scorers.decoders import packable
from .scorers.label_tokens import LabelTokenScorer
from .scorers.prompt_tokens import PromptTokens, load_backend, load_prompt_tokens
from .training_card import hyperparameters, package_versions
from .training_data import Labelled, check_output, held_out, load_splits, split_notes

logger = logging.getLogger(__name__)


def train_causal(config: TrainConfig, progress: Progress) -> dict[str, dict[str, Any]]:
    """Train, calibrate, evaluate and write a model directory; see `training.train`.

    Of several processes all train; the first one does the rest, and the others return nothing.
    """
    ranks = Ranks.joined()
    if ranks.first:
        check_output(config)
    data = load_splits(config.data)
    spec = _untrained(config)
    tokens = load_prompt_tokens(spec)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads or ranks.cores)
    try:
        set_seed(config.seed)
        _fit(config, spec, tokens, data, progress, ranks)
        ranks.leave()
        if not ranks.first:
            return {}
        card = _card(config, spec, tokens, data)
        save_settings(config.output, card)
        card["temperature"], card["metrics"] = _assess(config, data)
        save_settings(config.output, card)
    finally:
        torch.set_num_threads(threads)
    write_card(config.output, card)
    report: dict[str, dict[str, Any]] = card["metrics"]
    return report


def _untrained(config: TrainConfig) -> ModelSpec:
    assert config.base is not None
    base = resolve_base(config.base)
    weight_files(base)
    limit = read_json(base / "config.json").get("max_position_embeddings", config.max_length)
    return ModelSpec(
        name=config.base,
        folder=base,
        base=base,
        adapter=None,
        family=CAUSAL,
        max_length=min(config.max_length, limit),
        prompt=DEFAULT_PROMPT,
        quantisation=config.quantisation,
    )


def _fit(
    config: TrainConfig,
    spec: ModelSpec,
    tokens: PromptTokens,
    data: Labelled,
    progress: Progress,
    ranks: Ranks,
) -> None:
    answers = Answers.of(load_backend(spec), DEFAULT_PROMPT)
    rows = epoch_rows(data.splits["train"], replace(config, class_weights="none"), held_out(data))
    if config.class_weights == "balanced":
        rows = balanced(rows, config.seed)
    sets, cut = {}, 0
    for name, frame in (("train", rows), ("valid", data.splits["valid"])):
        sets[name], count = training_set(tokens, answers, frame, loss=config.loss)
        cut += count
    if cut and ranks.first:
        logger.warning(
            "%d headlines are longer than %d tokens with their prompt and were cut at their end",
            cut,
            spec.max_length,
        )
    device = resolve_device("auto")
    compute = compute_dtype(device, "bf16" if device == "cuda" else "fp32")
    device = ranks.device(device)
    nf4 = config.quantisation == "nf4"
    model = load_base(spec.base, nf4=nf4, device=device, compute=compute)
    if not nf4:
        model = model.to(compute)
    model.config.use_cache = False
    budget = ranks.smallest(activation_budget(config))
    longest = max(sets["train"]["length"])
    batch = micro_batch(config, model, longest, budget, processes=ranks.world)
    logger.info("micro-batch %d x %d, recomputing: %s", batch.size, batch.accumulation,
                batch.checkpointing)  # fmt: skip
    model = adapted(config, model, checkpointing=batch.checkpointing)
    tokenizer = AutoTokenizer.from_pretrained(spec.base, **FROM_DISK)
    if tokenizer.pad_token is None:
        # Padding is masked: any token the model has will do, and no embedding is added.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    collator = None
    if config.loss == "label" and packable(model.config, spec.max_length):
        model.set_attn_implementation(PACKED)
        collator = PackedCollator(prefix=tuple(tokens.prefix), device=torch.device(device))
    fit_causal(config, model, tokenizer, sets, batch, collator, progress, ranks)
    if not ranks.first:
        return
    model.save_pretrained(config.output)
    tokenizer.save_pretrained(config.output)
    _name_base(config)


def _name_base(config: TrainConfig) -> None:
    """Let adapter_config.json name the base as it was named, not as this machine's path."""
    file = config.output / "adapter_config.json"
    adapter = json.loads(file.read_text("utf-8"))
    adapter["base_model_name_or_path"] = config.base
    file.write_text(json.dumps(adapter, indent=2, sort_keys=True) + "\n", "utf-8")
    (config.output / "README.md").unlink(missing_ok=True)


def _card(
    config: TrainConfig, spec: ModelSpec, tokens: PromptTokens, data: Labelled
) -> dict[str, Any]:
    hashes = FileHashes()
    return {
        "format_version": FORMAT_VERSION,
        "family": CAUSAL,
        "preset": config.preset,
        "base": {
            "id": config.base,
            "files": {f.name: hashes.sha256(f) for f in weight_files(spec.base)},
        },
        "quantisation": config.quantisation,
        "prompt": DEFAULT_PROMPT.to_card(),
        "label_token_ids": list(tokens.label_ids),
        "labels": list(LABELS),
        "max_length": spec.max_length,
        "temperature": 1.0,
        "training": {
            "data_sha256": data.sha256,
            "data": [split_notes(folder) for folder in config.data],
            "hyperparameters": hyperparameters(config),
            "seed": config.seed,
        },
        "versions": package_versions(),
        "metrics": {},
    }


def _assess(config: TrainConfig, data: Labelled) -> tuple[float, dict[str, dict[str, Any]]]:
    """Load what was written as `score` does; fit the temperature, measure each part."""
    spec = open_model(str(config.output))
    device = resolve_device("auto")
    scorer = LabelTokenScorer(spec, device=device, weights=spec.weights_for("auto", device))
    found: dict[str, tuple[Floats, Ints]] = {}
    for split in ("valid", "test"):
        for folder, frame in data.folders(split).items():
            truth = np.array([LABELS.index(label) for label in frame["label"]], dtype=np.int64)
            probabilities = np.zeros((frame.height, len(LABELS)), dtype=np.float32)
            for batch in scorer.score(frame["headline"].to_list()):
                probabilities[batch.positions] = batch.probabilities
            found[f"{split}/{folder}"] = np.log(probabilities.clip(1e-30)), truth
    temperature = 1.0
    valid = [pair for name, pair in found.items() if name.startswith("valid/")]
    if valid:
        stacked = np.concatenate([logits for logits, _ in valid]).astype(np.float64)
        temperature = round(fit_temperature(stacked, np.concatenate([t for _, t in valid])), 4)
    report = {}
    for name, (logits, truth) in found.items():
        calibrated = torch.from_numpy(logits / temperature).softmax(-1).numpy()
        report[name] = evaluate_predictions(truth, calibrated)
    return temperature, report
