"""What there is: models the store knows, and what this machine can run."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from .config import DEFAULT_MODEL, StoreConfig
from .default_model import current_promotion
from .errors import FinsentError
from .hardware import available_cores, classifier_weights, cpu_model, cuda_available, resolve_device
from .models.directory import open_model
from .models.files import FileHashes
from .store import Store
from .store_check import verify

_LIBRARIES = (
    "torch", "transformers", "peft", "accelerate", "datasets", "polars", "duckdb", "pyarrow",
    "scikit-learn", "matplotlib", "jinja2",
)  # fmt: skip
_OPTIONAL = {"tensorboard": "tensorboard", "bitsandbytes": "llm", "trl": "llm"}
"""Libraries that an extra brings, and which."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of `doctor`: `state` is `ok`, `missing` or `–` (optional and absent)."""

    what: str
    state: str
    found: str


def known_models(config: StoreConfig) -> list[dict[str, object]]:
    """Return the embedded model and those of the store, one dict each."""
    spec = open_model(DEFAULT_MODEL)
    weights = spec.weights_for("auto", resolve_device("auto"))
    rows: dict[str, dict[str, object]] = {}
    default = spec.fingerprint(weights, FileHashes())
    rows[default] = _row(DEFAULT_MODEL, spec.family, spec.base_id, weights, default, 0, None)
    promoted = None
    if config.path.exists():
        with Store.open(config, read_only=True) as store:
            promoted = current_promotion(store)
            for found in store.query("""
                SELECT model, family, base, weights, model_fingerprint, count(headline_key),
                    max(scored_at)
                FROM models LEFT JOIN scores USING (model_fingerprint)
                GROUP BY ALL ORDER BY 7 DESC NULLS LAST"""):
                rows[found[4]] = _row(*found)
    if promoted is not None and promoted.model_fingerprint not in rows:
        p = promoted
        rows[p.model_fingerprint] = _row(
            p.model, None, None, p.weights, p.model_fingerprint, 0, None
        )
    for fingerprint, row in rows.items():
        is_default = fingerprint == (promoted.model_fingerprint if promoted else default)
        row["default"] = "yes" if is_default else None
    return list(rows.values())


def _row(
    model: str,
    family: str | None,
    base: str | None,
    weights: str,
    fingerprint: str,
    scores: int,
    last: object,
) -> dict[str, object]:
    return {
        "model": model,
        "family": family,
        "base": base,
        "weights": weights,
        "fingerprint": fingerprint,
        "scores": scores,
        "last scored": last,
    }


def diagnose(config: StoreConfig) -> list[Check]:
    """Look at Python, CPU, GPU, memory, libraries, the embedded model and the store."""
    return [*_machine(), *_libraries(), _model(), _store(config)]


def _machine() -> Iterator[Check]:
    yield Check(what="Python", state="ok", found=sys.version.split()[0])
    yield Check(what="CPU", state="ok", found=f"{cpu_model()}, {available_cores()} cores")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
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


def _model() -> Check:
    what = f"model {DEFAULT_MODEL}"
    try:
        spec = open_model(DEFAULT_MODEL)
        spec.fingerprint("fp32", FileHashes())
    except FinsentError as error:
        return Check(what=what, state="missing", found=str(error))
    return Check(what=what, state="ok", found=f"{spec.base_id}, files and hashes as expected")


def _store(config: StoreConfig) -> Check:
    what = f"store {config.path}"
    if not config.path.exists():
        return Check(what=what, state="–", found="none yet; the first run makes it")
    try:
        with Store.open(config, read_only=True) as store:
            findings = verify(store)
            scores = store.query("SELECT count(*) FROM scores")[0][0]
    except FinsentError as error:
        return Check(what=what, state="–", found=str(error))
    return Check(what=what, state="–" if findings else "ok",
                 found="; ".join(findings) or f"sound, {scores:,} scores")  # fmt: skip
