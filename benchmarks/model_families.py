"""Every family that transformers' auto classes know for this task: scored right, or refused?

    python benchmarks/model_families.py                 # all of them, as Markdown
    python benchmarks/model_families.py --write docs/models.md
    python benchmarks/model_families.py --kind causal llama gemma2

For each `model_type` a tiny model with random weights is saved and scored, and held
against its own forward pass in transformers, one headline at a time. `right` means that
no probability differs by more than 1e-4 in fp32; `refused` that `score` ends with one
line. A family that transformers' auto class cannot load (`UNBUILT`) must be refused, too;
any other that has no tiny form is listed as `not built`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tiny_configurations import REASONS, UNBUILT
from tiny_models import HEADLINES, build, save_unbuilt

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

TOLERANCE = 1e-4
SPREADS = (0.1, 0.3, 0.5)
"""Standard deviations of random weights, tried in turn."""
TIMEOUT = 120
MARKS = "<!-- families: begin -->", "<!-- families: end -->"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came of one family: `right`, `refused`, `not built`, or a fault of ours."""

    kind: str
    family: str
    result: str
    note: str = ""


def own_answers(folder: Path, kind: str) -> Any:
    """Return transformers' own probabilities of the headlines, one at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    from finsent_batch.models.prompts import DEFAULT_PROMPT

    auto = AutoModelForCausalLM if kind == "causal" else AutoModelForSequenceClassification
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = auto.from_pretrained(folder, dtype=torch.float32).eval()
    columns = [1, 2, 0]
    if kind == "causal":
        words = (" negative", " neutral", " positive")
        columns = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words]
    found = []
    with torch.inference_mode():
        for headline in HEADLINES:
            text = DEFAULT_PROMPT.ask(headline) if kind == "causal" else headline
            given = tokenizer(text, return_tensors="pt")
            if kind == "causal":
                given.pop("token_type_ids", None)
            logits = model(**given).logits
            row = logits[0, -1] if kind == "causal" else logits[0]
            found.append(row[columns].float().softmax(-1))
    return torch.stack(found).numpy()


def our_answers(folder: Path) -> Any:
    """Return what `score` gives, in fp32 on the CPU."""
    from finsent_batch.config import ModelConfig
    from finsent_batch.evaluation.predict import predict_headlines
    from finsent_batch.models.directory import open_configured
    from finsent_batch.models.weight_files import FileHashes

    config = ModelConfig(model=str(folder), weights="fp32", device="cpu")
    model = open_configured(config).resolve(config, FileHashes())
    return predict_headlines(model, HEADLINES, lambda *_: None).probabilities


def telling_answers(folder: Path, kind: str, family: str) -> Any:
    """Save a tiny model and return its answers to the headlines; None where all are the same."""
    import numpy as np

    for spread in SPREADS:
        build(folder, kind, family, spread)
        found = own_answers(folder, kind)
        if np.isfinite(found).all() and found.std(axis=0).max() > 3 * TOLERANCE:
            return found
    return None


def examine(kind: str, family: str, folder: Path) -> Finding:
    """Build, score and compare one family."""
    import numpy as np

    from finsent_batch.errors import FinsentError

    try:
        if family in UNBUILT:
            save_unbuilt(folder, kind, family)
            expected = None
        else:
            expected = telling_answers(folder, kind, family)
    except Exception as error:  # noqa: BLE001 - a configuration that has no tiny form
        return Finding(kind=kind, family=family, result="not built", note=line(error))
    try:
        found = our_answers(folder)
    except FinsentError as error:
        note = str(error).replace(str(folder), "DIR")
        return Finding(kind=kind, family=family, result="refused", note=note)
    except Exception as error:  # noqa: BLE001 - what this looks for
        own = [
            f for f in traceback.extract_tb(error.__traceback__) if "finsent_batch" in f.filename
        ]
        where = f" [{Path(own[-1].filename).name}:{own[-1].lineno}]"
        return Finding(kind=kind, family=family, result="TRACEBACK", note=line(error) + where)
    if expected is None:
        note = "scored, but random weights do not tell the headlines apart"
        return Finding(kind=kind, family=family, result="not built", note=note)
    worst = float(np.abs(found - expected).max())
    if not worst <= TOLERANCE:
        return Finding(kind=kind, family=family, result="WRONG", note=f"by up to {worst:.4f}")
    spread = float(expected.std(axis=0).max())
    return Finding(kind=kind, family=family, result="right", note=f"spread {spread:.3f}")


def line(error: BaseException) -> str:
    """Return an error as one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]


