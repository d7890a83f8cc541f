"""QLoRA training that is killed, stopped, resumed or out of disk: nothing lost, nothing mixed."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from finsent_batch.training.checkpoints import last_checkpoint, state_of

from ..conftest import Result
from ..helpers.commands import run_in
from ..helpers.limits import limited_files
from ..helpers.qlora import arguments, kill, save_split, signalled, weights

Run = Callable[..., Result]
Base = Callable[..., Path]


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return save_split(tmp_path / "split")


def steps(folder: Path) -> set[int]:
    """Return the steps whose checkpoints are complete: their last file is there, and whole."""
    found = (folder / "checkpoints").glob("checkpoint-*")
    return {int(one.name.rpartition("-")[2]) for one in found if state_of(one) is not None}


@pytest.fixture(scope="module")
def trained(causal_base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("trained")
    run_in(folder, *arguments(save_split(folder / "split"), causal_base(), folder / "whole"))
    assert not (folder / "whole" / "checkpoints").exists()
    return folder / "whole"


@pytest.fixture
def whole(trained: Path) -> bytes:
    """The adapter of a training that nothing interrupted."""
    return weights(trained)


@pytest.mark.parametrize("step", [2, 5, 8])
def test_a_killed_training_resumes_to_the_adapter_of_an_uninterrupted_one(
    step: int, run: Run, split: Path, causal_base: Base, whole: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "killed"
    command = arguments(split, causal_base(), output, "--save-steps", 2)
    kill(command, tmp_path, lambda: max(steps(output), default=0) >= step)
    assert not (output / "finsent.json").exists()
    done = run(*command, "--resume")
    assert done.code == 0, done.err
    # `whole` saved at the end of each epoch alone: how often does not change the result.
    assert weights(output) == whole
    log = json.loads((output / "training_log.json").read_text())
    assert [entry["epoch"] for entry in log if "eval_loss" in entry] == [1, 2, 3]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_that_was_asked_for_saves_first_and_says_how_to_go_on(
    number: int, code: int, run: Run, split: Path, causal_base: Base, whole: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "stopped"
    command = arguments(split, causal_base(), output)
    # The first checkpoint of its own is that of step 5, the first epoch's end.
    found, error = signalled(command, tmp_path, lambda: 5 in steps(output), number)
    assert found == code, error
    assert error.count("\n") == 1
    assert f"the same command with --resume continues after step {max(steps(output))}" in error
    done = run(*command, "--resume")
    assert done.code == 0, done.err
    assert weights(output) == whole


def test_a_training_killed_behind_its_last_step_trains_no_more(
    run: Run, split: Path, causal_base: Base, whole: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "late"
    command = arguments(split, causal_base(), output)
    kill(command, tmp_path, lambda: 15 in steps(output))
    (output / "finsent.json").unlink(missing_ok=True)
    done = run(*command, "--resume")
    assert done.code == 0, done.err
    assert weights(output) == whole


def test_an_early_stop_holds_behind_a_kill_as_well(
    run: Run, split: Path, causal_base: Base, tmp_path: Path
) -> None:
    base, more = causal_base(), ("--early-stopping-patience", 1, "--num-train-epochs", 9)
    assert run(*arguments(split, base, tmp_path / "whole", *more)).code == 0
    log = json.loads((tmp_path / "whole" / "training_log.json").read_text())
    accuracy = [e["eval_mean_token_accuracy"] for e in log if "eval_loss" in e]
    assert 1 < len(accuracy) < 9
    assert accuracy[-1] <= max(accuracy[:-1])
    assert all(later > max(accuracy[:i]) for i, later in enumerate(accuracy[:-1]) if i)
    output, last = tmp_path / "killed", 5 * len(accuracy)
    command = arguments(split, base, output, *more)
    kill(command, tmp_path, lambda: last in steps(output))
    (output / "finsent.json").unlink(missing_ok=True)
    done = run(*command, "--resume")
    assert done.code == 0, done.err
    assert weights(output) == weights(tmp_path / "whole")


def test_early_stopping_without_validation_rows_is_refused(
    run: Run, split: Path, causal_base: Base, tmp_path: Path
) -> None:
    pl.read_parquet(split / "valid.parquet").clear().write_parquet(split / "valid.parquet")
    more = ("--early-stopping-patience", 1)
    done = run(*arguments(split, causal_base(), tmp_path / "m", *more))
    assert (done.code, "needs validation rows" in done.err) == (2, True), done.err


@pytest.fixture
def unfinished(split: Path, causal_base: Base, tmp_path: Path) -> Path:
    """The folder of a training killed after its first epoch."""
    output = tmp_path / "m"
    kill(arguments(split, causal_base(), output), tmp_path, lambda: steps(output))
    return output


def test_only_the_same_training_is_resumed(
    run: Run, split: Path, causal_base: Base, unfinished: Path
) -> None:
    before = steps(unfinished)

    def refused(*more: object, base: Path | None = None) -> str:
        done = run(*arguments(split, base or causal_base(), unfinished, "--resume", *more))
        assert done.code == 78, done.err
        assert done.err.count("\n") == 1
        return done.err

    assert "learning-rate was 0.005, not 0.01" in refused("--learning-rate", 0.01)
    assert "num-train-epochs was 3.0, not 4.0" in refused("--num-train-epochs", 4)
    assert "seed was 0, not 1" in refused("--seed", 1)
    assert "quantisation was nf4, not None" in refused("--quantisation", "none")
    assert "other base" in refused(base=causal_base(seed=1))
    written = unfinished / "checkpoints" / "training.json"
    identity = written.read_text()
    # What nobody gave may be another on this machine: the advice is to set it.
    other = {"processes": 2, "optim": "paged_adamw_32bit"}
    written.write_text(json.dumps(json.loads(identity) | other))
    said = refused()
    assert "processes was 2, not 1" in said
    assert "optim was paged_adamw_32bit, not adamw_torch" in said
    assert "set it as it was then" in said
    written.write_text(identity)
    rows = pl.read_parquet(split / "train.parquet")
    rows[:-1].write_parquet(split / "train.parquet")
    assert "(other data)" in refused()
    assert steps(unfinished) == before
    rows.write_parquet(split / "train.parquet")
    done = run(*arguments(split, causal_base(), unfinished, "--resume", "--save-steps", 3))
    assert done.code == 0, done.err


def test_an_unfinished_training_is_not_thrown_away_unasked(
    run: Run, split: Path, causal_base: Base, unfinished: Path, whole: bytes
) -> None:
    command = arguments(split, causal_base(), unfinished)
    done = run(*command)
    assert done.code == 73
    assert "holds an unfinished training (checkpoint-" in done.err
    assert "--resume continues" in done.err
    assert steps(unfinished)
    assert run(*command, "--overwrite").code == 0
    assert weights(unfinished) == whole


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((2, '{"global_step": 2}'), (4, '{"global_st'), (6, None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert found.name == "checkpoint-2"
    assert last_checkpoint(tmp_path / "none") is None


@pytest.mark.parametrize("kilobytes", [1, 20, 70])
def test_a_full_disk_is_said_and_the_training_goes_on_where_it_was(
    kilobytes: int, run: Run, split: Path, causal_base: Base, whole: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "m"
    command = arguments(split, causal_base(), output)
    with limited_files(kilobytes):
        done = run(*command)
    assert done.code == 74, done.err
    assert done.err.count("\n") == 1
    assert "make room" in done.err
    assert not (output / "finsent.json").exists()
    more = ("--resume",) if "--resume" in done.err else ()
    done = run(*command, *more)
    assert done.code == 0, done.err
    assert weights(output) == whole


def test_a_model_that_is_overwritten_stays_until_the_new_one_is_on_disk(
    run: Run, split: Path, causal_base: Base, trained: Path, whole: bytes, tmp_path: Path
) -> None:
    output = shutil.copytree(trained, tmp_path / "whole")
    card = (output / "finsent.json").read_bytes()
    command = arguments(split, causal_base(), output, "--seed", 5, "--overwrite")
    with limited_files(70):
        assert run(*command).code == 74
    assert weights(output) == whole
    assert (output / "finsent.json").read_bytes() == card
    shutil.rmtree(output / "checkpoints")
    assert run(*command).code == 0
    assert weights(output) != whole


def test_a_disk_that_fails_without_a_word_of_why_is_said(tmp_path: Path) -> None:
    """As torch's writer ends when the system lets one write fail."""
    from finsent_batch.errors import StorageError
    from finsent_batch.training.failures import expected_faults

    with pytest.raises(StorageError, match="full or fails while"), expected_faults(tmp_path):
        raise RuntimeError("basic_ios::clear: iostream error")


def test_a_gpu_that_is_full_is_said_with_what_to_give(tmp_path: Path) -> None:
    import torch

    from finsent_batch.errors import UnavailableError
    from finsent_batch.training.failures import expected_faults

    with pytest.raises(UnavailableError, match="--memory-budget"), expected_faults(tmp_path):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="a bug"), expected_faults(tmp_path):
        raise RuntimeError("a bug")


def test_a_checkpoint_written_under_the_callbacks_old_name_resumes_its_order() -> None:
    import torch

    from finsent_batch.training.callbacks import ResumableShuffle

    before = ResumableShuffle()
    torch.manual_seed(3)
    before.on_epoch_end(None, None, None)
    want = torch.rand(3)
    torch.manual_seed(4)
    old = {"stateful_callbacks": {"SameOrder": before.state()}}
    ResumableShuffle(old).on_epoch_begin(None, None, None)
    assert torch.equal(torch.rand(3), want)
