"""An encoder's training steps: recorded ones, played here without a GPU, and their settings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finsent_batch.training import cuda_graphs, encoder_trainer, transfer_set

from ..conftest import Result
from ..helpers.qlora import save_split

Run = Callable[..., Result]
FAST = (
    "--base-dropout", 0, "--lora-dropout", 0, "--lora-r", 4, "--num-train-epochs", 4,
    "--per-device-train-batch-size", 8, "--threads", 1, "--report-to", "none",
)  # fmt: skip


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Take this machine for one that records; gives the inputs' shapes of all replays."""
    shapes = []

    def play_later(step: Any, _: Any, model: Any) -> Callable[[], None]:
        def launch() -> None:
            shapes.append(tuple(step._inputs["input_ids"].shape))
            step._loss = step.run(model)

        return launch

    monkeypatch.setattr(cuda_graphs.RecordedStep, "_recording", play_later)
    for module in (encoder_trainer, transfer_set):
        monkeypatch.setattr(module, "records", lambda: True)
    return shapes


def trained(run: Run, base: Path, name: str, *more: object) -> dict[str, torch.Tensor]:
    folder = Path("split").absolute()
    if not folder.exists():
        save_split(folder)
    done = run(
        "train", "--preset", "mini", "--data", "split", "--base", base, "-o", name, *FAST, *more
    )
    assert done.code == 0, done.err
    assert "not captured" not in done.err
    return load_file(Path(name) / "adapter_model.safetensors")


@pytest.mark.parametrize("more", [(), ("--gradient-accumulation-steps", 2, "--ema-decay", 0.9)])
def test_replayed_steps_train_the_same_adapter(
    run: Run, tiny_model: Path, replayed: list[tuple[int, ...]], more: tuple[object, ...]
) -> None:
    recorded = trained(run, tiny_model, "recorded", *more)
    assert len(replayed) > len(set(replayed)) > 0
    assert all(length % transfer_set.LENGTHS == 0 for _, length in replayed)
    with pytest.MonkeyPatch.context() as patch:
        for module in (encoder_trainer, transfer_set):
            patch.setattr(module, "records", lambda: False)
        before = len(replayed)
        ordinary = trained(run, tiny_model, "ordinary", *more)
    assert len(replayed) == before
    for name, weight in ordinary.items():
        assert torch.allclose(recorded[name], weight, atol=2e-3), name


def test_a_step_of_two_batches_logs_the_loss_of_one(run: Run, tiny_model: Path) -> None:
    def first_loss(name: str, *more: object) -> float:
        trained(run, tiny_model, name, "--num-train-epochs", 1, *more)
        log = json.loads((Path(name) / "training_log.json").read_text())
        return float(next(entry["loss"] for entry in log if "loss" in entry))

    whole = first_loss("whole", "--per-device-train-batch-size", 16)
    halves = first_loss("halves", "--gradient-accumulation-steps", 2)
    assert halves == pytest.approx(whole, rel=0.2)


def test_numbers_become_tensors_where_they_are_needed() -> None:
    with torch.device("meta"), cuda_graphs.WithoutCopies():
        assert torch.tensor(0.5).device.type == "meta"
    for number in (2.5, 7, True):
        with cuda_graphs.WithoutCopies():
            found = torch.tensor(number)
        assert torch.equal(found, torch.tensor(number))
        assert found.dtype == torch.tensor(number).dtype
    with cuda_graphs.WithoutCopies():
        assert torch.tensor([1, 2], dtype=torch.int32).tolist() == [1, 2]
