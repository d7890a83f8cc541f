"""A model that is replaced while a run is under way never answers under the old fingerprint."""

import os
import shutil
import signal
import subprocess

import duckdb
import polars as pl
import psutil
import pytest
from safetensors.numpy import load_file, save_file

from finsent_batch.config import ModelConfig
from finsent_batch.errors import TryAgainError
from finsent_batch.models.directory import open_model
from finsent_batch.models.weight_files import FileHashes
from finsent_batch.pipeline.engines.ray_actor import ActorConfig, ScoringActor
from finsent_batch.pipeline.engines.ray_cluster import ray_installed

from ..helpers.causal_models import save_adapter, save_base
from ..helpers.forks import COMMAND, Popen
from ..helpers.processes import until
from ..helpers.stores import committed, remove_store

ROWS = 60


@pytest.fixture
def models(tmp_path, tiny_model, wordy):
    """Two models that differ in their weights alone, a link to the first, a feed."""
    pl.DataFrame({"headline": wordy(ROWS)}).write_parquet(tmp_path / "feed.parquet")
    shutil.copytree(tiny_model, tmp_path / "one")
    other = shutil.copytree(tiny_model, tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    tensors["classifier.weight"] = -tensors["classifier.weight"]
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "current").symlink_to("one")
    return tmp_path


def by_rename(folder):
    shutil.copytree(folder / "one", folder / "kept")
    shutil.copy(folder / "other" / "model.safetensors", folder / "one" / "new")
    (folder / "one" / "new").rename(folder / "one" / "model.safetensors")


def in_place(folder):
    shutil.copytree(folder / "one", folder / "kept")
    (folder / "one" / "model.safetensors").write_bytes(
        (folder / "other" / "model.safetensors").read_bytes()
    )


def folder_moved(folder):
    (folder / "one").rename(folder / "kept")
    (folder / "other").rename(folder / "one")


def link_turned(folder):
    (folder / "new").symlink_to("other")
    (folder / "new").rename(folder / "current")


