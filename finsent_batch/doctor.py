"""Diagnose what this machine can run: every line of `doctor`."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import DEFAULT_MODEL, EMBEDDED_MODELS, ModelConfig, StoreConfig
from .errors import ConfigError, FinsentError
from .hardware import (
    available_cores,
    cpu_model,
    cuda_available,
    gpu_capability,
    gpu_memory,
    main_memory,
    resolve_device,
)
from .models.directory import open_model
from .models.precision import classifier_weights
from .models.spec import CAUSAL, ResolvedModel
from .models.weight_files import FileHashes
from .optional_imports import quiet_bitsandbytes
from .store.store import Store
from .store.verify import verify

_LIBRARIES = (
    "torch", "transformers", "peft", "accelerate", "datasets", "polars", "duckdb", "pyarrow",
    "scikit-learn", "matplotlib", "jinja2",
)  # fmt: skip
_OPTIONAL = {
    "tensorboard": "tensorboard", "bitsandbytes": "llm", "trl": "llm", "deltalake": "delta",
    "boto3": "buckets", "obstore": "buckets",
}  # fmt: skip
"""Libraries that an extra brings, and which."""
_TELLING_RUN = 256
"""Headlines that a run must have scored for its rate to tell something."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of `doctor`: `state` is `ok`, `missing` or `–` (optional and absent)."""

    what: str
    state: str
    found: str


def diagnose(
    store: StoreConfig | Path | str = StoreConfig.path, model: Path | str | None = None
) -> list[Check]:
    """Look at Python, CPU, GPU, memory, libraries, the embedded models and the store.

    `model` names one more to look at, which is loaded and given a headline.
    """
    config = store if isinstance(store, StoreConfig) else StoreConfig(path=Path(store))
    model = None if model is None else os.fspath(model)
    models = [*map(_model, EMBEDDED_MODELS), *_rates(config, DEFAULT_MODEL)]
    if model is not None:
        models += [*_named_model(model), *_rates(config, model)]
    return [*_machine(), *_libraries(), *_causal(), *models, _store(config)]


def _machine() -> Iterator[Check]:
    yield Check(what="Python", state="ok", found=sys.version.split()[0])
    yield Check(what="CPU", state="ok", found=f"{cpu_model()}, {available_cores()} cores")
    memory = main_memory() / 1e9
    yield Check(what="memory", state="ok", found=f"{memory:.1f} GB")
    disk = shutil.disk_usage(".").free / 1e9
    yield Check(what="free disk here", state="ok", found=f"{disk:.1f} GB")
    yield Check(what="GPU", state="ok" if cuda_available() else "–", found=_gpu())
    weights = classifier_weights("auto", resolve_device("auto"), int8_able=True)
    found = f"{resolve_device('auto')}, {weights}"
    yield Check(what="device and weights for auto", state="ok", found=found)


def _gpu() -> str:
    if not cuda_available():
        return "none that torch can use; scoring runs on the CPU"
    import torch

    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"


