"""Adapters that do not fit their base, and bases whose weights are not whole."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from finsent_batch.errors import BadDataError, ConfigError
from finsent_batch.models.directory import open_model
from finsent_batch.scorers.causal.load import decoder_linears, load_base, load_causal
from finsent_batch.scorers.causal.lora import read_adapter

from ...helpers.causal_models import save_adapter
from ...helpers.references import causal_answers, ours


@pytest.fixture
def adapter(tmp_path, causal_base):
    """Make an adapter for a base, and open it."""

    def make(architecture="llama", **changes):
        folder = save_adapter(tmp_path / "adapter", causal_base(architecture), **changes)
        return open_model(str(folder))

    return make


def change_config(folder, **changes):
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def change_tensors(folder, change):
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


FIRST = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"


def lacking(tensors):
    del tensors[FIRST]


def left_over(tensors):
    tensors["base_model.model.model.layers.9.mlp.down_proj.lora_A.weight"] = torch.zeros(4, 128)


def misshapen(tensors):
    tensors[FIRST] = torch.zeros(4, 96)


def of_another_rank(tensors):
    tensors[FIRST] = torch.zeros(2, 128)
    tensors[FIRST.replace("_A", "_B")] = torch.zeros(64, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lacking, rf"it lacks {FIRST} \(1 keys differ\)"),
        (left_over, r"it has left over .*layers\.9\.mlp\.down_proj.* \(1 keys differ\)"),
        (misshapen, r"its A and B are \(4, 96\) and \(64, 4\), they should be \(4, 128\) and"),
        (of_another_rank, r"its A and B are \(2, 128\) and \(64, 2\), they should be \(4, 128\)"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(causal_base, adapter, change, message):
    spec = adapter()
    change_tensors(spec.folder, change)
    with pytest.raises(ConfigError, match=f"does not fit the base .*{message}"):
        load_causal(spec, device="cpu", weights="fp32")


def test_layers_that_an_adapter_excludes_stay_as_they_are(adapter, causal_base):
    spec = adapter(lora={"exclude_modules": ["k_proj"]}, card={"temperature": 1.0})
    expected = causal_answers(causal_base(), adapter=spec.folder)
    assert ours(spec.folder) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("module", ["lm_head", "embed_tokens"])
def test_an_adapter_of_more_than_linear_layers_is_told_to_fold_it(adapter, module):
    spec = adapter(lora={"target_modules": ["q_proj", module]})
    with pytest.raises(ConfigError, match=f"left over .*{module}.*merge_and_unload"):
        load_causal(spec, device="cpu", weights="fp32")


def test_an_adapter_of_a_larger_base_is_refused(tmp_path, causal_base):
    larger = causal_base("llama", num_hidden_layers=3)
    spec = open_model(str(save_adapter(tmp_path / "a", larger)))
    linears = decoder_linears(AutoModelForCausalLM.from_pretrained(causal_base()))
    with pytest.raises(
        ConfigError, match=r"base B: it has left over .*layers\.2.*\(14 keys differ"
    ):
        read_adapter(spec.folder, linears, "B")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"use_dora": True}, "use_dora True"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"layers_to_transform": [0]}, "layers_to_transform"),
        ({"peft_type": "IA3"}, "peft_type IA3"),
        ({"bias": "all"}, "bias all"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights pissa"),
    ],
)
def test_an_adapter_that_is_no_plain_lora_is_refused(adapter, changes, said):
    spec = adapter()
    change_config(spec.folder, **changes)
    with pytest.raises(
        ConfigError, match=f"not a plain LoRA adapter .*{said}.*finsent-batch train"
    ):
        load_causal(spec, device="cpu", weights="fp32")


def test_an_adapter_trained_with_dora_is_refused(adapter):
    spec = adapter(lora={"use_dora": True, "target_modules": ["q_proj"]})
    with pytest.raises(ConfigError, match="use_dora"):
        load_causal(spec, device="cpu", weights="fp32")


@pytest.mark.parametrize("changes", [{"r": None}, {"lora_alpha": "much"}])
def test_an_adapter_without_rank_or_alpha_is_refused(adapter, changes):
    spec = adapter()
    change_config(spec.folder, **changes)
    with pytest.raises(ConfigError, match="has no rank r and lora_alpha"):
        load_causal(spec, device="cpu", weights="fp32")


def test_a_damaged_adapter_is_bad_data(adapter):
    spec = adapter()
    file = spec.folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(BadDataError, match="cannot be read"):
        load_causal(spec, device="cpu", weights="fp32")


def without_one(tensors):
    del tensors["model.layers.1.mlp.up_proj.weight"]


def with_one_reshaped(tensors):
    tensors["model.layers.1.mlp.up_proj.weight"] = torch.zeros(3, 64)


@pytest.mark.parametrize("change", [without_one, with_one_reshaped])
def test_a_base_is_never_filled_up_with_random_weights(tmp_path, causal_base, change):
    base = tmp_path / "base"
    shutil.copytree(causal_base(), base)
    tensors = load_file(base / "model.safetensors")
    change(tensors)
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        BadDataError, match=r"1 of the weights .* such as model\.layers\.1\.mlp\.up"
    ):
        load_base(base, nf4=False, device="cpu", compute=torch.float32)


def test_a_cut_off_base_is_bad_data(tmp_path, causal_base):
    base = tmp_path / "base"
    shutil.copytree(causal_base(), base)
    whole = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadDataError, match="not a complete safetensors file"):
        load_base(base, nf4=False, device="cpu", compute=torch.float32)


def test_code_of_a_base_never_runs(tmp_path, causal_base):
    base = tmp_path / "base"
    shutil.copytree(causal_base(), base)
    config = json.loads((base / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"},
    }
    (base / "config.json").write_text(json.dumps(config))
    (base / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ConfigError, match="is never run"):
        load_base(base, nf4=False, device="cpu", compute=torch.float32)
    assert not (tmp_path / "ran").exists()
