"""A Llama-shaped checkpoint with random weights, and an adapter for it, for measuring speed.

    python benchmarks/llama_checkpoint.py FOLDER --tokenizer ../shared/data/llama2_tokenizer

Weights of the real size and layout without the real, gated ones: speed does not
depend on their values, except for the share of near-ties in fp8. `--tiny` gives a
model that a CPU runs in seconds.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from finsent_batch.optional_imports import quiet_bitsandbytes

SHAPE_7B = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
}
SHAPE_TINY = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def make_base(folder: Path, tokenizer: Path, shape: dict[str, int]) -> Path:
    """Write config, sharded bf16 safetensors and the tokenizer; keep what is there already."""
    if (folder / "config.json").exists():
        found = json.loads((folder / "config.json").read_text("utf-8"))
        if any(found.get(name) != value for name, value in shape.items()):
            sys.exit(f"{folder} holds a checkpoint of another shape: remove it")
        return folder
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = LlamaConfig(
        vocab_size=32_000, rms_norm_eps=1e-5, max_position_embeddings=4096, **shape
    )
    torch.manual_seed(0)
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        model = LlamaForCausalLM(config)
        torch.set_default_dtype(torch.float32)
    _calm(model)
    model.save_pretrained(folder, max_shard_size="5GB")
    for file in tokenizer.glob("tokenizer*"):
        shutil.copyfile(file, folder / file.name)
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "add_bos_token": True,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def _calm(model: LlamaForCausalLM) -> None:
    """Let layers add little to the embeddings.

    Layers of plain random weights blow rounding up from one to the next, as no trained model does:
    fp8 would change too many labels, and not be used. So it moves them about as those of a small
    trained one.
    """
    model.model.embed_tokens.weight.data.mul_(1 / model.config.initializer_range)
    scale = (2 * len(model.model.layers)) ** -0.75
    for layer in model.model.layers:
        for added in (layer.self_attn.o_proj, layer.mlp.down_proj):
            added.weight.data.mul_(scale)


def make_adapter(folder: Path, base: Path, rank: int = 64) -> Path:
    """Write an adapter of the tutorial's shape, small random values, for `base` in NF4."""
    quiet_bitsandbytes()
    from peft import LoraConfig, get_peft_model

    from finsent_batch.labels import LABELS
    from finsent_batch.models.base_weights import weight_files
    from finsent_batch.models.directory import open_model
    from finsent_batch.models.manifest import FORMAT_VERSION
    from finsent_batch.models.prompts import DEFAULT_PROMPT
    from finsent_batch.models.spec import CAUSAL
    from finsent_batch.models.weight_files import FileHashes
    from finsent_batch.scorers.causal.prompt_tokens import load_prompt_tokens

    if (folder / "finsent.json").exists():
        return folder
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(LlamaConfig.from_pretrained(base))
    lora = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=16, target_modules="all-linear")
    adapted = get_peft_model(model, lora).to_empty(device="cpu")
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn_like(parameter.data) * 0.01
    adapted.save_pretrained(folder)
    hashes = FileHashes()
    card = {
        "format_version": FORMAT_VERSION,
        "family": CAUSAL,
        "base": {
            "id": str(base),
            "files": {f.name: hashes.sha256(f) for f in weight_files(base)},
        },
        "quantisation": "nf4",
        "prompt": DEFAULT_PROMPT.to_card(),
        "label_token_ids": list(load_prompt_tokens(open_model(str(base))).label_ids),
        "labels": list(LABELS),
        "max_length": 1024,
        "temperature": 1.0,
    }
    (folder / "finsent.json").write_text(json.dumps(card))
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    base = make_base(given.folder / "base", given.tokenizer, SHAPE_TINY if given.tiny else SHAPE_7B)
    print(make_adapter(given.folder / "adapter", base))
