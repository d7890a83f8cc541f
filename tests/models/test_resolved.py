"""A model is resolved once a run: one opening of the store, one look at each file's beginning."""

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import finsent_batch as fb
from finsent_batch.config import ModelConfig
from finsent_batch.errors import TryAgainError
from finsent_batch.models import base_weights, spec, weight_files
from finsent_batch.models.directory import open_model
from finsent_batch.models.weight_files import FileHashes
from finsent_batch.scorers.load import load_scorer
from finsent_batch.store.store import Store

from ..helpers.causal_models import save_adapter


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is opened and read; reset it before what is to be counted."""
    counted: Counter[str] = Counter()

    def counting(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            counted[name] += 1
            return function(*arguments, **options)

        return call

    check = weight_files.check_safetensors
    monkeypatch.setattr(base_weights, "check_safetensors", counting("header", check))
    monkeypatch.setattr(spec, "read_json", counting("config.json", spec.read_json))
    opened = counting("store", Store.open.__func__)
    monkeypatch.setattr(Store, "open", classmethod(opened))
    return counted


def test_a_run_opens_its_store_and_looks_at_its_model_once(
    headlines: pl.DataFrame, tmp_path: Path, calls: Counter[str]
) -> None:
    headlines.write_parquet(tmp_path / "feed.parquet")
    store = fb.StoreConfig(path=tmp_path / "s.duckdb")
    config = fb.ScoreConfig(input=str(tmp_path / "feed.parquet"), store=store)
    for _ in range(2):  # the second one finds the store, and in it no promoted model
        calls.clear()
        summary = fb.score(config)
        assert summary.model == "mini"
        assert calls == {"store": 1, "header": 1, "config.json": 1}


def test_a_causal_base_is_looked_at_once(
    causal_base: Any, tmp_path: Path, calls: Counter[str]
) -> None:
    adapter = save_adapter(tmp_path / "adapter", causal_base())
    for model in (adapter, causal_base()):
        config = ModelConfig(model=str(model), device="cpu")
        calls.clear()
        load_scorer(open_model(str(model)).resolve(config, FileHashes()))
        assert calls["header"] == 1
        assert calls["config.json"] <= 1


def test_a_resolved_model_says_what_it_runs_in_and_that_it_changed(tiny_model: Path) -> None:
    config = ModelConfig(model=str(tiny_model), device="cpu", weights="fp32", max_batch_tokens=64)
    model = open_model(str(tiny_model)).resolve(config, FileHashes())
    assert (model.device, model.weights, model.max_batch_tokens) == ("cpu", "fp32", 64)
    assert model.fingerprint == model.spec.fingerprint("fp32", FileHashes())
    assert set(model.files) == {str(tiny_model.resolve() / f.name) for f in tiny_model.iterdir()}
    extra = tiny_model / "added_tokens.json"
    extra.write_text("{}")
    try:
        with pytest.raises(TryAgainError, match="changed while it was in use"):
            load_scorer(model)
    finally:
        extra.unlink()
