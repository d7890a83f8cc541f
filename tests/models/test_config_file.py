"""Fields of config.json that are read here: each wrong form ends in one line."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from finsent_batch.errors import BadDataError, ConfigError, FinsentError
from finsent_batch.models.config_file import ConfigFile, tokenizer_limit
from finsent_batch.models.directory import open_model

from ..helpers.references import ours


def edited(folder, **changes):
    """Write config.json with fields changed, or left out where they are `...`."""
    file = folder / "config.json"
    config = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))
    return folder


@pytest.fixture
def model(tmp_path, tiny_model):
    import shutil

    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": ["negative", "neutral", "positive"]}, 'it must be {"0": "negative"'),
        ({"id2label": {"LABEL_0": "negative", "LABEL_1": "neutral"}}, "they count from 0"),
        ({"id2label": {"1": "negative", "2": "neutral", "3": "positive"}}, "they count from 0"),
        ({"id2label": {"0": "NEGATIVE", "1": "POSITIVE"}}, "it has 2 labels"),
        ({"id2label": {str(i): f"{i + 1} stars" for i in range(5)}}, "it has 5 labels"),
        ({"id2label": {str(i): f"LABEL_{i}" for i in range(3)}}, "set id2label in its config.json"),
        ({"label2id": {"positive": 0, "neutral": 1}}, "id2label calls 'negative': set both in"),
        ({"label2id": {"neg": 3}}, "gives 'neg' the number 3, which id2label does not have"),
        ({"id2label": ...}, "it has 2 labels (LABEL_0, LABEL_1)"),
        ({"architectures": "BertForSequenceClassification"}, "it must be a list of names"),
        ({"architectures": ["BertForMaskedLM"]}, "finsent-batch scores sequence classifiers"),
        ({"max_position_embeddings": "many"}, "it must be a number of tokens above 0"),
        ({"max_position_embeddings": 0}, "it must be a number of tokens above 0"),
        ({"quantization_config": "awq"}, "it must be an object"),
        ({"quantization_config": {}}, "names no quant_method"),
        ({"quantization_config": {"quant_method": "awq"}}, "stored in awq, which is not read"),
        ({"quantization_config": {"load_in_8bit": True}}, "stored in bitsandbytes 8-bit"),
        ({"model_type": 7}, "it must be a name"),
    ],
)
def test_a_wrong_field_is_named(model, changes, message):
    with pytest.raises(ConfigError) as caught:
        open_model(str(edited(model, **changes)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_label2id_that_says_nothing_else_is_no_matter(model):
    for said in ({"LABEL_0": 2}, {"Negative": "1", "bullish": 0}, None, ["negative"]):
        assert ConfigFile(edited(model, label2id=said)).label_classes() == ((1,), (2,), (0,))
    wrong = ConfigFile(edited(model, label2id={"positive": 1}))
    given = [("0", "negative"), ("1", "positive"), ("2", "neutral")]
    assert wrong.label_classes(given) == ((0,), (2,), (1,))


@pytest.mark.parametrize(
    "changes",
    [
        {"max_position_embeddings": None},
        {"vocab_size": 999},
        {"hidden_size": 48},
        {"model_type": "bert_2030", "architectures": ["Bert2030ForSequenceClassification"]},
        {"model_type": "x_new", "auto_map": {"AutoConfig": "c.C"}},
        {"hidden_act": "no_such"},
        {"num_hidden_layers": 7},
        {"num_attention_heads": 5},
    ],
)
def test_what_transformers_cannot_load_ends_in_one_line(model, changes):
    with pytest.raises(FinsentError) as caught:
        ours(edited(model, **changes))
    assert str(model) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["awq", "gptq", "compressed-tensors", "torchao"])
def test_quantisations_that_are_not_read_are_named(causal_base, tmp_path, method):
    import shutil

    folder = shutil.copytree(causal_base(), tmp_path / "model")
    edited(folder, quantization_config={"quant_method": method})
    with pytest.raises(ConfigError, match=f"stored in {method}.*name the model that it was made"):
        open_model(str(folder))


def test_weights_stored_as_integers_need_a_word_of_what_they_stand_for(model):
    file = model / "model.safetensors"
    tensors = load_file(file)
    scale = np.abs(tensors["classifier.weight"]).max() / 127
    tensors["classifier.weight"] = np.rint(tensors["classifier.weight"] / scale).astype(np.int8)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"classifier\.weight in model\.safetensors are stored as "
                                          "integers.*get the original"):  # fmt: skip
        ours(model)


@pytest.mark.parametrize("field", ["max_position_embeddings", "n_positions", "n_ctx"])
def test_positions_go_by_several_names(tmp_path, field):
    (tmp_path / "config.json").write_text(json.dumps({field: 77}))
    assert ConfigFile(tmp_path).positions == 77
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {field: 77}}))
    assert ConfigFile(tmp_path).positions == 77


@pytest.mark.parametrize("limit", [-1, 1e30, "many", None, True])
def test_a_tokenizers_limit_that_means_nothing_is_none(tmp_path, limit):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": limit}))
    assert tokenizer_limit(tmp_path) is None


def test_a_damaged_file_is_named(model):
    (model / "config.json").write_text("{")
    with pytest.raises(BadDataError, match=r"config\.json cannot be read as JSON"):
        open_model(str(model))


def test_a_model_without_architectures_is_told_by_its_weights(model, causal_base, tmp_path):
    import shutil

    assert open_model(str(edited(model, architectures=None))).family == "sequence_classifier"
    causal = shutil.copytree(causal_base(), tmp_path / "causal")
    assert open_model(str(edited(causal, architectures=...))).family == "label_tokens"
