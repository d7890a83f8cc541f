"""Models of other programs: a notebook's adapter, FinGPT's, a merged model; and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from finsent_batch.config import ModelConfig
from finsent_batch.errors import ConfigError, MissingInputError, UsageError
from finsent_batch.evaluation.describe import describe
from finsent_batch.labels import LABELS
from finsent_batch.models.directory import open_model
from finsent_batch.models.prompts import DEFAULT_PROMPT, PROMPTS

from ..helpers.causal_models import save_adapter
from ..helpers.references import HEADLINES, causal_answers, ours, scored

ALL_LINEAR = {"r": 64, "lora_alpha": 16, "lora_dropout": 0.1, "target_modules": "all-linear"}


@pytest.fixture
def notebook(tmp_path, causal_base):
    """`trained_weights/` as the tutorial's notebook saves it: adapter, tokenizer, no manifest."""
    base = causal_base()
    folder = save_adapter(tmp_path / "trained_weights", base, lora=ALL_LINEAR)
    (folder / "finsent.json").unlink()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, folder / name)
    return folder


def test_the_notebooks_adapter_answers_as_peft_has_it(run, notebook, causal_base):
    expected = causal_answers(causal_base(), adapter=notebook)
    assert scored(run, notebook) == pytest.approx(expected, abs=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.01, "the headlines are told apart"


def test_the_way_of_a_notebooks_adapter(run, notebook, labelled, causal_base):
    """evaluate --against base, merge, the merged model, compare: each as peft has it."""
    done = run("evaluate", "--model", notebook, "--against", "base", "--data", labelled,
               "-o", "report", "--weights", "fp32")  # fmt: skip
    assert done.code == 0, done.err
    predictions = pl.read_parquet("report/predictions.parquet")
    expected = causal_answers(causal_base(), adapter=notebook)
    base = causal_answers(causal_base())
    columns = [f"p_{label}" for label in LABELS]
    assert predictions.select(columns).to_numpy()[: len(HEADLINES)] == pytest.approx(
        expected, abs=1e-4
    )
    against = predictions.select(f"against_{name}" for name in columns).to_numpy()
    assert against[: len(HEADLINES)] == pytest.approx(base, abs=1e-4)
    assert sorted(f.name for f in notebook.iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    ], "another program's directory stays as it is"  # fmt: skip

    done = run("merge", notebook, "-o", "merged")
    assert done.code == 0, done.err
    assert ours("merged") == pytest.approx(expected, abs=1e-4)
    shutil.copytree("merged", "merged_model")
    Path("merged_model/finsent.json").unlink()
    assert ours("merged_model") == pytest.approx(expected, abs=1e-4), "without a manifest, too"

    done = run("compare", notebook, "merged_model", "--data", labelled, "--weights", "fp32",
               "--summary", "json")  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["flips"] == 0
    assert done.json["mean_absolute_change"] < 1e-4


def test_a_promoted_adapter_is_the_default(run, notebook, labelled, causal_base):
    done = run("models", "promote", notebook, "--data", labelled, "--gate", "accuracy>=0",
               "--weights", "fp32")  # fmt: skip
    assert done.code == 0, done.err
    expected = causal_answers(causal_base(), adapter=notebook)
    assert scored(run, "promoted") == pytest.approx(expected, abs=1e-4)


def test_describe_shows_the_tokens_at_the_seam(run, notebook):
    said = dict(describe(ModelConfig(model=str(notebook), device="cpu")))
    assert said["prompt ends"].endswith('"Ġ="')
    assert "[" in said["headline begins"]
    assert "'Ġpositive'" in said["label words"]
    assert said["manifest"] == "none"
    done = run("models", "describe", notebook)
    assert done.code == 0, done.err
    assert "headline begins" in done.out


def test_a_prompt_that_nothing_names_is_said(run, notebook, labelled):
    """In the summary, by evaluate, compare, merge and describe; not once it is settled."""
    said = f"{notebook} is asked the tutorial's prompt, as no file of it names one"

    def warned(*options):
        pl.DataFrame({"headline": HEADLINES}).write_parquet("feed.parquet")
        arguments = ("--model", notebook, "-o", "out.parquet", "--overwrite", "--weights", "fp32")
        done = run("score", "feed.parquet", *arguments, "--summary", "json", *options)
        assert done.code == 0, done.err
        return said in " ".join(done.json["warnings"])

    assert warned()
    assert not warned("--prompt", "tutorial")
    assert not warned("--prompt", "tutorial-indented")
    fp32 = ("--weights", "fp32")
    for command in (
        ("evaluate", "--model", notebook, "--data", labelled, "-o", "report", *fp32),
        ("compare", notebook, notebook, "--data", labelled, *fp32),
        ("merge", notebook, "-o", "merged"),
        ("models", "promote", notebook, "--data", labelled, "--gate", "accuracy>=0", *fp32),
    ):
        done = run(*command)
        assert (done.code, said in done.err) == (0, True), done.err
    names = dict(describe(ModelConfig(model=str(notebook), device="cpu")))
    assert names["prompt's name"] == "tutorial, assumed: nothing here names it"
    assert run("models", "describe", notebook, "--write").code == 0
    assert not warned()
    names = dict(describe(ModelConfig(model=str(notebook), device="cpu")))
    assert names["prompt's name"] == "tutorial"


def test_a_base_that_moved_is_named(run, notebook, causal_base, tmp_path):
    file = notebook / "adapter_config.json"
    config = json.loads(file.read_text()) | {"base_model_name_or_path": "/data/Llama-2-7b-hf"}
    file.write_text(json.dumps(config))
    with pytest.raises(MissingInputError, match=r"/data/Llama-2-7b-hf was not found.*--base DIR"):
        open_model(str(notebook))
    moved = shutil.copytree(causal_base(), tmp_path / "moved")
    expected = causal_answers(moved, adapter=notebook)
    assert scored(run, notebook, "--base", moved) == pytest.approx(expected, abs=1e-4)


def test_an_adapter_whose_base_is_an_adapter_is_told_to_fold_that_one(notebook, tmp_path):
    first = shutil.copytree(notebook, tmp_path / "first")
    file = notebook / "adapter_config.json"
    config = json.loads(file.read_text()) | {"base_model_name_or_path": str(first)}
    file.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"is an adapter too: .*first -o DIR', .*--base DIR"):
        open_model(str(notebook))


