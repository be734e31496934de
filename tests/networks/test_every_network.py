"""The contract: what must hold for every family of networks, found by its file. A new one is tested without a line here."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lamina import find
from lamina.layers.shapes import Image, Shape, Table
from lamina.plan import Plan

NETWORKS = find.names("networks")
SHAPES: dict[type, list[Shape]] = {
    Image: [Image(3, 8), Image(1, 28), Image(3, 96)],
    Table: [Table(4, (3, 5)), Table(3, ()), Table(0, (4, 2))],
}
EACH = [
    pytest.param(name, shape, id=f"{name}-{number}")
    for name in NETWORKS
    for number, shape in enumerate(SHAPES[find.network(name).takes])
]
SIZES = [pytest.param(name, size, id=f"{name}-{size}") for name in NETWORKS for size in find.network(name).SIZES]
each_shape = pytest.mark.parametrize(("name", "shape"), EACH)
each_size = pytest.mark.parametrize(("name", "size"), SIZES)


def inputs(shape: Shape, count: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    if isinstance(shape, Image):
        return {"image": torch.randn(count, shape.channels, shape.side, shape.side, generator=generator)}
    codes = [torch.randint(0, most, (count, 1), generator=generator) for most in shape.cardinalities]
    return {
        "numbers": torch.randn(count, shape.numbers, generator=generator),
        "categories": torch.cat(codes, 1) if codes else torch.zeros(count, 0, dtype=torch.int64),
    }


def first_shape(name: str) -> Shape:
    return SHAPES[find.network(name).takes][0]


def built(name: str, shape: Shape, size: str = "tiny", dropout: float | None = 0.0) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = find.network(name).build(shape, size, dropout)
    return network


def features(network: nn.Module, shape: Shape, given: dict[str, Tensor]) -> Tensor:
    """(batch, width): whatever else the features have is averaged."""
    found: Tensor = network(**given)
    return (
        found.mean((2, 3)) if isinstance(shape, Image) else found.flatten(1, -2).mean(1) if found.ndim == 3 else found
    )


@each_size
def test_features_have_the_width_that_is_said_in_every_size(name: str, size: str) -> None:
    shape = first_shape(name)
    network = built(name, shape, size).eval()
    with torch.no_grad():
        found = network(**inputs(shape, 2))
    assert found.dtype == torch.float32
    assert len(found) == 2
    if isinstance(shape, Image):
        assert found.ndim == 4
        assert found.shape[1] == network.width
    else:
        assert found.shape[-1] == network.width
        assert found.ndim == 2 or found.shape[1] == network.members
    assert bool(found.isfinite().all())


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_grow(name: str) -> None:
    assert "tiny" in find.network(name).SIZES
    counts = [
        sum(parameter.numel() for parameter in built(name, first_shape(name), size).parameters())
        for size in find.network(name).SIZES
    ]
    assert counts == sorted(counts)
    assert len(set(counts)) == len(counts)


@each_shape
def test_every_shape_goes_through_and_every_parameter_gets_a_gradient(name: str, shape: Shape) -> None:
    network = built(name, shape).train()
    network(**inputs(shape, 16)).square().sum().backward()
    without = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []
    assert all(
        bool(parameter.grad.isfinite().all()) for parameter in network.parameters() if parameter.grad is not None
    )


@each_shape
def test_weights_follow_from_the_seed(name: str, shape: Shape) -> None:
    one, two = built(name, shape), built(name, shape)
    torch.manual_seed(1)
    other = find.network(name).build(shape, "tiny", 0.0)
    states = [network.state_dict() for network in (one, two, other)]
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())
    assert any(not torch.equal(tensor, states[2][key]) for key, tensor in states[0].items())


@each_shape
def test_an_example_is_answered_alike_whatever_stands_beside_it(name: str, shape: Shape) -> None:
    network = built(name, shape, dropout=0.5).eval()
    given = inputs(shape, 5)
    with torch.no_grad():
        together = network(**given)
        for index in range(5):
            alone = network(**{key: tensor[index : index + 1] for key, tensor in given.items()})
            torch.testing.assert_close(alone[0], together[index], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_acts_only_while_training(name: str) -> None:
    shape = first_shape(name)
    given = inputs(shape, 4)
    network = built(name, shape, dropout=0.5).eval()
    assert torch.equal(network(**given), network(**given))
    network.train()
    assert not torch.equal(network(**given), network(**given))


@each_shape
def test_one_small_batch_is_learned_by_heart(name: str, shape: Shape) -> None:
    network = built(name, shape).train()
    head = nn.Linear(int(network.width), 2)  # type: ignore[arg-type]
    given, truth = inputs(shape, 8), torch.tensor([0, 1] * 4)
    if isinstance(shape, Table):  # few codes can coincide, and then nothing can tell two rows apart
        truth = torch.arange(8) % 2 if shape.numbers else given["categories"][:, 0] % 2
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=3e-3)
    loss = torch.tensor(9.0)
    for _ in range(100):
        loss = nn.functional.cross_entropy(head(features(network, shape, given)), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if float(loss.detach()) < 0.05:
            break
    assert float(loss.detach()) < 0.05


@each_shape
@pytest.mark.parametrize("examples", [10, 1000, 100_000])
def test_what_it_advises_is_valid(name: str, shape: Shape, examples: int) -> None:
    family = find.network(name)
    assert family.default_size(shape, examples) in family.SIZES
    assert isinstance(family.plan(shape, examples), Plan)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_goes_through_onnx(name: str, tmp_path: Path) -> None:
    if any(importlib.util.find_spec(needed) is None for needed in ("onnx", "onnxscript")):
        pytest.skip("onnx is not installed")
    shape = first_shape(name)
    torch.onnx.export(built(name, shape).eval(), (), tmp_path / "network.onnx", kwargs=inputs(shape, 2), dynamo=True)
    assert (tmp_path / "network.onnx").stat().st_size > 1000
