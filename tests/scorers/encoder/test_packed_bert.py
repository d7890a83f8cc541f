"""BERT without padding gives what BERT gives."""

import numpy as np
import pytest
import torch

from finsent_batch.models.directory import open_model
from finsent_batch.scorers.batching import length_sorted_batches
from finsent_batch.scorers.encoder import packed_bert
from finsent_batch.scorers.encoder.load import load_encoder
from finsent_batch.scorers.encoder.packed_bert import PackedBert
from finsent_batch.scorers.encoder.plain_bert import BertShape, PlainBert

from .test_scorer import texts


def made(*, pooled: bool) -> PlainBert:
    shape = BertShape(
        vocab_size=30_522, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=64, type_vocab_size=2, layer_norm_eps=1e-12,
    )  # fmt: skip
    model = PlainBert(shape, pooled=pooled, labels=3).to_empty(device="cpu")
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    return model.eval()


@pytest.mark.parametrize("pooled", [False, True])
@torch.inference_mode()
def test_it_gives_the_padded_model_s_logits(pooled):
    model = made(pooled=pooled)
    tokens = load_encoder(open_model("mini"), "cpu").tokens
    tokens.cut_at(60)
    tokenized = tokens.encode(["", "up", *texts(40), "down " * 90])
    chosen = np.random.default_rng(1).permutation(len(tokenized.sizes))[:30]
    ids, mask = (torch.from_numpy(part) for part in tokenized.padded(chosen, 0))
    assert not mask.all()
    packed = PackedBert(model, torch.float32)
    handed = packed.texts(tokenized, chosen)
    batches = [chosen[b] for b in length_sorted_batches(tokenized.sizes[chosen], 120)]
    assert len(batches) > 2
    got = torch.cat([packed(handed, batch) for batch in batches])
    want = model(ids, mask)[[chosen.tolist().index(i) for i in np.concatenate(batches)]]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [26, 264])
def test_heads_that_flash_attention_does_not_take_are_padded(monkeypatch, size):
    monkeypatch.setattr(packed_bert, "kernels_usable", lambda _: True)
    heads = torch.randn(7, 2, size)
    places = packed_bert._Places(torch.tensor([0, 4, 7], dtype=torch.int32), longest=4)
    assert packed_bert._attend(heads, heads, heads, places).shape == heads.shape


def test_packed_ids_are_those_of_the_texts_in_order():
    tokenized = load_encoder(open_model("mini"), "cpu").tokens.encode(texts(9))
    rows = tokenized.rows()
    chosen = np.array([7, 0, 3])
    assert tokenized.packed(chosen).tolist() == rows[7] + rows[0] + rows[3]
