"""What we use of other libraries beyond their public interface, one line each.

An upgrade that changes one of these fails here, and names the file of ours to look at.
"""

import importlib
import importlib.util
import inspect
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
Check = Callable[[], bool]


def source(module: str) -> str:
    return inspect.getsource(importlib.import_module(module))


def multiplies_int8() -> bool:
    a, b = torch.ones(17, 8, dtype=torch.int8), torch.ones(8, 8, dtype=torch.int8)
    out = torch.empty(17, 8, dtype=torch.int32)
    torch._int_mm(a, b.t(), out=out)
    return bool((out == 8).all())


def multiplies_fp8() -> bool:
    arguments = {a.name for a in torch.ops.aten._scaled_mm.default._schema.arguments}
    return {"scale_a", "scale_b", "out_dtype", "use_fast_accum"} <= arguments


def changes_many_tensors_at_once() -> bool:
    x = [torch.ones(2)]
    torch._foreach_lerp_(x, [torch.zeros(2)], 0.25)
    return bool(x[0].tolist() == [0.75, 0.75])


def finds_buffers_in_a_dictionary() -> bool:
    module = torch.nn.Module()
    module._buffers = {"weight": torch.ones(1)}
    return module.weight is module._buffers["weight"]


def drops_out_and_back() -> bool:
    kept, mask = torch.native_dropout(torch.ones(1000), 0.5, True)
    back = torch.ops.aten.native_dropout_backward(torch.ones(1000), mask, 2.0)
    return bool(torch.equal(kept, back)) and 0 < int(mask.sum()) < 1000


def writes_gelu_in_place() -> bool:
    x = torch.linspace(-3, 3, 100)
    want = torch.nn.functional.gelu(x)
    torch.ops.aten.gelu.out(x, out=x)
    return bool(torch.equal(x, want))


def puts_random_states_aside() -> bool:
    return hasattr(torch.Generator, "clone_state") and hasattr(
        torch.Generator, "graphsafe_set_state"
    )


def attends_over_packed_texts() -> bool:
    names = [a.name for a in torch.ops.aten._flash_attention_forward.default._schema.arguments]
    given = ["query", "key", "value", "cum_seq_q", "cum_seq_k", "max_q", "max_k", "dropout_p",
             "is_causal", "return_debug_mask"]  # fmt: skip
    return names[: len(given)] == given


def keeps_the_number_of_gpus() -> bool:
    from transformers import TrainingArguments

    arguments = TrainingArguments(report_to=[], use_cpu=True)
    arguments._n_gpu = 7
    return arguments.n_gpu == 7


def keeps_callbacks_in_trainer_state() -> bool:
    from transformers.trainer_callback import TrainerState

    from finsent_batch.training.callbacks import ResumableShuffle

    order = ResumableShuffle()
    order.on_epoch_end(None, None, None)
    state = TrainerState(stateful_callbacks=[order], global_step=3, max_steps=9)
    kept = json.loads(json.dumps(vars(state)))
    again = ResumableShuffle(kept)
    return again._began == order._began and (kept["global_step"], kept["max_steps"]) == (3, 9)


def trains_in_steps() -> bool:
    from transformers import Trainer

    names = list(inspect.signature(Trainer.training_step).parameters)
    return names == ["self", "model", "inputs", "num_items_in_batch"]


def clips_and_zeroes_by_name() -> bool:
    from transformers import Trainer

    text = source("transformers.trainer")
    return (
        "self.accelerator.clip_grad_norm_(model.parameters(), self.args.max_grad_norm)" in text
        and "self.floating_point_ops(inputs)" in text
        and "model.zero_grad()" in text
        and hasattr(Trainer, "floating_point_ops")
    )


def leaves_the_model_bare() -> bool:
    from accelerate import Accelerator
    from transformers import Trainer

    text = source("transformers.trainer")
    before = text.index("gradient_state._set_sync_gradients(do_sync_step)")
    return (
        "self.create_accelerator_and_postprocess()" in inspect.getsource(Trainer.__init__)
        and "evaluation_mode" in inspect.signature(Accelerator.prepare_model).parameters
        and before < text.index("self.training_step(model, inputs, num_items_in_batch)")
    )


def averages_metrics_by_mode() -> bool:
    text = source("trl.trainer.sft_trainer")
    return 'self._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}' in text


def names_the_norms_epsilon() -> bool:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    return hasattr(LlamaRMSNorm(4), "variance_epsilon")


def numbers_the_layers() -> bool:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaAttention

    config = LlamaConfig(hidden_size=8, num_attention_heads=2, num_key_value_heads=2)
    return bool(LlamaAttention(config, 5).layer_idx == 5)


def nests_bert_as_ever() -> bool:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
    )
    names = {name for name, _ in BertModel(config).encoder.layer[0].named_modules()}
    return {
        "attention.self.query", "attention.self.key", "attention.self.value",
        "attention.output.dense", "attention.output.LayerNorm", "intermediate.dense",
        "output.dense", "output.LayerNorm",
    } <= names  # fmt: skip


def draws_rows_by_a_sampler() -> bool:
    from transformers import Trainer

    return "self._get_train_sampler" in inspect.getsource(Trainer.get_train_dataloader)


