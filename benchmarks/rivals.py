"""Other libraries beside ours on the same GPU: a 7B classifier's headlines/s, QLoRA's samples/s.

    python benchmarks/rivals.py ../shared/data --checkpoint /tmp/llama [--ways NAME…]

Scoring: the PhraseBank headlines as the same prompts, token for token, on the same
base without an adapter; loading and tokenizing are not counted, all headlines are
scored once before, and vLLM's prefix cache is emptied between. `of ours` divides by
our rate with the same weights. `as ours` is the share of labels equal to ours in
bf16: the weights are random, most headlines near-ties, so that it tells whether a
way computes the same thing, not how well. vLLM runs eagerly, and compiled without
CUDA graphs, which large batches do not need. Training: one epoch of the tutorial's
900 rows in batches of 8; without ours' first step and Unsloth's first ten, in which it
compiles. Each way has a process of its own, and one that fails is told on stderr and
left out. `--vllm-path` and its likes are folders of packages for that library alone,
where it needs other versions. With `--gpus 0 1` two ways run side by side, a GPU
each. `--tiny` checks the script on a CPU.
"""

import argparse
import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import polars as pl
import torch
from llama_checkpoint import SHAPE_7B, SHAPE_TINY, make_base
from report import emit
from rival_ways import SCORING, TRAINING

from finsent_batch.headlines import normalize
from finsent_batch.models.directory import open_model
from finsent_batch.models.prompts import DEFAULT_PROMPT
from finsent_batch.scorers.causal.prompt_tokens import load_prompt_tokens

CUDA = torch.cuda.is_available()
HERE = Path(__file__).resolve().parent
TINY_ROWS = 64
OURS = "ours, bf16"
LIBRARIES = ("vLLM", "SGLang", "Unsloth")
Result = dict[str, Any]
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # Sampling by FlashInfer, which is not needed where the most probable token is taken.
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def write_task(folder: Path, base: Path, split: Path | None, texts: list[str]) -> Path:
    """Write and return what ways read: texts, prompts as ids, label tokens, rows to train on."""
    tokens = load_prompt_tokens(open_model(str(base)))
    task: dict[str, Any] = {
        "base": str(base),
        "split": str(split),
        "texts": texts,
        "prompts": tokens.encode(texts).rows(),
        "label_ids": list(tokens.label_ids),
        "train": [],
    }
    if split is not None:
        frame = pl.read_parquet(split / "train.parquet")
        answers = dict(zip(("negative", "neutral", "positive"), tokens.answers, strict=True))
        for question, label in zip(
            tokens.encode(frame["headline"].to_list()).rows(), frame["label"], strict=True
        ):
            answer = answers[label]
            task["train"].append(
                {"input_ids": question + answer, "labels": [-100] * len(question) + answer}
            )
    target = folder / "task.json"
    target.write_text(json.dumps(task), "utf-8")
    return target


def run_way(name: str, task: Path, gpu: str, path: str | None, limit: float) -> Result | None:
    """Return what a way measured in a process of its own, or say why it did not."""
    environment = OFFLINE | os.environ | {"CUDA_VISIBLE_DEVICES": gpu}
    paths = [path, os.environ.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    folder = task.parent / "".join(c if c.isalnum() else "_" for c in name)
    folder.mkdir()
    log, result = folder / "log.txt", folder / "result.json"
    begun = time.perf_counter()
    with log.open("w") as output:
        child = subprocess.Popen(
            [sys.executable, str(HERE / "rival_ways.py"), name, str(task), str(result)],
            cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            code: int | str = child.wait(limit)
        except subprocess.TimeoutExpired:
            code = f"more than {limit:.0f} s"
        finally:
            end_group(child.pid)  # engines that a way started, and left behind
    seconds = time.perf_counter() - begun
    if code == 0 and result.exists():
        found: Result = json.loads(result.read_text("utf-8")) | {"seconds": seconds, "gpu": gpu}
        told = f"{found['rate']:,.1f}/s, {seconds:.0f} s in all"
    else:
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if "Error" in line]
        told = f"left out ({code}): {(errors or lines or ['no output'])[-1][:300]}"
        found = {}
    print(f"{name}: {told}", file=sys.stderr, flush=True)
    return found or None


def run_ways(given: argparse.Namespace, task: Path) -> dict[str, Result]:
    """Run all ways, as many side by side as there are GPUs, and return what they measured."""
    gpus: SimpleQueue[str] = SimpleQueue()
    for gpu in given.gpus:
        gpus.put(gpu)

    def run(name: str) -> Result | None:
        gpu = gpus.get()
        library = next((word for word in LIBRARIES if word in name), None)
        path = getattr(given, f"{library.lower()}_path") if library else None
        try:
            return run_way(name, task, gpu, path, given.limit)
        finally:
            gpus.put(gpu)

    with ThreadPoolExecutor(len(given.gpus)) as pool:
        measured = dict(zip(given.ways, pool.map(run, given.ways), strict=True))
    return {name: found for name, found in measured.items() if found}


def end_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, 9)


