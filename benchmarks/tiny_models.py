"""Tiny models of any family with random weights, saved as transformers saves real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_configurations import CAUSAL_CHANGES, CHANGES, SIZES, WHOLE

HEADLINES = [
    "Varnholt Steel lifts full-year guidance as orders rebound",
    "Operating loss widens at Kestrel Foods",
    "Shares of Ormskirk Air fall 7 % on profit warning",
    "Dunmore names new CFO",
    "Net sales rose to EUR 13.1 mn from EUR 8.7 mn",
    "Crédit Valois : résultat en hausse de 5 %",
]
LABELS = {0: "positive", 1: "negative", 2: "neutral"}


def shrunk(config: Any, vocabulary: int, family: str, kind: str = "") -> Any:
    """Return a configuration of the same class with tiny sizes."""
    known = config.to_dict()
    changes = CHANGES.get(family, {})
    options = {name: size for name, size in SIZES.items() if isinstance(known.get(name), int)}
    options |= {n: SIZES[n] for n in ("bos_token_id", "eos_token_id", "pad_token_id") if n in known}
    if "vocab_size" in known:
        options["vocab_size"] = vocabulary
    if "kv_lora_rank" in known:  # latent attention has no groups of heads
        options["num_key_value_heads"] = 4
    options |= changes
    if kind == "causal":
        options |= CAUSAL_CHANGES.get(family, {})
    if options.get("vocab_size_per_layer_input", 0) is None:
        options["vocab_size_per_layer_input"] = vocabulary
    layers = next((options[n] for n in ("num_hidden_layers", "n_layer") if n in options), 2)
    for name, value in known.items():
        listed = name in ("layer_types", "layers_block_type", "mlp_layer_types")
        if listed and isinstance(value, list) and name not in changes:
            options[name] = (value[: layers - 1] + value[-1:])[:layers]
    for name in config.sub_configs:
        part = getattr(config, name, None)
        if part is not None and name not in changes:
            options[name] = shrunk(part, vocabulary, part.model_type)
    return type(config)(**options)


def save_tokenizer(folder: Path, kind: str) -> int:
    """Train a byte-level BPE on the headlines and the label words; gives its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    words = " negative neutral positive"
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*HEADLINES, words] * 20, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A" if kind == "causal" else "<s> $A </s>",
        special_tokens=[("<s>", 1), ("</s>", 2)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    return int(tokenizer.get_vocab_size())


def build(folder: Path, kind: str, family: str, spread: float) -> None:
    """Save a tiny model of a family, its weights random with a standard deviation."""
    import torch
    import transformers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    size = save_tokenizer(folder, kind)
    config = shrunk(AutoConfig.for_model(family), size, family, kind)
    if kind == "classifier":
        config.id2label = LABELS
        config.label2id = {label: i for i, label in LABELS.items()}
    auto = AutoModelForCausalLM if kind == "causal" else AutoModelForSequenceClassification
    make = getattr(transformers, WHOLE[family]) if family in WHOLE else auto.from_config
    with torch.device("meta"):
        count = sum(p.numel() for p in make(config).parameters())
    if count > 30_000_000:
        raise ValueError(f"{count / 1e6:.0f} M parameters")
    torch.manual_seed(0)
    model = make(config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            flat = parameter.dim() == 1 and "norm" in name.lower() and "bias" not in name
            parameter.normal_(1.0 if flat else 0.0, spread)
    model.save_pretrained(folder)


def save_unbuilt(folder: Path, kind: str, family: str) -> None:
    """Save what says that it is a model of a family, with weights that are not looked at."""
    import torch
    from safetensors.torch import save_file

    save_tokenizer(folder, kind)
    head = "ForCausalLM" if kind == "causal" else "ForSequenceClassification"
    config = {"model_type": family, "architectures": [f"Any{head}"], "id2label": LABELS}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
