"""The ways that `rivals.py` compares, each run by it in a process of its own.

    python benchmarks/rival_ways.py NAME TASK.json RESULT.json

A way is given what the task's file holds, and returns its rate, the seconds
that loading took, its labels as indices and the library's version. Libraries are
imported where they are used: Unsloth wants to be the first.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import Any

Task = dict[str, Any]
BATCH = 8
UNTIMED_STEPS = 10
VLLM = {
    "dtype": "bfloat16",
    "max_model_len": 1024,
    "enable_prefix_caching": True,
    "gpu_memory_utilization": 0.85,
}
"""All else is vLLM's own: 16,384 tokens a step on an H100, chunked prefill, FlashAttention 3."""


def ours(weights: str, task: Task) -> Task:
    """Measure our engine, tokenizing apart."""
    import torch

    from finsent_batch.models.directory import open_model
    from finsent_batch.scorers.causal.scorer import LabelTokenScorer

    begun = time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    scorer = LabelTokenScorer(open_model(task["base"]), device=device, weights=weights)
    tokenized = scorer.tokenize(task["texts"])
    loading = time.perf_counter() - begun
    labels = [0] * len(task["texts"])

    def work() -> None:
        for batch in scorer.score_tokenized(tokenized):
            for at, best in zip(batch.positions, batch.probabilities.argmax(1), strict=True):
                labels[int(at)] = int(best)

    work()
    return timed(work, task) | {"loading": loading, "labels": labels, "library": own_version()}


def transformers_padded(task: Task) -> Task:
    """Measure transformers' dense model in padded batches of 32, as `llama_throughput.py` does."""
    from llama_throughput import padded

    begun = time.perf_counter()
    rate, _ = padded(Path(task["base"]), task["texts"], 32)
    spent = 1.0 * len(task["texts"]) / rate
    loading = time.perf_counter() - begun - spent
    return {"rate": rate, "loading": loading, "library": library("transformers")}


def vllm_classify(more: dict[str, Any], task: Task) -> Task:
    """Measure vLLM's classification: the label tokens' rows of the head become the classifier."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(task["base"], local_files_only=True)
    overrides = {
        "architectures": ["LlamaForSequenceClassification"],
        "classifier_from_token": tokenizer.convert_ids_to_tokens(task["label_ids"]),
        "method": "no_post_processing",
    }
    kind = {"runner": "pooling", "convert": "classify", "hf_overrides": overrides}

    def classify(engine: Any, prompts: list[Any]) -> list[int]:
        answers = engine.classify(prompts, use_tqdm=False)
        return [max(range(3), key=answer.outputs.probs.__getitem__) for answer in answers]

    return by_vllm(kind | more, classify, task)


def vllm_generate(more: dict[str, Any], task: Task) -> Task:
    """Measure vLLM's generation of one token, which may be a label's alone."""
    from vllm import SamplingParams

    allowed = task["label_ids"]
    one = SamplingParams(temperature=0.0, max_tokens=1, allowed_token_ids=allowed, detokenize=False)

    def generate(engine: Any, prompts: list[Any]) -> list[int]:
        answers = engine.generate(prompts, one, use_tqdm=False)
        return [allowed.index(answer.outputs[0].token_ids[0]) for answer in answers]

    return by_vllm(more, generate, task)


def by_vllm(
    settings: dict[str, Any], answer: Callable[[Any, list[Any]], list[int]], task: Task
) -> Task:
    """Load an engine and time `answer` on all prompts, after the same with another cache."""
    from vllm import LLM

    begun = time.perf_counter()
    engine = LLM(model=task["base"], tokenizer=task["base"], **VLLM, **settings)
    loading = time.perf_counter() - begun
    prompts = [{"prompt_token_ids": ids} for ids in task["prompts"]]
    answer(engine, prompts)
    if not engine.reset_prefix_cache():
        raise RuntimeError("vLLM did not empty its prefix cache: its rate would be another's")
    labels: list[int] = []
    measured = timed(lambda: labels.extend(answer(engine, prompts)), task)
    return measured | {"loading": loading, "labels": labels, "library": library("vllm")}


def sglang_score(task: Task) -> Task:
    """Measure SGLang's score of label tokens: what all prompts begin with is its query."""
    from sglang import Engine

    begun = time.perf_counter()
    engine = Engine(
        model_path=task["base"], dtype="bfloat16", attention_backend="fa3",
        sampling_backend="pytorch", disable_cuda_graph=True, context_length=1024,
        mem_fraction_static=0.8, log_level="error",
    )  # fmt: skip
    loading = time.perf_counter() - begun
    ends = zip(min(task["prompts"]), max(task["prompts"]), strict=False)
    query = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], ends)]
    items = [ids[len(query) :] for ids in task["prompts"]]

    def score() -> list[int]:
        found = engine.score(
            query=query, items=items, label_token_ids=task["label_ids"], apply_softmax=True
        )
        return [max(range(3), key=row.__getitem__) for row in found.scores]

    score()
    engine.flush_cache()
    labels: list[int] = []
    measured = timed(lambda: labels.extend(score()), task)
    engine.shutdown()
    return measured | {"loading": loading, "labels": labels, "library": library("sglang")}