def _libraries() -> Iterator[Check]:
    for name in (*_LIBRARIES, *_OPTIONAL):
        try:
            yield Check(what=name, state="ok", found=importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            optional = name in _OPTIONAL
            remedy = f"pip install {f'finsent-batch[{_OPTIONAL[name]}]' if optional else name}"
            yield Check(what=name, state="–" if optional else "missing", found=remedy)


def _model(name: str) -> Check:
    what = f"model {name}"
    try:
        spec = open_model(name)
        spec.resolve(ModelConfig(model=name), FileHashes())
    except FinsentError as error:
        return Check(what=what, state="missing", found=str(error))
    return Check(what=what, state="ok", found=f"{spec.base_id}, files and hashes as expected")


def _causal() -> Iterator[Check]:
    """Say how causal models run here, and what one of Llama 2 7B's shape takes."""
    if not cuda_available():
        found = "packed batches in plain PyTorch; flash attention for them needs an NVIDIA GPU"
        yield Check(what="attention of causal models", state="–", found=found)
    else:
        flash = gpu_capability() >= (8, 0)
        found = "flash, for packed batches" if flash else "plain PyTorch: the GPU is below 8.0"
        yield Check(what="attention of causal models", state="ok" if flash else "–", found=found)
    quiet_bitsandbytes()
    from .scorers.capacity import LLAMA_2_7B, empty_model, weight_bytes

    yield Check(
        what="weights of a 7B model",
        state="ok",
        found=_sizes(weight_bytes(empty_model(LLAMA_2_7B))),
    )
    if cuda_available():
        yield _expected(empty_model(LLAMA_2_7B))


def _expected(model: Any) -> Check:
    """Say how fast a 7B model should be, by this GPU's own products, measured now."""
    from .scorers.capacity import expected_rates, product_speeds

    speeds = product_speeds("cuda", fp8=gpu_capability() >= (8, 9))
    rates = expected_rates(model, speeds)
    found = ", ".join(f"{weights} {rate:,.0f}" for weights, rate in rates.items())
    return Check(
        what="expected of a 7B model",
        state="ok",
        found=f"headlines/s: {found} (matrix products at {speeds['bf16'] / 1e12:,.0f} TFLOP/s)",
    )


def _sizes(sizes: dict[str, int]) -> str:
    if not cuda_available():
        usable = {w: size for w, size in sizes.items() if w != "fp8"}
        return f"{_listed(usable)}, a batch's activations apart; in main memory, there is no GPU"
    usable = {w: size for w, size in sizes.items() if w != "fp8" or gpu_capability() >= (8, 9)}
    too_large = [w for w, size in usable.items() if size > gpu_memory()]
    note = f"; too large for this GPU: {', '.join(too_large)}" if too_large else ""
    return f"{_listed(usable)}, a batch's activations apart{note}"


def _listed(sizes: dict[str, int]) -> str:
    return ", ".join(
        f"{weights} {size / 1e9:.1f} GB" if size >= 1e9 else f"{weights} {size / 1e6:.1f} MB"
        for weights, size in sizes.items()
    )


def _named_model(name: str) -> Iterator[Check]:
    what = f"model {name}"
    try:
        spec = open_model(name)
        resolved = spec.resolve(ModelConfig(model=name), FileHashes())
        device, weights = resolved.device, resolved.weights
        path = _one_headline(resolved)
    except FinsentError as error:
        yield Check(what=what, state="missing", found=str(error))
        return
    base = f", base {spec.base_id}" if spec.family == CAUSAL else ""
    yield Check(what=what, state="ok", found=f"{spec.family}{base}, {weights} on {device}, {path}")
    if spec.family == CAUSAL:
        from .scorers.capacity import empty_model, weight_bytes
        from .scorers.causal.prompt_tokens import load_prompt_tokens

        sizes = _sizes(weight_bytes(empty_model(spec.base)))
        yield Check(what="its weights", state="ok", found=sizes)
        words = load_prompt_tokens(spec).describe_labels()
        yield Check(what="its label words", state="ok", found=words)


def _one_headline(model: ResolvedModel) -> str:
    """Load a model and score with it: nothing less tells that it can be; return how it runs.

    Raises:
        FinsentError: it cannot.
    """
    from .scorers.load import load_scorer

    scorer = load_scorer(model)
    [batch] = scorer.score(["Nordkap lifts its guidance"])
    if not bool((batch.probabilities >= 0).all()):
        raise ConfigError(
            f"{model.spec.name} gives no numbers for a headline: its weights are damaged"
        )
    return scorer.batching


def _rates(config: StoreConfig, model: str) -> Iterator[Check]:
    """Tell the speed of recorded runs; without one there is nothing to tell."""
    if not config.path.expanduser().exists():
        return
    try:
        with Store.open(config, read_only=True) as store:
            runs = store.query(
                """SELECT device, summary->>'weights', arg_max(headlines_per_second, started_at),
                    arg_max(unique_scored, started_at), max(started_at)::DATE
                FROM runs WHERE model = ? AND unique_scored >= ? AND status = 'done'
                GROUP BY ALL ORDER BY 1, 2""",
                [model, _TELLING_RUN],
            )
    except FinsentError:
        return  # the store's own line says it
    for device, weights, rate, scored, day in runs:
        found = f"{rate:,.0f} headlines/s on {device} ({weights}); {scored:,} scored on {day}"
        yield Check(what=f"last run with {model}", state="ok", found=found)


def _store(config: StoreConfig) -> Check:
    what = f"store {config.path}"
    if not config.path.expanduser().exists():
        return Check(what=what, state="–", found="none yet; the first run makes it")
    try:
        with Store.open(config, read_only=True) as store:
            findings = verify(store)
            scores = store.query("SELECT count(*) FROM scores")[0][0]
    except FinsentError as error:
        return Check(what=what, state="–", found=str(error))
    return Check(what=what, state="–" if findings else "ok",
                 found="; ".join(findings) or f"sound, {scores:,} scores")  # fmt: skip
