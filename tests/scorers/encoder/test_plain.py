"""BERT loaded by torch alone: the same weights, ids and answers as transformers and peft give."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from finsent_batch.models.directory import open_model
from finsent_batch.models.spec import ModelSpec
from finsent_batch.scorers.batching import pad
from finsent_batch.scorers.encoder.load import LoadedEncoder, _by_transformers, load_encoder
from finsent_batch.scorers.encoder.plain_bert import PlainBert

pytestmark = pytest.mark.filterwarnings("ignore")
TEXTS = (
    "Nordkap lifts its 2026 guidance as net sales rise 12.5 % to EUR 1,204.7 mn",
    "Crédit Valois: « résultat » +5%, says 'CEO'",
    "[SEP] profit [MASK] [PAD]",
    "中文 ～ naïve \u200b\ufffd É",
    "",
    "up",
    "word " * 300,
)


def both(spec: ModelSpec) -> Iterator[LoadedEncoder]:
    for load in (load_encoder, _by_transformers):
        yield load(spec, "cpu")


@torch.inference_mode()
def answers(loaded: LoadedEncoder, texts: tuple[str, ...]) -> np.ndarray:
    ids, mask = map(torch.from_numpy, pad(loaded.tokens.encode(texts).rows(), 0))
    return loaded.forward(torch.float32)(ids, mask).softmax(-1).numpy()


def assert_same(spec: ModelSpec) -> None:
    plain, whole = both(spec)
    assert isinstance(plain.model, PlainBert)
    held, wanted = plain.model.state_dict(), whole.model.state_dict()
    assert held.keys() == wanted.keys()
    assert all(torch.equal(held[name], wanted[name]) for name in held), "the fold is peft's"
    found, own = plain.tokens.encode(TEXTS), whole.tokens.encode(TEXTS)
    assert found.rows() == own.rows()
    assert found.truncated.tolist() == own.truncated.tolist()
    assert answers(plain, TEXTS) == pytest.approx(answers(whole, TEXTS), abs=1e-6)
    assert answers(plain, TEXTS[:1]) == pytest.approx(answers(plain, TEXTS)[:1], abs=1e-6)


def test_mini_answers_as_transformers_bert_does() -> None:
    """Against `BertModel` itself, with peft's adapter beside it and not folded in."""
    from peft import PeftModel
    from transformers import AutoModel, AutoTokenizer

    spec = open_model("mini")
    assert_same(spec)
    tokenizer = AutoTokenizer.from_pretrained(spec.base)
    bert = AutoModel.from_pretrained(spec.base, add_pooling_layer=False, dtype=torch.float32)
    wrapped = torch.nn.Module()
    wrapped.bert, wrapped.classifier = bert, torch.nn.Linear(bert.config.hidden_size, 3)
    wrapped.config = bert.config
    wrapped.prepare_inputs_for_generation = None
    adapted = PeftModel.from_pretrained(wrapped, str(spec.adapter)).eval()
    given = tokenizer(
        list(TEXTS), return_tensors="pt", padding="longest", truncation=True, max_length=128
    )
    given.pop("token_type_ids", None)
    with torch.inference_mode():
        states = adapted.base_model.model.bert(**given).last_hidden_state
        mask = given["attention_mask"].unsqueeze(-1)
        mean = (states * mask).sum(1) / mask.sum(1)
        want = adapted.base_model.model.classifier(mean).softmax(-1).numpy()
    assert answers(load_encoder(spec, "cpu"), TEXTS) == pytest.approx(want, abs=1e-6)


