"""Classifiers whose files or architecture lay traps: as transformers has them, or refused."""

import json
import shutil

import pytest
import torch

from finsent_batch.errors import ConfigError
from finsent_batch.models.directory import open_model
from finsent_batch.scorers.encoder.scorer import EncoderScorer

from ...helpers.references import HEADLINES, classifier_answers, ours

LABELS = {0: "positive", 1: "negative", 2: "neutral"}


@pytest.fixture
def model(tmp_path, tiny_model):
    return shutil.copytree(tiny_model, tmp_path / "model")


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_files_of_a_tokenizer_that_disagree_are_read_as_autotokenizer_reads_them(model):
    """tokenizer_config.json keeps the case, tokenizer.json lowers it."""
    edit(model / "tokenizer_config.json", tokenizer_class="BertTokenizer", do_lower_case=False)
    assert ours(model) == pytest.approx(classifier_answers(model), abs=1e-5)


def decoder(folder, kind, causal_base, **options):
    """Save a decoder with a classification head that knows no padding token."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    for name in ("tokenizer.json", "tokenizer_config.json"):
        folder.mkdir(exist_ok=True)
        shutil.copy(causal_base() / name, folder / name)
    labels = {label: i for i, label in LABELS.items()}
    config = AutoConfig.for_model(
        kind, vocab_size=701, id2label=LABELS, label2id=labels, pad_token_id=None, **options
    )
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("llama", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                   "intermediate_size": 48, "max_position_embeddings": 256}),
        ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256}),
    ],
)  # fmt: skip
def test_a_decoder_without_a_padding_token_is_scored(tmp_path, causal_base, kind, options):
    folder = decoder(tmp_path / kind, kind, causal_base, **options)
    assert ours(folder) == pytest.approx(classifier_answers(folder), abs=1e-4)
    scorer = EncoderScorer(open_model(str(folder)), device="cpu", weights="fp32")
    assert scorer.batching == "texts of one length together"


def test_fewer_positions_than_the_files_say_cut_the_text(model, caplog):
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(model)
    config.max_position_embeddings = 40
    AutoModelForSequenceClassification.from_config(config).save_pretrained(model)
    edit(model / "config.json", max_position_embeddings=40, n_positions=64)
    spec = open_model(str(model))
    scorer = EncoderScorer(spec, device="cpu", weights="fp32")
    [batch] = scorer.score(["oil falls " * 60])
    assert batch.truncated.tolist() == [True]


def test_a_tokenizer_of_another_model_is_refused(model):
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(model)
    config.vocab_size = 20
    AutoModelForSequenceClassification.from_config(config).save_pretrained(model)
    with pytest.raises(ConfigError, match="the tokenizer is another model's"):
        ours(model)


def test_tensors_that_a_layer_does_not_take_are_refused(model):
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    name = "bert.encoder.layer.0.output.dense.weight"
    weights[f"{name}_scale_inv"] = torch.ones(1)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"dense\.weight_scale_inv, which .* does not read"):
        ours(model)


def test_a_head_of_another_task_beside_is_no_matter(model):
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    weights["cls.predictions.bias"] = torch.ones(3)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    assert ours(model).shape == (len(HEADLINES), 3)