def runs_layers_by_these_names() -> bool:
    from transformers.models.llama import modeling_llama

    layer = inspect.getsource(modeling_llama.LlamaDecoderLayer)
    model = inspect.getsource(modeling_llama.LlamaModel.forward)
    names = ("self.input_layernorm", "self.self_attn", "self.post_attention_layernorm", "self.mlp")
    mlp = inspect.getsource(modeling_llama.LlamaMLP.forward)
    return (
        all(name in layer for name in names)
        and "-> torch.Tensor:" in layer
        and "position_embeddings=position_embeddings" in model
        and "self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))" in mlp
    )


def holds_adapters_by_name() -> bool:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        torch.nn.Sequential(torch.nn.Linear(4, 4)), LoraConfig(target_modules=["0"], r=2)
    )
    layer = model.base_model.model[0]
    [name] = layer.active_adapters
    shape = tuple(layer.lora_A[name].weight.shape) == (2, 4)
    parts = (layer.lora_B[name], layer.lora_dropout[name], layer.scaling[name])
    return shape and len(parts) == 3 and isinstance(layer.get_base_layer(), torch.nn.Linear)


def asks_for_the_package_kernels() -> bool:
    text = source("bitsandbytes.backends.cpu.ops")
    return "from kernels import" in text and "getLogger(__name__)" in text


def dequantizes_by_a_state() -> bool:
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    packed, state = quantize_4bit(torch.ones(64, 64), quant_type="nf4")
    state.dtype = torch.float32
    return dequantize_4bit(packed, state).shape == (64, 64) == tuple(state.shape)


def calls_on_broken_pipe() -> bool:
    from rich.console import Console

    return callable(Console.on_broken_pipe)


def asks_where_localhost_is() -> bool:
    ray = importlib.import_module("ray")
    asked = "_node_ip_address = services.resolve_ip_for_localhost(_node_ip_address)"
    return asked in inspect.getsource(ray.init)


def marks_what_is_being_imported() -> bool:
    bootstrap = inspect.getsource(importlib._bootstrap)
    return "spec._initializing = True" in bootstrap and "spec._initializing = False" in bootstrap


def takes_a_folder_for_its_sockets() -> bool:
    ray = importlib.import_module("ray")
    # Ray takes `_temp_dir` among **kwargs, so that no signature names it.
    return '"_temp_dir"' in inspect.getsource(ray.init)


USED: list[tuple[str, str, Check]] = [
    ("torch._int_mm", "scorers/encoder/int8_bert.py", multiplies_int8),
    ("torch._scaled_mm", "scorers/causal/linear.py", multiplies_fp8),
    ("torch.nn.Module._buffers", "scorers/causal/linear.py", finds_buffers_in_a_dictionary),
    ("torch._foreach_lerp_", "training/encoder_trainer.py", changes_many_tensors_at_once),
    ("torch.native_dropout", "training/layers/lora.py", drops_out_and_back),
    ("aten.gelu.out", "scorers/encoder/int8_bert.py", writes_gelu_in_place),
    ("torch.Generator's states", "training/cuda_graphs.py", puts_random_states_aside),
    ("aten._flash_attention_forward", "scorers/encoder/packed_bert.py", attends_over_packed_texts),
    ("TrainingArguments._n_gpu", "training/arguments.py", keeps_the_number_of_gpus),
    ("trainer_state.json", "training/callbacks.py", keeps_callbacks_in_trainer_state),
    ("Trainer.training_step", "training/cuda_graphs.py", trains_in_steps),
    ("Trainer: how it clips, zeroes and counts", "training/cuda_graphs.py",
     clips_and_zeroes_by_name),
    ("Trainer: what DistributedDataParallel is left out by", "training/cuda_graphs.py",
     leaves_the_model_bare),
    ("SFTTrainer._metrics", "training/packed_trainer.py", averages_metrics_by_mode),
    ("Trainer._get_train_sampler", "training/packed_trainer.py", draws_rows_by_a_sampler),
    ("LlamaDecoderLayer's parts", "training/layers/decoder.py", runs_layers_by_these_names),
    ("RMSNorm.variance_epsilon", "training/layers/lora.py", names_the_norms_epsilon),
    ("Attention.layer_idx", "scorers/causal/layers.py", numbers_the_layers),
    ("BertModel's layers", "scorers/encoder/int8_bert.py", nests_bert_as_ever),
    ("peft's LoraLayer", "training/layers/lora.py", holds_adapters_by_name),
    ("bitsandbytes' kernels", "optional_imports.py", asks_for_the_package_kernels),
    ("bitsandbytes' QuantState", "scorers/causal/linear.py", dequantizes_by_a_state),
    ("rich's on_broken_pipe", "../jobs/terminal.py", calls_on_broken_pipe),
    ("importlib's ModuleSpec._initializing", "hardware.py", marks_what_is_being_imported),
    ("logging.lastResort", "../jobs/terminal.py", lambda: logging.lastResort is not None),
    ("services.resolve_ip_for_localhost", "pipeline/engines/ray_cluster.py",
     asks_where_localhost_is),
    ("ray.init(_temp_dir=)", "pipeline/engines/ray_cluster.py", takes_a_folder_for_its_sockets),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "check"), USED, ids=[name for name, *_ in USED])
def test_a_private_part_of_another_library_is_as_we_use_it(
    name: str, file: str, check: Check
) -> None:
    assert (ROOT / "finsent_batch" / file).exists(), f"{file} has moved: correct the table"
    try:
        fits = check()
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and not installed(error.name or ""):
            pytest.skip(f"{error.name} is not installed")
        raise AssertionError(f"{name} changed: see {file}") from error
    assert fits, f"{name} changed: see {file}"


def installed(module: str) -> bool:
    return importlib.util.find_spec(module.partition(".")[0]) is not None