def train_ours(task: Task) -> Task:
    """Measure our steps through `train_throughput.py`, one epoch."""
    from train_throughput import measure

    begun = time.perf_counter()
    row = measure(Path(task["base"]), Path(task["split"]), 1.0, "ours")
    loading = time.perf_counter() - begun - row[2]
    return {"rate": row[3], "loading": loading, "peak": row[5], "library": own_version()}


def train_unsloth(dropout: float, task: Task) -> Task:
    """Measure Unsloth's steps with trl's trainer: same rows, batches, adapter and optimizer."""
    import unsloth  # before transformers, which it patches
    from unsloth import FastLanguageModel  # isort: skip
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    on_gpu = torch.cuda.is_available()
    begun = time.perf_counter()
    model, tokenizer = FastLanguageModel.from_pretrained(
        task["base"], max_seq_length=1024, dtype=torch.bfloat16, load_in_4bit=on_gpu,
        local_files_only=True, use_gradient_checkpointing=False,
    )  # fmt: skip
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = FastLanguageModel.get_peft_model(
        model, r=64, lora_alpha=16, lora_dropout=dropout, bias="none", random_state=0,
        use_gradient_checkpointing=False, target_modules=["q_proj", "k_proj", "v_proj", "o_proj",
                                                          "gate_proj", "up_proj", "down_proj"],
    )  # fmt: skip
    loading = time.perf_counter() - begun
    ends: dict[int, float] = {}

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step in (UNTIMED_STEPS, state.max_steps):
                if on_gpu:
                    torch.cuda.synchronize()
                ends[state.global_step] = time.perf_counter()

    settings = SFTConfig(
        output_dir="unsloth", per_device_train_batch_size=BATCH, gradient_accumulation_steps=1,
        num_train_epochs=1, learning_rate=2e-4, lr_scheduler_type="cosine", warmup_steps=3,
        weight_decay=0.001, max_grad_norm=0.3, bf16=on_gpu, max_length=1024, report_to="none",
        optim="paged_adamw_32bit" if on_gpu else "adamw_torch", save_strategy="no",
        logging_steps=50, seed=0, dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model, processing_class=tokenizer, args=settings, callbacks=[Clock()],
        train_dataset=Dataset.from_list(task["train"]),
    )  # fmt: skip
    log = trainer.train()
    first, last = min(ends), max(ends)
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else 0.0
    return {
        "rate": BATCH * (last - first) / (ends[last] - ends[first]),
        "loading": loading, "peak": peak, "loss": log.training_loss,
        "library": f"unsloth {unsloth.__version__}",
    }  # fmt: skip


def timed(work: Callable[[], None], task: Task) -> Task:
    begun = time.perf_counter()
    work()
    return {"rate": len(task["texts"]) / (time.perf_counter() - begun)}


def library(name: str) -> str:
    return f"{name} {version(name)}"


def own_version() -> str:
    from finsent_batch.version import __version__

    return f"finsent-batch {__version__}"  # also where it runs from a tree and is not installed


def measure_way(name: str, task: Path, result: Path) -> None:
    """Run a way and write what it returns."""
    way, weights = (SCORING | TRAINING)[name]
    found = way(json.loads(task.read_text("utf-8"))) | {"weights": weights}
    result.write_text(json.dumps(found), "utf-8")


EAGER = {"enforce_eager": True}
COMPILED = {"compilation_config": {"cudagraph_mode": "NONE"}}
FP8 = {"quantization": "fp8"}
SCORING: dict[str, tuple[Callable[[Task], Task], str]] = {
    "ours, bf16": (partial(ours, "bf16"), "bf16"),
    "ours, nf4": (partial(ours, "nf4"), "nf4"),
    "ours, fp8": (partial(ours, "fp8"), "fp8"),
    "vLLM classify, eager": (partial(vllm_classify, EAGER), "bf16"),
    "vLLM classify": (partial(vllm_classify, COMPILED), "bf16"),
    "vLLM classify, fp8": (partial(vllm_classify, COMPILED | FP8), "fp8"),
    "vLLM generate one token": (partial(vllm_generate, COMPILED), "bf16"),
    "SGLang score": (sglang_score, "bf16"),
    "transformers, padded 32": (transformers_padded, "bf16"),
}
TRAINING: dict[str, tuple[Callable[[Task], Task], str]] = {
    "training: ours": (train_ours, "nf4"),
    "training: Unsloth": (partial(train_unsloth, 0.1), "nf4"),
    "training: Unsloth, no dropout": (partial(train_unsloth, 0.0), "nf4"),
}


if __name__ == "__main__":
    measure_way(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
