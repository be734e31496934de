"""The loss that never holds all logits gives what the chain of layers gives, value and gradient, however it is asked."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.layers import linear_cross_entropy as module
from lamina.layers.linear_cross_entropy import linear_cross_entropy


@pytest.fixture(params=[1, 14, 2**23], ids=["a row at a time", "two rows at a time", "all at once"])
def held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many logits are held at once."""
    monkeypatch.setattr(module, "CACHED", request.param)
    return int(request.param)


def asked(
    rows: tuple[int, ...] = (3, 4), vocabulary: int = 7, width: int = 5, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features, weight, bias = (
        torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()
        for shape in ((*rows, width), (vocabulary, width), (vocabulary,))
    )
    following = torch.randint(0, vocabulary, rows, generator=generator)
    following.view(-1)[1::5] = -100
    return features, weight, bias, following


def chain(features: Tensor, weight: Tensor, bias: Tensor | None, following: Tensor) -> Tensor:
    logits = functional.linear(features, weight, bias)
    nats = functional.cross_entropy(logits.flatten(0, -2), following.flatten().long(), reduction="none")
    return nats.view(following.shape)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("weighted", ["sum", "mean of a part", "each its own"])
@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("whole", [torch.int64, torch.int32], ids=["int64", "int32"])
def test_value_and_gradients_are_those_of_the_chain(weighted: str, biased: bool, whole: torch.dtype) -> None:
    features, weight, bias, following = asked()
    following = following.to(whole)
    parameters = [features, weight, *([bias] if biased else [])]
    results = []
    for way in (linear_cross_entropy, chain):
        nats = way(features, weight, bias if biased else None, following)
        assert nats.shape == following.shape
        weights = {
            "sum": torch.tensor(3.0),
            "mean of a part": torch.tensor(0.1),
            "each its own": torch.linspace(-1, 2, 12).view(3, 4),
        }[weighted]
        total = weights * nats.sum() if weighted != "each its own" else (weights * nats).sum()
        results.append([nats.detach(), *torch.autograd.grad(total, parameters)])
    for found, true in zip(*results, strict=True):
        torch.testing.assert_close(found, true)
    assert bool((results[0][0].view(-1)[1::5] == 0).all())


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("total", [True, False], ids=["sum", "each"])
def test_gradients_are_those_of_differences(total: bool) -> None:
    features, weight, bias, following = asked((4,), dtype=torch.float64)

    def nats(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        found = linear_cross_entropy(features, weight, bias, following)
        return found.sum() if total else found

    assert torch.autograd.gradcheck(nats, (features, weight, bias))


def test_weights_that_are_alike_for_all_rows_need_no_second_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    features, weight, bias, following = asked()
    calls: list[int] = []
    real = module._gradients

    def counted(*given: Any) -> Any:
        calls.append(1)
        return real(*given)

    monkeypatch.setattr(module, "_gradients", counted)
    linear_cross_entropy(features, weight, bias, following).sum().backward()  # type: ignore[no-untyped-call]
    linear_cross_entropy(features, weight, bias, following).mul(2).view(2, 6).sum().backward()  # type: ignore[no-untyped-call]
    assert len(calls) == 2
    weighted = linear_cross_entropy(features, weight, bias, following) * torch.arange(12).view(3, 4)
    weighted.sum().backward()  # type: ignore[no-untyped-call]
    assert len(calls) == 4
    with torch.no_grad():
        linear_cross_entropy(features, weight, bias, following)
    assert len(calls) == 4


def test_a_backward_pass_can_be_repeated() -> None:
    features, weight, bias, following = asked()
    nats = linear_cross_entropy(features, weight, bias, following).sum()
    first = torch.autograd.grad(nats, weight, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(nats, weight)[0])


def test_it_takes_half_precision_under_autocast() -> None:
    features, weight, bias, following = asked((64,), vocabulary=50, width=16)
    true = torch.autograd.grad(chain(features, weight, bias, following).sum(), (features, weight, bias))
    with torch.autocast("cpu", torch.bfloat16):
        nats = linear_cross_entropy(features, weight, bias, following)
    assert nats.dtype == torch.float32
    found = torch.autograd.grad(nats.sum(), (features, weight, bias))
    for one, other in zip(found, true, strict=True):
        assert one.dtype == torch.float32
        assert float((one - other).norm() / other.norm()) < 0.02


def test_large_logits_do_not_overflow() -> None:
    features, weight, _, following = asked()
    nats = linear_cross_entropy(features * 1e4, weight, None, following)
    assert bool(nats.isfinite().all())
    torch.testing.assert_close(nats, chain(features * 1e4, weight, None, following))


@pytest.mark.parametrize("differentiable", [True, False])
def test_no_rows_at_all(differentiable: bool) -> None:
    features, weight, bias, following = asked((0,))
    with torch.set_grad_enabled(differentiable):
        assert linear_cross_entropy(features, weight, bias, following).shape == (0,)


def test_a_shared_matrix_gets_both_gradients() -> None:
    """The embedding is the output matrix: its gradient is that of both uses."""
    _, _, bias, following = asked((6,))
    embedding = nn.Embedding(7, 5)
    gradients = []
    for way in (linear_cross_entropy, chain):
        nats = way(embedding(following.clamp_min(0)).tanh(), embedding.weight, bias, following).sum()
        gradients.append(torch.autograd.grad(nats, embedding.weight)[0])
    torch.testing.assert_close(*gradients)


def test_it_holds_few_logits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED", 1000)
    features, weight, bias, following = asked((100,), vocabulary=90, width=3)
    largest: list[int] = []
    real = module._log_softmax
    monkeypatch.setattr(module, "_log_softmax", lambda *given: _noted(real(*given), largest))
    linear_cross_entropy(features, weight, bias, following).sum().backward()  # type: ignore[no-untyped-call]
    assert max(largest) <= 1000
    assert sum(largest) == 9000


def _noted(tensor: Tensor, sizes: list[int]) -> Tensor:
    sizes.append(tensor.numel())
    return tensor
