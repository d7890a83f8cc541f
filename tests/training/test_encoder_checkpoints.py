"""Training of an encoder that is killed or stopped, and resumed: the same model as in one go."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import Result
from ..helpers.qlora import kill, save_split, signalled
from .test_checkpoints import steps

Run = Callable[..., Result]
KINDS = {
    "mini": ("--preset", "mini", "--lora-r", 4, "--ema-decay", 0.9),
    "encoder": ("--preset", "encoder", "--learning-rate", 1e-3),
}


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return save_split(tmp_path / "split")


def arguments(kind: str, split: Path, base: Path, output: Path, *more: object) -> list[str]:
    given = ("--data", split, "--base", base, "-o", output, *KINDS[kind], "--threads", 1,
             "--num-train-epochs", 4, "--per-device-train-batch-size", 8, *more)  # fmt: skip
    return ["-q", "train", *map(str, given)]


def trained(folder: Path) -> bytes:
    [file] = folder.glob("*model.safetensors")
    return file.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_resumes_to_the_model_of_an_uninterrupted_one(
    kind: str, run: Run, split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    assert run(*arguments(kind, split, tiny_model, tmp_path / "whole")).code == 0
    assert not (tmp_path / "whole" / "checkpoints").exists()
    output = tmp_path / "killed"
    command = arguments(kind, split, tiny_model, output, "--save-steps", 2)
    kill(command, tmp_path, lambda: max(steps(output), default=0) >= 4)
    assert not (output / "finsent.json").exists()
    assert {entry.name for entry in output.iterdir()} <= {"checkpoints", "logs"}
    refused = run(*command)
    assert refused.code == 73
    assert "--resume continues it" in refused.err
    done = run(*command, "--resume")
    assert done.code == 0, done.err
    assert trained(output) == trained(tmp_path / "whole")
    logs = [
        [entry for entry in json.loads((folder / "training_log.json").read_text())
         if "eval_loss" in entry]
        for folder in (output, tmp_path / "whole")
    ]  # fmt: skip
    assert logs[0] == logs[1]
    assert len(logs[0]) == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_saves_first_and_says_how_to_go_on(
    number: int, code: int, run: Run, split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "stopped"
    command = arguments("mini", split, tiny_model, output, "--num-train-epochs", 200)
    found, error = signalled(command, tmp_path, lambda: steps(output), number)
    assert found == code, error
    assert error.count("\n") == 1
    assert f"the same command with --resume continues after step {max(steps(output))}" in error


def test_a_training_killed_behind_its_last_step_trains_no_more(
    run: Run, split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    command = arguments("mini", split, tiny_model, tmp_path / "whole")
    assert run(*command).code == 0
    log = json.loads((tmp_path / "whole" / "training_log.json").read_text())
    last = max(entry["step"] for entry in log)
    output = tmp_path / "late"
    command = arguments("mini", split, tiny_model, output)
    kill(command, tmp_path, lambda: last in steps(output))
    (output / "finsent.json").unlink(missing_ok=True)
    done = run(*command, "--resume")
    assert done.code == 0, done.err
    assert trained(output) == trained(tmp_path / "whole")


def test_only_the_same_training_is_resumed(
    run: Run, split: Path, tiny_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "m"
    kill(arguments("mini", split, tiny_model, output), tmp_path, lambda: steps(output))
    for changed, said in (
        (("--seed", 7), "seed was 0, not 7"),
        (("--pooling", "cls"), "pooling was mean, not cls"),
    ):
        done = run(*arguments("mini", split, tiny_model, output, "--resume", *changed))
        assert (done.code, said in done.err) == (78, True), done.err
    done = run(*arguments("mini", split, tiny_model, tmp_path / "other", "--resume"))
    assert (done.code, "no complete checkpoint" in done.err) == (78, True), done.err