def table(found: dict[str, Result]) -> list[list[Any]]:
    """Return a row for each way, ratios first."""
    rows = []
    reference = found.get(OURS, {}).get("labels")
    for name, one in found.items():
        ours = found.get("training: ours" if name in TRAINING else f"ours, {one['weights']}")
        labels = one.get("labels")
        same = None
        if reference and labels:
            same = sum(a == b for a, b in zip(labels, reference, strict=True)) / len(labels)
        rows.append(
            [name, one["rate"] / ours["rate"] if ours else None, same, one["rate"],
             one["weights"], one["loading"], one["seconds"], one["library"]]
        )  # fmt: skip
    return rows


def prepare(data: Path, folder: Path, tiny: bool) -> Path:
    """Return the tutorial's split; a few rows of it if `tiny`."""
    split = folder / "split"
    subprocess.run(
        [sys.executable, "-m", "finsent_batch", "--quiet", "prepare",
         str(data / "phrasebank/Sentences_50Agree.txt"), "-o", str(split), "--recipe", "tutorial"],
        check=True,
    )  # fmt: skip
    if tiny:
        for part in split.glob("*.parquet"):
            pl.read_parquet(part).group_by("label", maintain_order=True).head(32).write_parquet(
                part
            )
    return split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="with phrasebank/, llama2_tokenizer/")
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="folder of the 7B-shaped base"
    )
    parser.add_argument("--ways", nargs="*", default=[*SCORING, *TRAINING])
    parser.add_argument("--rows", type=int, default=None, help="headlines to score; all")
    for library in LIBRARIES:
        parser.add_argument(f"--{library.lower()}-path", help="folders, as in PYTHONPATH")
    parser.add_argument("--limit", type=float, default=170.0, help="seconds a way may take")
    parser.add_argument("--name", default="rivals", help="of the results' file")
    parser.add_argument("--logs", type=Path, help="new folder to keep what the ways print")
    parser.add_argument("--gpus", nargs="+", default=["0"], help="run as many ways side by side")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    shape = SHAPE_TINY if given.tiny else SHAPE_7B
    base = make_base(
        given.checkpoint.resolve() / "base", given.data / "llama2_tokenizer", shape
    ).resolve()
    lines = (given.data / "phrasebank/Sentences_50Agree.txt").read_text("latin-1").splitlines()
    texts = normalize([line.rpartition("@")[0] for line in lines])
    texts = texts[: given.rows or (TINY_ROWS if given.tiny else None)]
    if unknown := set(given.ways) - {*SCORING, *TRAINING}:
        parser.error(f"no such way: {', '.join(unknown)}; there are {'; '.join(SCORING)}; "
                     f"{'; '.join(TRAINING)}")  # fmt: skip
    gc.collect()
    torch.cuda.empty_cache()  # the base may have been made here just now
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.logs.resolve() if given.logs else Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        needs_split = any(way in TRAINING for way in given.ways)
        split = prepare(given.data.resolve(), folder, given.tiny) if needs_split else None
        found = run_ways(given, write_task(folder, base, split, texts))
    columns = ["way", "of ours", "as ours", "headlines or samples/s", "weights", "loading s",
               "s in all", "library"]  # fmt: skip
    device = torch.cuda.get_device_name() if CUDA else "cpu"
    emit(given.name, columns, table(found), device=device, headlines=len(texts),
         prompt=DEFAULT_PROMPT.template)  # fmt: skip


if __name__ == "__main__":
    main()
