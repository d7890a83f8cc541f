"""Where the gradients of a recorded training step differ from an ordinary one's, and why.

    python benchmarks/gradient_rounding.py BASE SPLIT

The same eight rows through the same adapter, dropout off, five ways: peft's own layers on a padded
batch under autocast; our layers on the packed batch; the same once more; the same as a replayed
CUDA graph; and our layers in fp32, which stands for the truth. A difference is the norm of the
difference of two gradients, by the norm of the second. Two ways that round in other places and are
both right lie as far apart as each lies from fp32, or nearer; on a CPU all is fp32.
"""

import argparse
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from report import emit
from torch.nn import functional

from finsent_batch.hardware import resolve_device
from finsent_batch.labelled.split_folders import load_splits
from finsent_batch.models.prompts import DEFAULT_PROMPT
from finsent_batch.models.spec import CAUSAL, ModelSpec
from finsent_batch.scorers.causal.load import compute_dtype
from finsent_batch.scorers.causal.packed_attention import NAME as PACKED
from finsent_batch.scorers.causal.prompt_tokens import load_prompt_tokens
from finsent_batch.train_config import TrainConfig
from finsent_batch.training.causal_dataset import (
    IGNORED,
    Answers,
    PackedCollator,
    training_set,
)
from finsent_batch.training.causal_trainer import adapted, base_model
from finsent_batch.training.layers.decoder import arrange_decoder
from finsent_batch.training.layers.lora import arrange_for_training
from finsent_batch.training.packed_trainer import forward_and_backward

ROWS = 8
DEVICE = resolve_device("auto")
CUDA = DEVICE == "cuda"


def rows_of(base: Path, split: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the first training rows as prompts with their answers, and the shared prefix."""
    spec = ModelSpec(
        name=str(base), folder=base, base=base, adapter=None, family=CAUSAL, max_length=1024,
        prompt=DEFAULT_PROMPT, quantisation=None,
    )  # fmt: skip
    tokens = load_prompt_tokens(spec)
    frame = load_splits((split,)).splits["train"].head(ROWS)
    dataset, _ = training_set(tokens, Answers(ids=tokens.answers), frame, loss="label")
    return [dataset[i] for i in range(len(dataset))], list(tokens.prefix)


def gradient(model: Any, work: Callable[[], Any]) -> torch.Tensor:
    """Return all gradients of `work`, end to end in fp32, and take them off."""
    work()
    trained = [p for p in model.parameters() if p.requires_grad]
    found = torch.cat([p.grad.flatten().float() for p in trained])
    for parameter in trained:
        parameter.grad = None
    return found


def ordinary(model: Any, rows: list[dict[str, Any]], items: int) -> None:
    """Run a padded batch as transformers and peft do."""
    longest = max(row["length"] for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long, device=DEVICE)
    labels, mask = torch.full_like(ids, IGNORED), torch.zeros_like(ids)
    for i, row in enumerate(rows):
        size = row["length"]
        ids[i, :size] = torch.tensor(row["input_ids"])
        labels[i, :size] = torch.tensor(row["labels"])
        mask[i, :size] = 1
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].flatten(0, 1)
    wanted = labels[:, 1:].flatten()
    total = functional.cross_entropy(logits.float(), wanted, ignore_index=IGNORED, reduction="sum")
    (total / items).backward()


def replayed(step: Callable[[], Any], model: Any) -> Callable[[], Any]:
    """Return a replay of `step`, recorded; where nothing can be recorded, the step itself."""
    if not CUDA:
        return step
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure(base: Path, split: Path, scratch: Path) -> dict[str, torch.Tensor]:
    """Return the gradient of each way."""
    config = TrainConfig.for_preset(
        "llama2-7b", base=str(base), data=(split,), output=scratch, lora_dropout=0.0,
        **({} if CUDA else {"quantisation": None}),
    )  # fmt: skip
    compute = compute_dtype(DEVICE, "bf16" if CUDA else "fp32")
    rows, prefix = rows_of(base, split)
    model = adapted(config, base_model(config, base, DEVICE, compute), compute).train()
    own = {name: module.forward for name, module in model.named_modules()}
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zeros at first, behind which A has no gradient
            torch.nn.init.normal_(parameter, std=0.01)
    items = sum(label != IGNORED for row in rows for label in row["labels"][1:])
    found: dict[str, torch.Tensor] = {}
    for module in model.modules():
        module.forward = type(module).forward.__get__(module)
    with autocast():
        found["ordinary"] = gradient(model, lambda: ordinary(model, rows, items))
    for name, module in model.named_modules():
        module.forward = own[name]
    arrange_decoder(model, compute)
    model.set_attn_implementation(PACKED)
    collate = PackedCollator(prefix=tuple(prefix), device=torch.device(DEVICE), recorded=True)
    inputs = collate(rows)

    def step() -> Any:
        return forward_and_backward(model, inputs["packing"], inputs, items)

    with autocast():
        found["packed"] = gradient(model, step)
        found["packed, again"] = gradient(model, step)
        found["replayed"] = gradient(model, replayed(step, model))
    arrange_for_training(model, torch.float32)
    arrange_decoder(model, torch.float32)
    found["fp32"] = gradient(model, step)
    return found


def autocast() -> AbstractContextManager[Any]:
    """Return what a trainer with bf16 computes in."""
    return torch.autocast("cuda", torch.bfloat16) if CUDA else nullcontext()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("split", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(given.base, given.split, Path(scratch))
    pairs = [("packed, again", "packed"), ("replayed", "packed"), ("packed", "ordinary")]
    pairs += [(name, "fp32") for name in ("ordinary", "packed", "replayed")]
    table = [[a, b, f"{(found[a] - found[b]).norm() / found[b].norm():.3%}"] for a, b in pairs]
    device = torch.cuda.get_device_name() if CUDA else "cpu"
    emit("gradient_rounding", ["gradient of", "against", "difference"], table, device=device)


if __name__ == "__main__":
    main()
