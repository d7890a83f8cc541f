"""Whatever stands in an adapter_config.json: the adapter loads, or one line says what is wrong."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from finsent_batch.errors import FinsentError

from ..helpers.causal_models import save_adapter
from ..helpers.fuzzing import examples
from ..helpers.references import ours

FIELDS = (
    "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "layers_pattern",
    "layers_to_transform", "rank_pattern", "alpha_pattern", "peft_type", "task_type", "bias",
    "modules_to_save", "init_lora_weights", "use_rslora", "use_dora", "fan_in_fan_out",
    "base_model_name_or_path", "layer_replication", "loftq_config", "megatron_config",
    "trainable_token_indices", "target_parameters", "auto_mapping", "revision", "unknown",
)  # fmt: skip
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 3), st.floats(),
    st.sampled_from([10**30, 1e308, "", "*", "(", "x" * 3_000, "all-linear", "q_proj", "LORA"]),
)  # fmt: skip
values = st.one_of(
    plain,
    st.lists(plain, max_size=2),
    st.dictionaries(st.sampled_from(["", "a", "q_proj"]), plain, max_size=2),
    st.just([[]]),
)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, causal_base):
    return save_adapter(tmp_path_factory.mktemp("settings") / "adapter", causal_base())


@settings(
    max_examples=examples(25),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example("layers_pattern", True)
@example("target_modules", 1)
@example("exclude_modules", "(")
@example("lora_alpha", 1e39)
@example("lora_alpha", float("nan"))
@example("r", float("inf"))
@example("layers_to_transform", "x" * 3_000)
@given(st.sampled_from(FIELDS), values)
def test_any_value_of_any_setting_loads_or_is_refused_in_one_line(adapter, tmp_path, field, value):
    folder = shutil.copytree(adapter, tmp_path / "adapter", dirs_exist_ok=True)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads((adapter / file.name).read_text()) | {field: value}))
    said = None
    try:
        ours(folder)
    except FinsentError as error:
        said = error
    assert said is None or said.exit_code in (65, 78), said
    assert "\n" not in str(said)
    assert len(str(said)) < 600
