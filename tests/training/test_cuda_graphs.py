"""Recorded training steps, played here without a GPU: what is recorded runs when replayed."""

import pytest
import torch
from safetensors.torch import load_file

from finsent_batch.training import causal as causal_training
from finsent_batch.training import cuda_graphs as graphed_training

from ..helpers.qlora import arguments, save_split

CUTS = {
    "whole": [],
    "in micro-batches": ["--no-auto-batch", "--per-device-train-batch-size", 2,
                         "--gradient-accumulation-steps", 4],
}  # fmt: skip


@pytest.fixture
def replayed(monkeypatch):
    """Take this machine for one that records; gives the inputs' shapes of all replays."""
    shapes = []

    def play_later(step, _, model):
        assert all(module.training for module in model.modules())

        def launch():
            shapes.append(tuple(step._inputs["input_ids"].shape))
            step._loss = step.run(model)

        return launch

    monkeypatch.setattr(causal_training, "graphable", lambda _: True)
    monkeypatch.setattr(graphed_training.RecordedStep, "_recording", play_later)
    return shapes


def trained(run, tmp_path, causal_base, name, *more):
    if not (tmp_path / "split").exists():
        save_split(tmp_path / "split")
    given = arguments(tmp_path / "split", causal_base(), tmp_path / name, "--lora-dropout", 0)
    done = run(*given[1:], "--quantisation", "none", "--no-gradient-checkpointing", *map(str, more))
    assert done.code == 0, done.err
    return load_file(tmp_path / name / "adapter_model.safetensors"), done.err


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
def test_replayed_steps_train_the_same_adapter(run, tmp_path, causal_base, replayed, cut):
    recorded, _ = trained(run, tmp_path, causal_base, "recorded", *cut)
    assert len(replayed) > len(set(replayed)) > 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(causal_training, "graphable", lambda _: False)
        before = len(replayed)
        ordinary, _ = trained(run, tmp_path, causal_base, "ordinary", *cut)
    assert len(replayed) == before
    assert recorded.keys() == ordinary.keys()
    for name, weight in ordinary.items():
        assert torch.allclose(recorded[name], weight, atol=2e-3), name


def test_what_cannot_be_recorded_runs_as_ever(run, tmp_path, causal_base, replayed, monkeypatch):
    def refuse(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(graphed_training.RecordedStep, "_recording", refuse)
    refused, said = trained(run, tmp_path, causal_base, "refused")
    assert said.count("training steps are not captured") == 1
    assert "operation not permitted when stream is capturing" in said
    assert "and more" not in said
    # The same batches, padded alike, with nothing recorded.
    monkeypatch.setattr(graphed_training.RecordingTrainer, "_record", lambda *_: False)
    ordinary, _ = trained(run, tmp_path, causal_base, "ordinary")
    assert all(torch.equal(refused[name], weight) for name, weight in ordinary.items())
