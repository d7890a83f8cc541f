"""Two training processes on CPUs, as torchrun starts them, against one."""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file

from finsent_batch.errors import StorageError, UsageError
from finsent_batch.train_config import TrainConfig
from finsent_batch.training.checkpoints import last_checkpoint
from finsent_batch.training.distributed import ProcessGroup
from finsent_batch.training.failures import expected_faults
from finsent_batch.training.micro_batch import micro_batch

from ..helpers.forks import COMMAND, Popen

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def arguments(folder, causal_base):
    """Of a training without dropout whose epochs are five batches of eight, in micro-batches."""
    verbs = {"positive": "rises", "negative": "falls", "neutral": "posts"}
    rows = [
        (f"{who} {verb} {amount}", label)
        for who in ("nokia", "bank", "oil", "sales", "deal")
        for label, verb in verbs.items()
        for amount in ("profit", "shares", "jobs", "loss")
    ]
    (folder / "split").mkdir()
    parts = {"train": rows[:40], "valid": rows[40:50], "test": rows[50:]}
    for name, part in parts.items():
        pl.DataFrame(part, schema=["headline", "label"], orient="row").write_parquet(
            folder / "split" / f"{name}.parquet"
        )
    return [
        "train", "--preset", "llama2-7b", "--data", "split", "--base", str(causal_base()),
        "--quantisation", "none", "--num-train-epochs", "2", "--learning-rate", "5e-3",
        "--lora-r", "4", "--lora-dropout", "0", "--threads", "1",
        "--per-device-train-batch-size", "2", "--gradient-accumulation-steps", "4",
        "--no-auto-batch",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def two(folder, arguments):
    """What two processes print that train the adapter in `folder / "two"`."""
    started = torchrun(folder, [*arguments, "-o", "two"])
    out, err = started.communicate()
    assert started.returncode == 0, err
    return out


def torchrun(folder, arguments):
    """Start torchrun, forked, and with it two processes that are not."""
    program = "from torch.distributed.run import main; main()"
    options = ["--standalone", "--nproc-per-node=2", BIN / "finsent-batch"]
    return Popen(
        [sys.executable, "-c", program, *options, *arguments], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ranks(folder, command):
    """Start two processes that train together, as torchrun does; the first is rank 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    return [
        Popen(
            [COMMAND, *command], cwd=folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **together, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
                 "RANK": str(i), "LOCAL_RANK": str(i)},
        )
        for i in range(2)
    ]  # fmt: skip


def test_processes_that_cannot_start_together_end_in_one_line(folder, arguments, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        for rank, code, said in (("0", 69, "cannot start together"), ("2", 2, "RANK 2 is not")):
            for name, value in (("RANK", rank), ("WORLD_SIZE", "2")):
                monkeypatch.setenv(name, value)
                monkeypatch.setenv(f"LOCAL_{name}", value)
            process = Popen(
                [COMMAND, *arguments, "-o", "nowhere"], cwd=folder, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            err = process.communicate()[1]
            assert process.returncode == code, err
            assert said in err
            assert "Traceback" not in err


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in (("RANK", 2), ("LOCAL_RANK", 2), ("WORLD_SIZE", 3), ("LOCAL_WORLD_SIZE", 3)):
        monkeypatch.setenv(name, str(value))
    with pytest.raises(UsageError, match="3 processes, but 2 GPUs here: start one a GPU"):
        ProcessGroup.join()


def wait_for_a_checkpoint(output, process):
    deadline = time.monotonic() + 300
    while last_checkpoint(output / "checkpoints") is None:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def adapter_of(folder):
    return folder / "adapter_model.safetensors"


def test_two_processes_train_the_adapter_of_one(run, folder, arguments, two, monkeypatch):
    monkeypatch.chdir(folder)
    done = run(*arguments, "-o", "one")
    assert done.code == 0, done.err
    assert two.count("wrote two") == 1, "the first process alone tells"
    one, both = (load_file(adapter_of(folder / name)) for name in ("one", "two"))
    assert one.keys() == both.keys()
    moved = 0.0
    for name, values in one.items():
        moved = max(moved, float(np.abs(values).max()) if "lora_B" in name else 0.0)
        np.testing.assert_allclose(both[name], values, atol=2e-4, err_msg=name)
    assert moved > 0.01, "it has learnt something"
    steps = [json.loads((folder / n / "training_log.json").read_text()) for n in ("one", "two")]
    assert steps[0][-1]["step"] == steps[1][-1]["step"] == 10
    scored = run("evaluate", "--model", "two", "--data", "split/test.parquet", "-o", "report")
    assert scored.code == 0, scored.err


def test_the_first_is_killed_the_other_ends_and_both_resume_to_the_same_adapter(
    folder, arguments, two
):
    command = [*arguments, "-o", "killed", "--save-steps", "3"]
    first, other = ranks(folder, command)
    wait_for_a_checkpoint(folder / "killed", first)
    first.kill()
    first.communicate()
    said = other.communicate(timeout=300)[1].splitlines()
    assert other.returncode == 69, said
    assert "a process of this training ended" in said[-1]
    assert "--resume" in said[-1]
    assert "Traceback" not in "".join(said)
    assert not adapter_of(folder / "killed").exists()
    said = [(p.communicate(), p.returncode) for p in ranks(folder, [*command, "--resume"])]
    assert [code for _, code in said] == [0, 0], said
    assert ["wrote killed" in out for (out, _), _ in said] == [True, False]
    assert adapter_of(folder / "killed").read_bytes() == adapter_of(folder / "two").read_bytes()
    log = json.loads((folder / "killed" / "training_log.json").read_text())
    assert log[-1]["step"] == 10


def test_one_is_asked_to_stop_both_do_and_both_resume_to_the_same_adapter(folder, arguments, two):
    command = [*arguments, "-o", "stopped", "--save-steps", "1"]
    processes = ranks(folder, command)
    wait_for_a_checkpoint(folder / "stopped", processes[0])
    processes[1].terminate()
    ended = [(p.communicate(timeout=300)[1], p.returncode) for p in processes]
    assert [code for _, code in ended] == [143, 143], ended
    assert all("Traceback" not in said for said, _ in ended)
    assert not adapter_of(folder / "stopped").exists()
    resumed = [(p.communicate(), p.returncode) for p in ranks(folder, [*command, "--resume"])]
    assert [code for _, code in resumed] == [0, 0], resumed
    assert adapter_of(folder / "stopped").read_bytes() == adapter_of(folder / "two").read_bytes()


def test_a_full_disk_is_told_as_such_whatever_the_folder_is_called(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "gloom" / "model"))
    with pytest.raises(StorageError, match="disk is full"), expected_faults(tmp_path / "gloom"):
        raise full


@pytest.mark.parametrize(
    ("size", "accumulation", "processes", "share"),
    [(1, 8, 1, (1, 8)), (1, 8, 2, (1, 4)), (8, 1, 2, (4, 1)), (6, 2, 4, (3, 1)), (4, 6, 3, (4, 2))],
)
def test_the_effective_batch_is_shared(size, accumulation, processes, share):
    given = {
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": accumulation,
        "auto_batch": False,
    }
    config = TrainConfig.for_preset("llama2-7b", data=(), output=Path("x"), **given)
    found = micro_batch(config, None, 100, None, processes=processes)
    assert (found.size, found.accumulation) == share
    auto = TrainConfig.for_preset(
        "llama2-7b", data=(), output=Path("x"), **given | {"auto_batch": True}
    )
    found = micro_batch(auto, None, 100, None, processes=processes)
    assert found.size * found.accumulation * processes == size * accumulation


def test_a_batch_that_cannot_be_shared_is_refused():
    config = TrainConfig.for_preset("llama2-7b", data=(), output=Path("x"))
    with pytest.raises(UsageError, match="1 x 8, which 3 processes cannot share"):
        micro_batch(config, None, 100, None, processes=3)


def test_an_encoder_trains_in_one_process(run, arguments, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = run("train", "--preset", "mini", "--data", "split", "-o", "x")
    assert done.code == 2
    assert "--preset mini trains in one process" in done.err
