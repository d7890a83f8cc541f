"""Weights of causal models: 4-bit, dense, with an adapter, and the libraries they load."""

import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM

from finsent_batch.models.directory import open_model
from finsent_batch.scorers.causal.choice import make_decoder
from finsent_batch.scorers.causal.linear import Fp8Linear
from finsent_batch.scorers.causal.load import decoder_linears, load_base, load_causal, nf4_config
from finsent_batch.scorers.causal.prompt_tokens import load_prompt_tokens

from ...helpers.causal_models import LINEARS, save_adapter

HEADLINES = ["Nokia posts record profit", '"Oil" falls', "Bank cuts jobs on a net loss", "x"]


def logits(spec, weights, **how):
    tokens = load_prompt_tokens(spec)
    decoder = make_decoder(load_causal(spec, device="cpu", weights=weights), tokens, **how)
    dtype = torch.bfloat16 if weights == "bf16" else torch.float32
    return decoder.logits(tokens.encode(HEADLINES).rows(), dtype)


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
    rows = tokens.encode(HEADLINES).rows()
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
    rows = tokens.encode(HEADLINES).rows()
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


def test_training_and_scoring_quantize_alike(causal_base, bitsandbytes):
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


# ---- libraries

LOAD = """
import socket
def refuse(*_, **__): raise SystemExit("a socket was opened")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import sys
from finsent_batch.config import ModelConfig
from finsent_batch.models.directory import open_model
from finsent_batch.models.weight_files import FileHashes
from finsent_batch.scorers.load import load_scorer
model, weights = sys.argv[1:]
config = ModelConfig(model=model, device="cpu", weights=weights)
load_scorer(open_model(model, quantize=weights == "nf4").resolve(config, FileHashes()))
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
    # mini needs neither peft nor what peft imports.
    assert done.stdout.split() == [str(weights == "nf4"), "False"]
    assert not (tmp_path / "imported").exists()
    assert "kernel" not in done.stderr


def test_all_linear_layers_but_the_head_are_scoring_ones(causal_base):
    model = AutoModelForCausalLM.from_pretrained(causal_base())
    names = {name.rpartition(".")[2] for name in decoder_linears(model)}
    assert names == set(LINEARS)