def swapped(folder, place, swap, *arguments):
    """Run a command that stops at a failpoint, swap the model there, let it go on."""
    with Popen(
        [COMMAND, *map(str, arguments)], cwd=folder, text=True,
        env={**os.environ, "FINSENT_FAILPOINT": f"{place}:stop"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        stopped = psutil.STATUS_STOPPED
        until(lambda: process.poll() is not None or psutil.Process(process.pid).status() == stopped)
        assert process.poll() is None, process.stderr.read()
        swap(folder)
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=120)
    return process.returncode, err


def refused(code, err):
    assert code == 75, err
    assert "changed while it was in use" in err.splitlines()[-1]
    assert "run the same command again" in err
    assert "Traceback" not in err


def scores(folder):
    with duckdb.connect(committed(folder / "finsent.duckdb"), read_only=True) as store:
        return store.execute("SELECT * FROM scores").fetchall()


def answers(score, folder, model, name):
    score("feed.parquet", "-o", folder / name, model=folder / model)
    return pl.read_parquet(folder / name).drop("run_id", "scored_at", "model_fingerprint")


SWAPS = (by_rename, in_place, folder_moved, link_turned)
PLACES = ("plan", "load_model", "batch", "before_commit")


@pytest.mark.parametrize(
    ("swap", "place"),
    [*((swap, "plan") for swap in SWAPS), *((in_place, place) for place in PLACES[1:])],
)
def test_a_model_replaced_during_a_run_gives_no_scores(models, score, swap, place):
    model = "current" if swap is link_turned else "one"
    command = ("score", "feed.parquet", "--model", model, "--weights", "fp32")
    refused(*swapped(models, place, swap, *command))
    assert scores(models) == []
    assert not (models / "feed.scored.parquet").exists()
    # Both models answer as each does in a store of its own.
    before = "one" if swap is link_turned else "kept"
    now = {name: answers(score, models, name, f"{name}.parquet") for name in (model, before)}
    remove_store(models / "finsent.duckdb")
    for name, frame in now.items():
        assert answers(score, models, name, "again.parquet").equals(frame)
    assert not now[model].equals(now[before])


def torn(folder):
    weights = folder / "one" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def gone(folder):
    shutil.rmtree(folder / "one")


@pytest.mark.parametrize("swap", [torn, gone])
def test_one_that_cannot_be_loaded_meanwhile_is_told_as_changed(models, swap):
    command = ("score", "feed.parquet", "--model", "one", "--weights", "fp32")
    refused(*swapped(models, "plan", swap, *command))


def test_what_was_committed_before_stays_and_nothing_after(models):
    command = ("score", "feed.parquet", "--model", "one", "--weights", "fp32")
    slowly = ("--max-batch-tokens", "64", "--commit-seconds", "0")
    refused(*swapped(models, "committed", in_place, *command, *slowly))
    assert 0 < len(scores(models)) < ROWS


def test_an_evaluation_s_figures_are_those_of_the_model_that_it_names(models):
    frame = pl.DataFrame({"text": ["oil"] * 9, "label": ["positive", "negative", "neutral"] * 3})
    frame.write_csv(models / "labelled.csv")
    options = ("--data", "labelled.csv", "--weights", "fp32")
    command = ("evaluate", "--model", "one", *options, "-o", "report")
    refused(*swapped(models, "load_model", in_place, *command))
    assert not (models / "report" / "metrics.json").exists()
    gate = ("--gate", "accuracy>=0")
    command = ("models", "promote", "other", *options, *gate)
    refused(*swapped(models, "load_model", gone_over, *command))
    assert not (models / "finsent.duckdb").exists()


def gone_over(folder):
    weights = folder / "other" / "model.safetensors"
    weights.write_bytes((folder / "kept" / "model.safetensors").read_bytes())


@pytest.mark.skipif(not ray_installed(), reason="Ray is not installed")
@pytest.mark.parametrize("swap", [by_rename, link_turned])
def test_an_actor_does_not_load_another_model(models, swap):
    model = "current" if swap is link_turned else "one"
    command = ("score", "feed.parquet", "--model", model, "--weights", "fp32")
    refused(*swapped(models, "plan", swap, *command, "--engine", "ray", "--actors", "1"))
    assert scores(models) == []


def test_an_actor_started_again_hours_later_compares_with_the_run(models):
    """By the files' states, and where those differ by what is in them."""
    model, kept = models / "one", models / "kept"
    config = ModelConfig(model=str(model), device="cpu", weights="fp32")
    resolved = open_model(str(model)).resolve(config, FileHashes())
    assignment = ActorConfig(config=config, model=resolved, cores=1)
    actor = object.__new__(ScoringActor)
    actor.load(assignment)
    by_rename(models)
    with pytest.raises(TryAgainError, match="changed while it was in use"):
        actor._check()
    with pytest.raises(TryAgainError, match="changed while it was in use"):
        actor.load(assignment)
    shutil.copy(kept / "model.safetensors", model)
    actor.load(assignment)


def split_of(folder, run):
    labels = ["negative", "neutral", "positive"] * 12
    texts = [f"oil {label[:3]} by {i} of {i * 7 % 11} deals" for i, label in enumerate(labels)]
    pl.DataFrame({"headline": texts, "label": labels}).write_csv(folder / "labelled.csv")
    assert run("prepare", "labelled.csv", "-o", "split").code == 0


@pytest.mark.parametrize("swap", [by_rename, in_place, gone])
def test_a_base_replaced_while_a_model_is_trained_on_it(models, run, swap):
    split_of(models, run)
    code, err = swapped(
        models, "load_model", swap, "train", "--base", "one", "--data", "split", "-o", "trained",
        "--lora-r", "2", "--num-train-epochs", "1", "--report-to", "none",
    )  # fmt: skip
    assert code == 75, err
    assert "one changed while it was in use" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (models / "trained").exists(), "nothing is left of it"


@pytest.mark.parametrize("command", ["train", "merge"])
def test_a_causal_base_replaced_meanwhile(models, run, command):
    pytest.importorskip("trl")
    base = save_base(models / "base", seed=1)
    split_of(models, run)
    save_adapter(models / "adapter", base)

    def replaced(folder):
        tensors = load_file(folder / "base" / "model.safetensors")
        tensors["lm_head.weight"] = -tensors["lm_head.weight"]
        save_file(tensors, folder / "base" / "model.safetensors", metadata={"format": "pt"})

    arguments = ("merge", "adapter", "-o", "made")
    if command == "train":
        arguments = ("train", "--preset", "llama2-7b", "--base", "base", "--data", "split", "-o",
                     "made", "--quantisation", "none", "--lora-r", "2", "--num-train-epochs", "1",
                     "--report-to", "none")  # fmt: skip
    code, err = swapped(models, "load_model", replaced, *arguments)
    assert code == 75, err
    assert "changed while it was in use" in err.splitlines()[-1]
    assert not (models / "made" / "finsent.json").exists()