def families(kind: str) -> list[str]:
    """Return the model types that the auto class of a kind knows."""
    from transformers.models.auto import modeling_auto

    names = {
        "causal": modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        "classifier": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    }
    return sorted(names[kind])


def run(kind: str, family: str) -> Finding:
    """Examine a family in a process of its own, which may crash or hang."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers.models.auto.modeling_auto", "peft"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=one, args=(kind, family, sender))
    process.start()
    sender.close()
    note = f"more than {TIMEOUT} s"
    try:
        if receiver.poll(TIMEOUT):
            finding: Finding = receiver.recv()
            return finding
    except EOFError:
        note = "the process ended"
    finally:
        process.join(5)
        process.kill()
    return Finding(kind=kind, family=family, result="TRACEBACK", note=note)


def one(kind: str, family: str, sender: Any) -> None:
    """Examine a family and send the finding."""
    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="families-") as folder:
        sender.send(examine(kind, family, Path(folder)))


def markdown(found: list[Finding]) -> str:
    """Return the findings as the tables of docs/models.md."""
    parts = [f"With transformers {version('transformers')} and torch {version('torch')}:"]
    for kind, title in (("causal", "Causal models"), ("classifier", "Sequence classifiers")):
        rows = [f for f in found if f.kind == kind]
        if not rows:
            continue
        parts.append(f"\n**{title}** ({len(rows)} families)\n\n| result | families |\n|---|---|")
        for result in sorted({f.result for f in rows}, key=_rank):
            names = ", ".join(_named(f) for f in rows if f.result == result)
            parts.append(f"| {result} ({sum(f.result == result for f in rows)}) | {names} |")
    return "\n".join(parts) + "\n"


def _named(finding: Finding) -> str:
    reason = REASONS.get(finding.family) if finding.result == "refused" else None
    return f"`{finding.family}`" + (f" ({reason})" if reason else "")


def _rank(result: str) -> int:
    order = ("right", "refused", "not built", "WRONG", "TRACEBACK")
    return order.index(result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", help="model types; none: all")
    parser.add_argument("--kind", choices=["causal", "classifier"])
    parser.add_argument("--write", type=Path, help="Put the tables between the marks in this file.")
    parser.add_argument("--json", type=Path, help="Write every finding there, too.")
    parser.add_argument("--jobs", type=int, default=1, help="Families at a time.")
    options = parser.parse_args()
    asked = [
        (kind, family)
        for kind in ([options.kind] if options.kind else ["causal", "classifier"])
        for family in options.families or families(kind)
    ]
    found = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for finding in pool.map(lambda pair: run(*pair), asked):
            found.append(finding)
            print(*asdict(finding).values(), sep="\t", file=sys.stderr, flush=True)
    tables = markdown(found)
    if options.json:
        options.json.write_text(json.dumps([asdict(f) for f in found], indent=1))
    if options.write:
        text = options.write.read_text("utf-8")
        before, _, rest = text.partition(MARKS[0])
        options.write.write_text(
            f"{before}{MARKS[0]}\n{tables}{MARKS[1]}{rest.partition(MARKS[1])[2]}", "utf-8"
        )
    else:
        print(tables)
    sys.exit(any(f.result in ("WRONG", "TRACEBACK") for f in found))


if __name__ == "__main__":
    main()
