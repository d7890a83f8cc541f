"""Weights of causal models: 4-bit, dense, with an adapter, and models that do not fit together."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from finsent_batch.errors import BadDataError, ConfigError
from finsent_batch.models.directory import open_model
from finsent_batch.scorers.adapter import read_adapter
from finsent_batch.scorers.causal import decoder_linears, load_base, load_causal, nf4_config
from finsent_batch.scorers.decoders import make_decoder
from finsent_batch.scorers.prompt_tokens import load_prompt_tokens
from finsent_batch.scorers.quantized import Fp8Linear

from .causal import LINEARS, save_adapter

HEADLINES = ["Nokia posts record profit", '"Oil" falls', "Bank cuts jobs on a net loss", "x"]


def logits(spec, weights, **how):
    tokens = load_prompt_tokens(spec)
    decoder = make_decoder(load_causal(spec, device="cpu", weights=weights), tokens, **how)
    dtype = torch.bfloat16 if weights == "bf16" else torch.float32
    return decoder.logits(tokens.encode(HEADLINES).ids, dtype)


def with_peft(base, adapter, rows, label_ids, *, nf4):
    """Return the logits of peft's own forward, the adapter run beside the weights."""
    from peft import PeftModel

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if nf4:
        packed = load_base(base, nf4=True, device="cpu", compute=torch.float32)
        for name, layer in decoder_linears(packed).items():
            from bitsandbytes.functional import dequantize_4bit

            state = layer.weight.quant_state
            state.dtype = torch.float32
            weight = dequantize_4bit(layer.weight.data, state)
            model.get_submodule(name).weight.data = weight
    model = PeftModel.from_pretrained(model, str(adapter)).eval()
    with torch.inference_mode():
        found = [model(torch.tensor([row])).logits[0, -1, list(label_ids)] for row in rows]
    return torch.stack(found)


@pytest.fixture
def adapter(tmp_path, causal_base):
    """Make an adapter for a base, and open it."""

    def make(architecture="llama", quantisation=None, **changes):
        folder = save_adapter(
            tmp_path / "adapter", causal_base(architecture), quantisation=quantisation, **changes
        )
        return open_model(str(folder))

    return make


# ---- numbers


@pytest.mark.parametrize(
    "lora",
    [
        {},
        {"use_rslora": True},
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": r".*\.1\..*_proj"},
        {"target_modules": "all-linear"},
    ],
)
def test_the_folded_adapter_is_pefts_forward(causal_base, adapter, lora):
    spec = adapter(lora=lora)
    tokens = load_prompt_tokens(spec)
    rows = tokens.encode(HEADLINES).ids
    want = with_peft(causal_base(), spec.adapter, rows, tokens.label_ids, nf4=False)
    got = logits(spec, "fp32")
    assert torch.allclose(got, want, atol=2e-4)
    without = logits(open_model(str(causal_base())), "fp32")
    assert (got - without).abs().max() > 0.1


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_the_adapter_is_folded_into_the_4_bit_weights(
    causal_base, adapter, bitsandbytes, architecture
):
    spec = adapter(architecture, "nf4")
    tokens = load_prompt_tokens(spec)
    rows = tokens.encode(HEADLINES).ids
    want = with_peft(causal_base(architecture), spec.adapter, rows, tokens.label_ids, nf4=True)
    got = logits(spec, "nf4")
    assert torch.allclose(got, want, atol=2e-4)
    rounded_away = with_peft(
        causal_base(architecture), spec.adapter, rows, tokens.label_ids, nf4=False
    )
    assert (got - rounded_away).abs().max() > 0.01, "4 bits must show for this to say anything"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_4_bit_weights_kept_or_unpacked_once_give_the_same_bits(
    tmp_path, causal_base, bitsandbytes, packed, stored
):
    base = causal_base("llama", dtype=stored)
    spec = open_model(str(save_adapter(tmp_path / "a", base, quantisation="nf4")))
    kept, unpacked = logits(spec, "nf4", packed=packed), logits(spec, "fp32", packed=packed)
    assert torch.equal(kept, unpacked)