def test_a_manifests_base_that_moved_is_named(causal_base, tmp_path):
    adapter = save_adapter(tmp_path / "adapter", causal_base())
    file = adapter / "finsent.json"
    card = json.loads(file.read_text())
    card["base"]["id"] = "/data/Llama-2-7b-hf"
    file.write_text(json.dumps(card))
    with pytest.raises(MissingInputError, match="--base DIR"):
        open_model(str(adapter))
    assert open_model(str(adapter), base=str(causal_base())).base == causal_base().resolve()


def test_a_four_bit_base_is_said_with_the_option(bitsandbytes, notebook):
    assert open_model(str(notebook)).quantisation is None
    assert open_model(str(notebook), quantisation="nf4").quantisation == "nf4"


def test_a_manifest_keeps_its_quantisation(causal_base, tmp_path):
    adapter = save_adapter(tmp_path / "adapter", causal_base())
    with pytest.raises(UsageError, match=r"the manifest of .* says none"):
        open_model(str(adapter), quantisation="nf4")


@pytest.mark.parametrize("option", ["prompt", "quantisation"])
def test_options_of_causal_models_are_not_for_classifiers(tiny_model, option):
    value = {"prompt": "tutorial", "quantisation": "nf4"}[option]
    with pytest.raises(UsageError, match=f"--{option} is for causal models"):
        open_model(str(tiny_model), **{option: value})


def test_a_whole_model_beside_an_adapter_is_refused(causal_base, tmp_path):
    both = save_adapter(tmp_path / "both", causal_base())
    (both / "finsent.json").unlink()
    for file in causal_base().iterdir():
        shutil.copy(file, both / file.name)
    with pytest.raises(ConfigError, match="which of them is meant"):
        open_model(str(both))


def test_a_classifiers_adapter_without_labels_is_refused(notebook):
    file = notebook / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"task_type": "SEQ_CLS"}))
    with pytest.raises(ConfigError, match="an adapter for SEQ_CLS"):
        open_model(str(notebook))


def test_a_pickled_adapter_is_told_how_to_convert(notebook):
    (notebook / "adapter_model.safetensors").rename(notebook / "adapter_model.bin")
    with pytest.raises(ConfigError, match="finsent-batch models convert"):
        open_model(str(notebook))


def test_the_indented_prompt_is_the_tutorials_with_blanks():
    lines = PROMPTS["tutorial-indented"].template.splitlines()
    assert [line.lstrip() for line in lines] == DEFAULT_PROMPT.template.splitlines()
    assert all(line.startswith(" " * 12) for line in lines[1:] if line)


def test_a_base_that_files_name_is_not_asked_of_the_hub(notebook, monkeypatch):
    import huggingface_hub

    asked = []

    def refuse(name, **options):
        asked.append(options.get("local_files_only"))
        raise OSError("not here")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    file = notebook / "adapter_config.json"
    config = json.loads(file.read_text()) | {"base_model_name_or_path": "evil/repo"}
    file.write_text(json.dumps(config))
    with pytest.raises(MissingInputError, match="hf download evil/repo"):
        open_model(str(notebook))
    assert set(asked) == {True}