@pytest.fixture(scope="module")
def trained(plain_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `train` writes: an adapter for each pooling, and an encoder of all its own weights."""
    from finsent_batch.jobs.cli import run

    work = tmp_path_factory.mktemp("trained")
    verbs = {"positive": "rises", "negative": "falls", "neutral": "posts"}
    rows = [(f"profit {verb} {n}", label) for n in range(12) for label, verb in verbs.items()]
    pl.DataFrame(rows, schema=["text", "label"], orient="row").write_csv(work / "mine.csv")
    assert run(["prepare", str(work / "mine.csv"), "-o", str(work / "split")]) == 0
    kinds = {
        "mean": ["--preset", "mini", "--lora-r", "4"],
        "cls": ["--preset", "mini", "--lora-r", "4", "--pooling", "cls"],
        "encoder": ["--preset", "encoder"],
    }
    for name, options in kinds.items():
        given = ["--data", work / "split", "--base", plain_model, "-o", work / name,
                 "--num-train-epochs", 2, "--threads", 1]  # fmt: skip
        assert run(["-q", "train", *options, *map(str, given)]) == 0
    return {name: work / name for name in kinds}


@pytest.mark.parametrize("kind", ["mean", "cls", "encoder"])
def test_what_train_writes_is_loaded_to_the_same_weights_and_answers(
    trained: dict[str, Path], kind: str
) -> None:
    assert_same(open_model(str(trained[kind])))


def test_a_whole_classifier_as_finbert_is_laid_out(plain_model: Path) -> None:
    assert_same(open_model(str(plain_model)))


def change(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def change_tensors(file: Path, **more: torch.Tensor) -> None:
    save_file(load_file(file) | more, file, {"format": "pt"})


def change_tokenizer(folder: Path, part: str, **entries: Any) -> None:
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content[part] |= entries
    file.write_text(json.dumps(content))


ODD: dict[str, Callable[[Path], object]] = {
    "activation": lambda f: change(f / "config.json", hidden_act="gelu_new"),
    "a setting that is not known": lambda f: change(f / "config.json", scale_embeddings=2),
    "a decoder": lambda f: change(f / "config.json", is_decoder=True),
    "lower case": lambda f: change(f / "tokenizer_config.json", do_lower_case=False),
    "a tokenizer's setting": lambda f: change(f / "tokenizer_config.json", add_bos_token=True),
    "another class": lambda f: change(f / "tokenizer_config.json", tokenizer_class="Electra"),
    "another side": lambda f: change(f / "tokenizer_config.json", truncation_side="left"),
    "normalizer": lambda f: change_tokenizer(f, "normalizer", strip_accents=False),
    "word pieces": lambda f: change_tokenizer(f, "model", max_input_chars_per_word=9),
    "vocabulary": lambda f: (f / "vocab.txt").write_text("[PAD]\n[UNK]\n"),
    "special tokens": lambda f: (f / "special_tokens_map.json").write_text('{"pad_token": "x"}'),
    "a tensor more": lambda f: change_tensors(
        f / "model.safetensors", **{"bert.encoder.layer.0.output.dense.weight_scale": torch.ones(1)}
    ),
    "a missing tensor": lambda f: save_file(
        {n: t for n, t in load_file(f / "model.safetensors").items() if n != "classifier.bias"},
        f / "model.safetensors",
    ),
    "a tokenizer that is too large": lambda f: change(f / "config.json", vocab_size=20),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_model_that_is_not_known_to_the_letter_goes_the_way_of_transformers(
    plain_model: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(plain_model, tmp_path / "model")
    ODD[kind](folder)
    assert by_transformers(folder, monkeypatch)


ODD_ADAPTERS: dict[str, dict[str, Any]] = {
    "rank-stabilized": {"use_rslora": True},
    "decomposed": {"use_dora": True},
    "ranks by layer": {"rank_pattern": {"query": 2}},
    "scales by layer": {"alpha_pattern": {"query": 2}},
    "transposed": {"fan_in_fan_out": True},
    "one layer alone": {"layers_to_transform": [0]},
    "other start": {"init_lora_weights": "pissa"},
    "another kind": {"peft_type": "IA3"},
    "fewer targets than tensors": {"target_modules": ["query"]},
    "a pattern": {"target_modules": ".*query"},
    "an entry that is not known": {"use_new_lora": True},
    "another rank": {"r": 8},
}


@pytest.mark.parametrize("kind", ODD_ADAPTERS)
def test_an_adapter_that_is_not_known_to_the_letter_goes_the_way_of_peft(
    trained: dict[str, Path], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(trained["mean"], tmp_path / "model")
    change(folder / "adapter_config.json", **ODD_ADAPTERS[kind])
    monkeypatch.setattr("finsent_batch.models.directory.check_adapter", lambda *_: None)
    assert by_transformers(folder, monkeypatch)


def by_transformers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    asked = []
    monkeypatch.setattr(
        "finsent_batch.scorers.encoder.load._by_transformers",
        lambda spec, device: asked.append(spec.folder),
    )
    load_encoder(open_model(str(folder)), "cpu")
    return bool(asked)


LOADED = """
import sys
from finsent_batch.jobs.cli import run
assert run(sys.argv[1:]) == 0
heavy = ("transformers", "peft", "bitsandbytes", "datasets", "pandas", "sklearn")
print(*(name for name in heavy if name in sys.modules))
"""


def test_scoring_with_mini_imports_neither_transformers_nor_pandas(tmp_path: Path) -> None:
    pl.DataFrame({"headline": list(TEXTS)}).write_parquet(tmp_path / "news.parquet")
    done = subprocess.run(
        [sys.executable, "-c", LOADED, "score", "news.parquet"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
