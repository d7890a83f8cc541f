"""Layers arranged for training: the numbers and gradients of peft's own."""

import pytest
import torch

from finsent_batch.scorers.causal.load import load_base


def adapted(base, *, nf4, dropout=0.0, compute=torch.float32):
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    model = load_base(base, nf4=nf4, device="cpu", compute=compute)
    if not nf4:
        model = model.to(compute)
    if nf4:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=6, lora_dropout=dropout, target_modules="all-linear"
    )
    torch.manual_seed(5)
    model = get_peft_model(model, lora).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # zeros at first, behind which A has no gradient
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def loss_and_gradients(model):
    ids = torch.randint(2, 300, (3, 11), generator=torch.Generator().manual_seed(2))
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    return loss.item(), {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("nf4", [True, False])
def test_loss_and_gradients_are_those_of_peft(causal_base, bitsandbytes, architecture, nf4):
    from finsent_batch.training.layers.lora import arrange_for_training

    want_loss, want = loss_and_gradients(adapted(causal_base(architecture), nf4=nf4))
    model = adapted(causal_base(architecture), nf4=nf4)
    arrange_for_training(model, torch.float32)
    loss, got = loss_and_gradients(model)
    assert loss == pytest.approx(want_loss, rel=1e-5)
    assert set(got) == set(want)
    for name, gradient in want.items():
        assert gradient.abs().max() > 0
        assert torch.allclose(got[name], gradient, atol=1e-4 * gradient.abs().max().item()), name


def test_weights_that_stay_unpacked_change_no_gradient(causal_base, bitsandbytes):
    from finsent_batch.training.layers.lora import arrange_for_training, keep_unpacked
    from finsent_batch.training.micro_batch import unpacked_bytes

    model = adapted(causal_base(), nf4=True)
    arrange_for_training(model, torch.float32)
    want_loss, want = loss_and_gradients(model)
    before = set(model.state_dict())
    for parameter in want:
        model.get_parameter(parameter).grad = None
    keep_unpacked(model, torch.float32)
    linear = [m for m in model.modules() if hasattr(m, "finsent_unpacked")]
    assert unpacked_bytes(model) == sum(2 * m.finsent_unpacked.numel() for m in linear) > 0
    loss, got = loss_and_gradients(model)
    assert loss == want_loss
    assert all(torch.equal(got[name], gradient) for name, gradient in want.items())
    assert set(model.state_dict()) == before


def test_dropout_reaches_the_adapter_alone_and_its_gradient_the_same_entries():
    from types import SimpleNamespace

    from finsent_batch.training.layers.lora import _AdaptedProduct

    torch.manual_seed(0)
    layer = torch.nn.Linear(40, 7, bias=False)
    a, b = torch.randn(3, 40, requires_grad=True), torch.randn(7, 3, requires_grad=True)
    x = torch.randn(9, 40, requires_grad=True)
    frozen = SimpleNamespace(weight=layer.weight.detach(), bias=None)
    torch.manual_seed(1)
    out = _AdaptedProduct.apply(x, a, b, (a.detach(), b.detach()), frozen, 0.5, 0.25)
    torch.manual_seed(1)
    mask = torch.native_dropout(torch.ones_like(x), 0.25, True)[0]
    assert 0 < (mask == 0).float().mean() < 0.5
    want = x @ frozen.weight.t() + (x * mask) @ a.t() @ b.t() * 0.5
    assert torch.allclose(out, want, atol=1e-5)
    weights = torch.randn_like(out)
    got = torch.autograd.grad((out * weights).sum(), (x, a, b))
    for one, other in zip(got, torch.autograd.grad((want * weights).sum(), (x, a, b)), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_outside_training_nothing_is_dropped(causal_base):
    from finsent_batch.training.layers.lora import arrange_for_training

    model = adapted(causal_base(), nf4=False, dropout=0.5)
    arrange_for_training(model, torch.float32)
    ids = torch.arange(2, 14)[None]
    model.eval()
    with torch.no_grad():
        once, again = model(input_ids=ids).logits, model(input_ids=ids).logits
        assert torch.equal(once, again)
        model.train()
        assert not torch.equal(model(input_ids=ids).logits, once)


def test_an_adapter_computes_with_its_parameters_as_they_are_now(causal_base):
    from finsent_batch.training.layers.lora import arrange_for_training

    model = adapted(causal_base(), nf4=False, compute=torch.bfloat16)
    arrange_for_training(model, torch.bfloat16)
    ids = torch.arange(2, 14)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data = parameter.data * 3.0  # as a trainer that casts them
        after = model(input_ids=ids).logits
        assert not torch.equal(after, before)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.div_(3.0)  # as an optimizer
        assert torch.equal(model(input_ids=ids).logits, before)


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_gradients_add_up_where_a_trainer_wants_them(causal_base, compute):
    from finsent_batch.training.layers.lora import SUM, arrange_for_training

    model = adapted(causal_base(), nf4=False, compute=compute)
    arrange_for_training(model, compute)
    _, want = loss_and_gradients(model)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in trained.values():
        parameter.grad = None
        setattr(parameter, SUM, torch.ones_like(parameter))
    for _ in range(2):
        loss_and_gradients(model)
    for name, parameter in trained.items():
        assert parameter.grad is None
        got, wanted = getattr(parameter, SUM), 1 + 2 * want[name]
        assert torch.allclose(got, wanted, atol=0.02 * wanted.abs().max().item()), name


def test_another_forward_pass_may_come_before_the_backward_pass(causal_base):
    """As with smoothed labels, for which TRL asks for its metrics in between."""
    from finsent_batch.training.layers.lora import arrange_for_training

    model = adapted(causal_base(), nf4=False)
    arrange_for_training(model, torch.float32)
    _, want = loss_and_gradients(model)
    model.zero_grad()
    ids = torch.randint(2, 300, (3, 11), generator=torch.Generator().manual_seed(2))
    loss = model(input_ids=ids, labels=ids).loss
    with torch.no_grad():
        model(input_ids=ids[:1])
    loss.backward()
    assert all(torch.equal(model.get_parameter(name).grad, one) for name, one in want.items())
