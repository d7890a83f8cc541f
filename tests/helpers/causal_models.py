"""Tiny causal models with random weights, and adapters for them, as their libraries save them."""

import json
from pathlib import Path
from typing import Any

from .tiny_bert import WORDS

# Shapes that the packed path knows, and one that it does not.
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 32},
    "gpt_neox": {},
}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def save_tokenizer(folder: Path) -> int:
    """Train a byte-level BPE in which headlines merge with the brackets; gives its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from finsent_batch.models.prompts import DEFAULT_PROMPT

    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words = WORDS.split() * 5
    seams = ["['Profit'] = [(loss)] =", '["Oil"] = [$3.] =']
    prompts = [DEFAULT_PROMPT.ask(" ".join(words)) + DEFAULT_PROMPT.answer("positive")]
    tokenizer.train_from_iterator([" ".join(words)] * 5 + seams * 20 + prompts * 5, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    return tokenizer.get_vocab_size()


def save_base(
    folder: Path,
    architecture: str = "llama",
    *,
    seed: int = 0,
    dtype: str = "float32",
    **changes: Any,
) -> Path:
    """Save a causal model of two layers, queries in groups, every parameter random."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    size = save_tokenizer(folder)
    options = {
        "vocab_size": size,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    config = AutoConfig.for_model(architecture, **options | SHAPES[architecture] | changes)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name and "weight" in name else 0.0, 0.15)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


def save_adapter(
    folder: Path,
    base: Path,
    *,
    quantisation: str | None = None,
    lora: dict[str, Any] | None = None,
    card: dict[str, Any] | None = None,
    seed: int = 1,
) -> Path:
    """Save a LoRA adapter whose B is random too, with the `finsent.json` that training writes."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    options = {"r": 4, "lora_alpha": 8, "target_modules": LINEARS, "task_type": "CAUSAL_LM"}
    model = AutoModelForCausalLM.from_pretrained(base)
    adapted = get_peft_model(model, LoraConfig(**options | (lora or {})))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, 0.3)
    adapted.save_pretrained(folder)
    write_card(folder, base, quantisation=quantisation, **card or {})
    return folder


def write_card(folder: Path, base: Path, /, **changes: Any) -> None:
    """Write `finsent.json` for an adapter of `base`, some of its entries changed."""
    from finsent_batch.labels import LABELS
    from finsent_batch.models.directory import open_model
    from finsent_batch.models.prompts import DEFAULT_PROMPT
    from finsent_batch.models.weight_files import FileHashes
    from finsent_batch.scorers.causal.prompt_tokens import load_prompt_tokens

    hashes = FileHashes()
    files = {f.name: hashes.sha256(f) for f in sorted(base.glob("model*.safetensors"))}
    card = {
        "format_version": 1,
        "family": "label_tokens",
        "labels": list(LABELS),
        "base": {"id": str(base), "files": files},
        "prompt": DEFAULT_PROMPT.to_card(),
        "label_token_ids": list(load_prompt_tokens(open_model(str(base))).label_ids),
        "quantisation": None,
        "max_length": 256,
        "temperature": 1.3,
    }
    (folder / "finsent.json").write_text(json.dumps(card | changes))


def refused(run, code, *arguments):
    """Run `score feed.parquet` with a model; it must fail in one line, which is returned."""
    done = run("score", "feed.parquet", *arguments)
    assert done.code == code, done.err
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    assert "Traceback" not in done.err
    return done.err
