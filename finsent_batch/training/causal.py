"""Train a causal model's adapter: QLoRA on the tutorial's prompt, then calibration.

Method: QLoRA (Dettmers et al. 2023) with the tutorial's settings; the model is
then loaded as `score` loads it, and one temperature is fitted on the validation
rows (Guo et al. 2017).
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoTokenizer, set_seed

from ..arrays import FloatArray
from ..errors import UsageError
from ..failpoints import failpoint
from ..hardware import resolve_device
from ..labelled.mixture import epoch_rows
from ..labelled.split_folders import Labelled, held_out, load_splits
from ..labels import LABELS
from ..models.base_weights import FROM_DISK, weight_files
from ..models.contents import WatchedFolder
from ..models.locate import resolve_base
from ..models.prompts import DEFAULT_PROMPT
from ..models.reading import read_json
from ..models.spec import CAUSAL, ModelSpec
from ..progress import Progress, StopRequest
from ..scorers.causal.decoders import packable
from ..scorers.causal.load import compute_dtype
from ..scorers.causal.packed_attention import NAME as PACKED
from ..scorers.causal.prompt_tokens import PromptTokens, load_prompt_tokens
from ..scorers.causal.scorer import LabelTokenScorer
from ..train_config import TrainConfig
from .calibrate import Logits, calibrate
from .callbacks import check_finite
from .causal_dataset import Answers, PackedCollator, balanced, training_set
from .causal_trainer import adapted, base_model, fit_causal
from .checkpoints import CHECKPOINTS, check_base, start_checkpoints
from .distributed import ProcessGroup
from .failures import expected_faults
from .layers.decoder import arrange_decoder
from .layers.lora import keep_unpacked
from .manifest import manifest
from .micro_batch import activation_budget, limited_memory, micro_batch, release_memory
from .output import check_output, publish_model, save_model
from .packed_trainer import graphable

logger = logging.getLogger(__name__)


def train_causal(
    config: TrainConfig, progress: Progress, stop: StopRequest
) -> dict[str, dict[str, Any]]:
    """Train, calibrate, evaluate and write a model directory; see `training.train`.

    Of several processes all train; the first one does the rest, and the others return nothing.
    """
    ranks = ProcessGroup.join()
    if ranks.first:
        check_output(config)
    assert config.base is not None
    with WatchedFolder(resolve_base(config.base)) as watched:
        return _train(config, watched, progress, stop, ranks)


def _train(
    config: TrainConfig,
    watched: WatchedFolder,
    progress: Progress,
    stop: StopRequest,
    ranks: ProcessGroup,
) -> dict[str, dict[str, Any]]:
    progress("read", 0, None)
    data = load_splits(config.data)
    progress("load", 0, None)
    if config.early_stopping_patience is not None and not data.splits["valid"].height:
        raise UsageError(
            "--early-stopping-patience needs validation rows, and valid.parquet has none"
        )
    spec = _untrained(config)
    tokens = load_prompt_tokens(spec)
    card = manifest(
        config,
        data,
        family=CAUSAL,
        base=spec.base,
        max_length=spec.max_length,
        own={"prompt": DEFAULT_PROMPT.to_card(), "label_token_ids": list(tokens.label_ids)},
    )
    if ranks.first:
        start_checkpoints(config, card)
    ranks.wait()
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads or ranks.cores)
    try:
        with expected_faults(config.output), limited_memory(config):
            set_seed(config.seed)
            log = _fit(config, spec, tokens, data, progress, stop, ranks)
            check_base(watched, config.output)
            ranks.leave()
            release_memory()
            if not ranks.first:
                return {}
            progress("calibrate", 0, None)
            staged = config.output / CHECKPOINTS / "final"
            logits_of = _logits(spec, card, staged, stop)
            card["temperature"], card["metrics"] = calibrate(logits_of, data)
            check_base(watched, config.output)
            progress("publish", 0, None)
            publish_model(config.output, staged, card, log)
    finally:
        torch.set_num_threads(threads)
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
    stop: StopRequest,
    ranks: ProcessGroup,
) -> list[dict[str, Any]]:
    sets = _prompts(config, spec, tokens, data, ranks)
    kind = resolve_device("auto")
    compute = compute_dtype(kind, "bf16" if kind == "cuda" else "fp32")
    device = ranks.device(kind)
    model = base_model(config, spec.base, device, compute)
    failpoint("load_model")
    model = adapted(config, model, compute)
    packed = config.loss == "label" and packable(model.config, spec.max_length)
    recorded = packed and graphable(config)
    batch = micro_batch(
        config,
        model,
        max(sets["train"]["length"]),
        ranks.smallest(activation_budget(config, model)),
        shared=len(tokens.prefix) if packed else 0,
        processes=ranks.world,
        recorded=recorded,
    )
    logger.info("micro-batch %d x %d, recomputing: %s", batch.size, batch.accumulation,
                batch.checkpointing)  # fmt: skip
    if batch.unpacked:
        keep_unpacked(model, compute)
    tokenizer = AutoTokenizer.from_pretrained(spec.base, **FROM_DISK)
    if tokenizer.pad_token is None:
        # Padding is masked: any token the model has will do, and no embedding is added.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    collator = None
    if packed:
        arrange_decoder(model, compute)
        model.set_attn_implementation(PACKED)  # builds no mask
        collator = PackedCollator(
            prefix=tuple(tokens.prefix),
            device=torch.device(device),
            recorded=recorded and not batch.checkpointing,
        )
    stop.check()
    log = fit_causal(config, model, tokenizer, sets, batch, collator, progress, stop, ranks)
    check_finite(model)
    if ranks.first:
        assert config.base is not None
        save_model(config.output, model, tokenizer, config.base)
    return log


def _prompts(
    config: TrainConfig, spec: ModelSpec, tokens: PromptTokens, data: Labelled, ranks: ProcessGroup
) -> dict[str, Dataset]:
    """Return the rows to train on and those to validate on, as prompts with their answers."""
    answers = Answers(ids=tokens.answers)
    rows = epoch_rows(data.splits["train"], replace(config, class_weights="none"), held_out(data))
    if config.class_weights == "balanced":
        rows = balanced(rows, config.seed)
    sets, cut = {}, 0
    for name, frame in (("train", rows), ("valid", data.splits["valid"])):
        # Validation judges the answer, whatever the loss counts.
        loss = config.loss if name == "train" else "label"
        sets[name], count = training_set(tokens, answers, frame, loss=loss)
        cut += count
    if cut and ranks.first:
        logger.warning(
            "%d headlines are longer than %d tokens with their prompt and were cut at their end",
            cut,
            spec.max_length,
        )
    return sets


def _logits(spec: ModelSpec, card: dict[str, Any], output: Path, stop: StopRequest) -> Logits:
    """Load what was written as `score` does, and return what gives its uncalibrated logits."""
    spec = replace(spec, name=str(output), folder=output, adapter=output, manifest=card)
    device = resolve_device("auto")
    scorer = LabelTokenScorer(spec, device=device, weights=spec.weights_for("auto", device))

    def logits_of(headlines: list[str]) -> FloatArray:
        probabilities = np.zeros((len(headlines), len(LABELS)), dtype=np.float32)
        for batch in scorer.score(headlines):
            stop.check()
            probabilities[batch.positions] = batch.probabilities
        logits: FloatArray = np.log(probabilities.clip(1e-30))
        return logits

    return logits_of
