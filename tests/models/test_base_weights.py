"""Scoring with bases that are missing, damaged, gated or no use here: one line, the right code."""

import json
import os
import re
import shutil

import pytest
import torch

from finsent_batch.errors import MissingInputError
from finsent_batch.models.weight_files import check_safetensors

from ..helpers.causal_models import refused, save_adapter


@pytest.fixture
def adapter(tmp_path, causal_base):
    return save_adapter(tmp_path / "adapter", causal_base())


@pytest.fixture
def base_copy(tmp_path, causal_base):
    return shutil.copytree(causal_base(), tmp_path / "base")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickled_weights_are_refused(run, feed, base_copy, name):
    (base_copy / "model.safetensors").rename(base_copy / name)
    said = refused(run, 78, "--model", base_copy)
    assert "pickled weights only" in said
    assert "convert them to safetensors" in said


def test_a_base_without_weights_is_missing(run, feed, base_copy):
    (base_copy / "model.safetensors").unlink()
    assert "holds no model.safetensors" in refused(run, 66, "--model", base_copy)
    (base_copy / "model.safetensors").symlink_to(base_copy / "gone")
    said = refused(run, 66, "--model", base_copy)
    assert "model.safetensors is a link to a file that is not there: get it again" in said


def test_weights_behind_a_folder_of_another_user_may_not_be_read(base_copy, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    (base_copy / "model.safetensors").rename(folder / "weights")
    (base_copy / "model.safetensors").symlink_to(folder / "weights")
    folder.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:  # whom no mode keeps out
            os.setresuid(65534, 65534, 0)
        with pytest.raises(MissingInputError, match="may not be read by this user"):
            check_safetensors(base_copy / "model.safetensors")
    finally:
        if root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o700)


@pytest.mark.parametrize(
    ("weights", "says"),
    [("auto", "float32, this machine has .*: use --weights nf4 or bf16"),
     ("bf16", "bfloat16, this machine has .*: use --weights nf4$")],
)  # fmt: skip
def test_a_base_that_memory_cannot_hold_is_refused_before(
    run, feed, base_copy, monkeypatch, weights, says
):
    from finsent_batch.scorers.causal import load as causal

    monkeypatch.setattr(causal, "main_memory", lambda: 1000)
    said = refused(run, 69, "--model", base_copy, "--weights", weights)
    assert re.search(says, said.strip()), said


def test_a_damaged_base_is_bad_data(run, feed, base_copy):
    whole = (base_copy / "model.safetensors").read_bytes()
    (base_copy / "model.safetensors").write_bytes(whole[:5000])
    assert "is not a complete safetensors file" in refused(run, 65, "--model", base_copy)


def test_a_base_that_lacks_weights_is_bad_data(run, feed, base_copy):
    config = json.loads((base_copy / "config.json").read_text()) | {"num_hidden_layers": 3}
    (base_copy / "config.json").write_text(json.dumps(config))
    said = refused(run, 65, "--model", base_copy)
    assert "such as model.layers.2" in said


def test_a_config_of_fewer_layers_than_were_trained_is_refused(
    run, feed, base_copy, tiny_model, tmp_path
):
    classifier = shutil.copytree(tiny_model, tmp_path / "classifier")
    for model, layers in ((base_copy, "model.layers.1."), (classifier, "bert.encoder.layer.1.")):
        config = json.loads((model / "config.json").read_text()) | {"num_hidden_layers": 1}
        (model / "config.json").write_text(json.dumps(config))
        said = refused(run, 78, "--model", model)
        assert f"holds layers that its config.json does not have ({layers}" in said


def test_a_base_without_a_tokenizer_is_refused(run, feed, base_copy):
    for file in base_copy.glob("tokenizer*"):
        file.unlink()
    said = refused(run, 78, "--model", base_copy)
    assert f"the tokenizer in {base_copy} cannot be loaded" in said
    assert "copy tokenizer.json" in said


@pytest.mark.parametrize("as_base", [False, True])
def test_a_model_that_is_not_here_names_the_line_that_fetches_it(
    run, feed, adapter, causal_base, as_base
):
    name = "example/no-such-llama"
    if as_base:
        card = json.loads((adapter / "finsent.json").read_text())
        (adapter / "finsent.json").write_text(json.dumps(card | {"base": {"id": name}}))
    said = refused(run, 66, "--model", adapter if as_base else name)
    assert "'hf download example/no-such-llama'" in said


def test_a_gated_model_names_the_lines_that_fetch_it(run, feed, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError

    def gated(name, *, local_files_only=False, **_):
        if local_files_only:
            raise OSError("not here")
        raise GatedRepoError.__new__(GatedRepoError)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", gated)
    said = refused(run, 66, "--model", "example/gated-llama")
    assert "accept its licence at https://huggingface.co/example/gated-llama" in said
    assert "'hf auth login' and 'hf download example/gated-llama'" in said


def test_an_adapter_whose_base_was_moved_away_says_so(run, feed, adapter, tmp_path):
    card = json.loads((adapter / "finsent.json").read_text())
    gone = str(tmp_path / "gone")
    (adapter / "finsent.json").write_text(json.dumps(card | {"base": {"id": gone}}))
    said = refused(run, 66, "--model", adapter)
    assert f"{adapter}: its base {gone} was not found" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--device", "cuda"), 69, "torch finds no CUDA GPU here"),
        (("--weights", "fp8"), 69, "--weights fp8 needs a GPU of compute capability 8.9"),
        (("--weights", "int8"), 2, "a causal model runs in nf4, bf16, fp8 or fp32"),
    ],
)
def test_what_this_machine_cannot_do_is_said(run, feed, causal_base, options, code, said):
    assert said in refused(run, code, "--model", causal_base(), *options)


def test_4_bits_for_an_adapter_of_an_unquantized_base_are_refused(run, feed, adapter):
    said = refused(run, 2, "--model", adapter, "--weights", "nf4")
    assert "trained on a base that was not quantized" in said


@pytest.mark.parametrize("architectures", [["LlamaModel"], ["LlamaForTokenClassification"]])
def test_a_model_that_answers_nothing_is_refused(run, feed, base_copy, architectures):
    config = json.loads((base_copy / "config.json").read_text())
    (base_copy / "config.json").write_text(json.dumps(config | {"architectures": architectures}))
    assert "causal models (…ForCausalLM)" in refused(run, 78, "--model", base_copy)