def test_training_and_scoring_quantise_alike(causal_base, bitsandbytes):
    base = causal_base("llama", dtype="bfloat16")
    ours = load_base(base, nf4=True, device="cpu", compute=torch.float32)
    theirs = AutoModelForCausalLM.from_pretrained(
        base, quantization_config=nf4_config(torch.bfloat16), device_map={"": "cpu"}
    )
    for name, layer in decoder_linears(ours).items():
        assert torch.equal(layer.weight.data, theirs.get_submodule(name).weight.data)
    assert not hasattr(ours.get_output_embeddings().weight, "quant_state")


def test_fp8_weights_in_fp32_are_near_the_dense_ones():
    torch.manual_seed(0)
    weight, bias, x = torch.randn(48, 32), torch.randn(48), torch.randn(5, 32)
    want = x @ weight.t() + bias
    got = Fp8Linear(weight, bias)(x)
    assert (got - want).abs().max() < 0.05 * want.abs().max()
    # A row of zeros has a scale too.
    assert torch.equal(Fp8Linear(torch.zeros(4, 8), None)(torch.ones(1, 8)), torch.zeros(1, 4))


# ---- what does not fit


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
    with pytest.raises(ConfigError, match=f"no plain LoRA .*{said}.*finsent-batch train"):
        load_causal(spec, device="cpu", weights="fp32")


def test_an_adapter_trained_with_dora_is_refused(adapter):
    spec = adapter(lora={"use_dora": True, "target_modules": ["q_proj"]})
    with pytest.raises(ConfigError, match="use_dora"):
        load_causal(spec, device="cpu", weights="fp32")


@pytest.mark.parametrize("changes", [{"r": None}, {"lora_alpha": "much"}])
def test_an_adapter_without_rank_or_alpha_is_refused(adapter, changes):
    spec = adapter()
    change_config(spec.folder, **changes)
    with pytest.raises(ConfigError, match="names no rank r and lora_alpha"):
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
    with pytest.raises(BadDataError, match="no safetensors file, or not all of it"):
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
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_base(base, nf4=False, device="cpu", compute=torch.float32)
    assert not (tmp_path / "ran").exists()


# ---- libraries

LOAD = """
import socket
def refuse(*_, **__): raise SystemExit("a socket was opened")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import sys
from finsent_batch.config import ModelConfig
from finsent_batch.models.directory import open_model
from finsent_batch.scorers.loading import load_scorer
model, weights = sys.argv[1:]
load_scorer(open_model(model, quantise=weights == "nf4"), "cpu", weights, ModelConfig())
print("bitsandbytes" in sys.modules, "kernels" in sys.modules)
"""


@pytest.mark.parametrize("weights", ["nf4", "fp32"])
def test_models_load_without_a_look_at_the_network(tmp_path, causal_base, bitsandbytes, weights):
    """bitsandbytes, which peft imports, asks the Hub for a kernel if `kernels` is installed."""
    package = tmp_path / "site" / "kernels"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        f"open({str(tmp_path / 'imported')!r}, 'w')\n"
        "def get_kernel(*_, **__): raise SystemExit('the Hub was asked for a kernel')\n"
    )
    metadata = tmp_path / "site" / "kernels-0.14.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: kernels\nVersion: 0.14.0\n")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(causal_base()) if weights == "nf4" else "mini", weights],
        env={"PYTHONPATH": str(package.parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "False"]
    assert not (tmp_path / "imported").exists()
    assert "kernel" not in done.stderr


def test_all_linear_layers_but_the_head_are_scoring_ones(causal_base):
    model = AutoModelForCausalLM.from_pretrained(causal_base())
    names = {name.rpartition(".")[2] for name in decoder_linears(model)}
    assert names == set(LINEARS)
