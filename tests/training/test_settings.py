"""Settings of `train`: each an option, a TOML key, shown, and kept in finsent.json."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from safetensors.torch import load_file

from finsent_batch.errors import UsageError
from finsent_batch.train_config import TrainConfig
from finsent_batch.training.manifest import hyperparameters
from finsent_batch.training.train import train

from ..conftest import Result
from ..helpers.qlora import arguments, save_split
from ..helpers.tables import read_table

Run = Callable[..., Result]
OTHERS = {
    "learning_rate": 0.25, "num_train_epochs": 7.0, "per_device_train_batch_size": 3,
    "gradient_accumulation_steps": 5, "lr_scheduler_type": "linear", "warmup_ratio": 0.25,
    "optim": "adamw_torch_fused", "weight_decay": 0.5, "max_grad_norm": 0.75,
    "label_smoothing_factor": 0.125, "ema_decay": 0.5, "lora_r": 5, "lora_alpha": 11,
    "lora_dropout": 0.5, "target_modules": "q_proj,v_proj", "class_weights": "balanced",
    "opposites": True, "repeat_first": 3, "max_length": 99, "auto_batch": False,
    "gradient_checkpointing": False, "memory_budget": "3GB", "early_stopping_patience": 4,
    "save_steps": 6, "quantisation": "none", "loss": "full-text", "pooling": "cls",
    "report_to": "none", "seed": 8, "threads": 9, "resume": True, "overwrite": True,
    "base": "some-base", "soft_labels": ["a.parquet", "b.parquet"], "soft_weight": 0.4,
    "soft_neutral_share": 0.3, "soft_text_column": "said", "exclude": ["held_out.csv"],
    "drop_held_out": True, "repeat_labelled": 11, "base_dropout": 0.25,
}  # fmt: skip
"""A value of each setting that no preset has."""


def shown(done: Result) -> dict[str, str]:
    assert done.code == 0, done.err
    return {row["setting"]: row["value"] for row in read_table(done.out)}


def show(run: Run, *more: object) -> dict[str, str]:
    command = ("train", "--preset", "llama2-7b", "--data", "d", "-o", "m", "--show-config")
    return shown(run(*command, *more))


def test_the_whole_is_shown_with_the_tutorials_values(run: Run, tmp_path: Path) -> None:
    found = show(run)
    assert set(found) == {field.name for field in fields(TrainConfig)}
    tutorials = {
        "learning_rate": "0.0002", "lr_scheduler_type": "cosine", "warmup_ratio": "0.03",
        "num_train_epochs": "3.0", "per_device_train_batch_size": "1",
        "gradient_accumulation_steps": "8", "weight_decay": "0.001", "max_grad_norm": "0.3",
        "lora_r": "64", "lora_alpha": "16", "lora_dropout": "0.1",
        "target_modules": "all-linear", "quantisation": "nf4", "max_length": "1024",
        "gradient_checkpointing": "True", "report_to": "tensorboard",
    }  # fmt: skip
    assert {name: found[name] for name in tutorials} == tutorials
    assert found["optim"] in ("adamw_torch", "paged_adamw_32bit")  # decided, not `auto`
    assert not (tmp_path / "m").exists()


def test_every_setting_is_an_option_and_a_toml_key(run: Run, tmp_path: Path) -> None:
    assert set(OTHERS) == {f.name for f in fields(TrainConfig)} - {"data", "output", "preset"}
    before = show(run)
    options: list[object] = []
    lines = []
    for name, value in OTHERS.items():
        flag = name.replace("_", "-")
        if isinstance(value, list):
            options += [part for item in value for part in (f"--{flag}", item)]
        elif isinstance(value, bool):
            options.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            options += [f"--{flag}", value]
        lines.append(f"{flag} = {json.dumps(value)}")
    found = show(run, *options)
    assert all(found[name] != before[name] for name in OTHERS)
    expected = {
        name: ", ".join(value) if isinstance(value, list) else str(value)
        for name, value in OTHERS.items()
    } | {"quantisation": "None"}
    assert {name: found[name] for name in OTHERS} == expected
    (tmp_path / "c.toml").write_text("[train]\n" + "\n".join(lines) + "\n")
    command = ("train", "--preset", "llama2-7b", "--data", "d", "-o", "m", "--show-config")
    assert shown(run("--config", "c.toml", *command)) == found


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return save_split(tmp_path / "split")


def test_what_was_learnt_with_is_kept_in_the_model(
    run: Run, split: Path, causal_base: Callable[..., Path], tmp_path: Path
) -> None:
    more = (
        "--optim", "adamw_torch_fused", "--target-modules", "q_proj, v_proj",
        "--lr-scheduler-type", "constant", "--report-to", "none", "--num-train-epochs", 1,
    )  # fmt: skip
    command = arguments(split, causal_base(), tmp_path / "m", *more)
    done = run(*command)
    assert done.code == 0, done.err
    kept = json.loads((tmp_path / "m" / "finsent.json").read_text())["training"]["hyperparameters"]
    config = TrainConfig.for_preset("llama2-7b", data=(split,), output=tmp_path)
    assert set(kept) == set(hyperparameters(config))
    assert (kept["optim"], kept["lr_scheduler_type"]) == ("adamw_torch_fused", "constant")
    names = load_file(tmp_path / "m" / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in names} == {"q_proj", "v_proj"}
    assert not (tmp_path / "m" / "logs").exists()
    done = run("evaluate", "--model", "m", "--data", split / "test.parquet", "-o", "report")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("preset", "more", "code", "says"),
    [
        ("llama2-7b", ("--target-modules", "nothing"), 2, "--target-modules nothing: Target mod"),
        ("llama2-7b", ("--target-modules", "q_proj,lm_head"), 2, "head over the vocabulary"),
        ("llama2-7b", ("--target-modules", "q_proj,embed_tokens"), 2, "embeddings and the head"),
        ("llama2-7b", ("--memory-budget", "much"), 2, "write a number and MB or GB"),
        ("llama2-7b", ("--memory-budget", "1.2.3GB"), 2, "write a number and MB or GB"),
        ("llama2-7b", ("--memory-budget", "0GB"), 2, "write a number and MB or GB"),
        ("llama2-7b", ("--pooling", "cls"), 2, "--pooling is for encoders: use --preset mini"),
        ("llama2-7b", ("--ema-decay", "0.9"), 2, "--ema-decay is for encoders"),
        ("llama2-7b", ("--class-weights", "sqrt"), 2, "--class-weights sqrt is for encoders"),
        ("mini", ("--optim", "adamw_torch"), 2, "--optim is for causal models"),
        ("mini", ("--loss", "full-text"), 2, "--loss is for causal models: use --preset llama2-7b"),
        ("mini", ("--auto-batch",), 2, "--auto-batch is for causal models"),
        ("mini", ("--target-modules", "query"), 2, "--target-modules is for causal models"),
    ],
)
def test_settings_that_do_not_fit(
    preset: str,
    more: tuple[str, ...],
    code: int,
    says: str,
    run: Run,
    split: Path,
    causal_base: Callable[..., Path],
) -> None:
    base = causal_base()
    done = run("train", "--preset", preset, "--base", base, "--data", split, "-o", "m", *more)
    assert (done.code, says in done.err) == (code, True), done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("name", ["lora_dropout", "base_dropout"])
@pytest.mark.parametrize("value", [1.0, -0.1, float("nan")])
def test_a_dropout_from_python_that_is_none_is_refused(name: str, value: float) -> None:
    given = {"data": (Path("d"),), "output": Path("m"), name: value}
    with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} .*from 0 to below 1$"):
        train(TrainConfig.for_preset("mini", **given))


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_training_that_diverges_writes_no_model(
    epochs: int, run: Run, split: Path, causal_base: Callable[..., Path], tmp_path: Path
) -> None:
    """Five steps end before the first loss is logged, fifteen do not."""
    given = arguments(split, causal_base(), tmp_path / "m", "--learning-rate", "1e30")
    done = run(*given, "--num-train-epochs", str(epochs), "--quantisation", "none")
    assert done.code == 2, done.err
    assert "training diverged" in done.err
    assert "lower --learning-rate" in done.err
    assert not (tmp_path / "m" / "finsent.json").exists()
    assert not (tmp_path / "m" / "adapter_model.safetensors").exists()


def test_a_paged_optimizer_without_a_gpu_is_refused(
    run: Run, split: Path, causal_base: Callable[..., Path], tmp_path: Path
) -> None:
    from finsent_batch.hardware import cuda_available

    if cuda_available():
        pytest.skip("there is a GPU")
    done = run(*arguments(split, causal_base(), tmp_path / "m", "--optim", "paged_adamw_32bit"))
    assert (done.code, "needs a CUDA GPU" in done.err) == (69, True), done.err


def test_a_training_that_fails_leaves_no_folder(
    run: Run, causal_base: Callable[..., Path], tmp_path: Path
) -> None:
    save_split(tmp_path / "split")
    for more in (("--data", "gone"), ("--data", "split", "--base", "no-such-base")):
        done = run("train", *more, "--preset", "mini", "-o", "models/new")
        assert done.code != 0
        assert not (tmp_path / "models").exists(), more


def test_help_shows_every_option_once_and_what_matters_first(run: Run) -> None:
    from finsent_batch.jobs.cli import cli
    from finsent_batch.jobs.config_file import option_name

    for name in ("train", "score"):
        command = cli.commands[name]
        grouped = [option for names in command.groups.values() for option in names]  # type: ignore[attr-defined]
        assert sorted(grouped) == sorted(map(option_name, command.params[name == "score" :]))  # type: ignore[arg-type]
        shown = run(name, "--help").out
        assert all(shown.count(f"--{option} ") + shown.count(f"--{option}\n") for option in grouped)
    assert shown.index("Other:") > shown.index("Every night:")
    first = run("train", "--help").out.split("What to train:")[1].split("\n\n")[0]
    assert first.index("--data") < first.index("--preset") < first.index("--learning-rate")
