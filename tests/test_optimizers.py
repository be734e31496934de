from copy import deepcopy

import pytest
import torch
from torch import nn

from lamina.optimizers import build, groups_of, orthogonalised
from lamina.plan import Plan


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("filters", nn.Conv2d(2, 4, 3))
    model.add_module("norm", nn.BatchNorm2d(4))
    model.add_module("words", nn.Embedding(5, 3))
    model.add_module("head", nn.Linear(4, 2))
    return model


def test_only_matrices_and_filters_decay() -> None:
    model = network()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    model.add_module("bare", nn.Conv2d(4, 4, 3, bias=False))
    names[id(model.bare.weight)] = "bare.weight"
    filters, matrices, head, spared = ([names[id(p)] for p in group] for group in groups_of(model))
    assert (filters, matrices) == (["bare.weight"], ["filters.weight"])
    assert head == ["head.weight"]
    assert set(spared) == {"filters.bias", "norm.weight", "norm.bias", "words.weight", "head.bias"}


def test_a_module_can_spare_its_own_and_frozen_ones_are_left_out() -> None:
    layer = nn.Linear(3, 3)
    layer.undecayed = ("weight",)  # type: ignore[assignment]
    layer.bias.requires_grad_(False)
    *others, spared = groups_of(nn.Sequential(layer))
    assert others == [[], [], []]
    assert spared[0] is layer.weight


@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
def test_every_parameter_is_in_one_group_and_falls_downhill(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = build(model, Plan(optimizer=name, lr=0.02))  # type: ignore[arg-type]
    grouped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(map(id, grouped)) == sorted(map(id, model.parameters()))
    x = torch.randn(64, 6)
    values = []
    for _ in range(40):
        loss = (model(x)[:, 0] - x[:, 0]).square().mean()
        values.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert values[-1] < 0.5 * values[0]


@pytest.mark.parametrize("name", ["adamw", "sgd", "muon"])
def test_decay_alone_shrinks_matrices_and_nothing_else(name: str) -> None:
    model = network()
    optimizer = build(model, Plan(optimizer=name, lr=0.2, weight_decay=0.9))  # type: ignore[arg-type]
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, parameter in model.named_parameters():
        shrunk = float(parameter.detach().norm()) < 0.99 * float(before[key].norm())
        assert shrunk == (key in ("filters.weight", "head.weight")), key


@pytest.mark.parametrize("shape", [(8, 8), (4, 20), (20, 4)])
def test_orthogonalised_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrices = (
        torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)) * torch.tensor([37, 1e-3])[:, None, None]
    )
    found = orthogonalised(matrices)
    singular = torch.linalg.svdvals(found)
    assert found.shape == matrices.shape
    assert float(singular.max()) < 1.3
    assert float(singular.median(1).values.min()) > 0.6


@pytest.mark.parametrize("shape", [(8, 8), (8, 11), (8, 13), (4, 200), (200, 4)])
def test_orthogonalising_is_the_iteration_as_published(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(*shape, generator=generator) * torch.logspace(0, -4, shape[1])  # small singular values, too
    value = matrix.double() / matrix.double().norm()
    for _ in range(5):
        gram = value @ value.T
        value = 3.4445 * value + (-4.7750 * gram + 2.0315 * gram @ gram) @ value
    assert float((orthogonalised(matrix[None])[0] - value).norm() / value.norm()) < 1e-3


def test_muon_takes_the_same_step_whatever_the_layout_and_the_company() -> None:
    torch.manual_seed(0)
    alone = nn.Conv2d(4, 8, 3, bias=False)
    together = nn.Sequential(*(nn.Conv2d(4, 8, 3, bias=False) for _ in range(3))).to(memory_format=torch.channels_last)
    together[1].weight.data.copy_(alone.weight)
    gradient = torch.randn(8, 4, 3, 3)
    for network in (alone, together):
        optimizer = build(network, Plan(optimizer="muon", lr=0.1))
        for _ in range(3):
            for parameter in network.parameters():
                parameter.grad = gradient.clone().to(memory_format=torch.channels_last)
            optimizer.step()
    assert torch.allclose(alone.weight, together[1].weight, atol=1e-6)


def test_muon_takes_the_step_of_adamw_for_vectors_and_the_head() -> None:
    torch.manual_seed(0)
    mine = nn.Sequential()
    mine.add_module("norm", nn.LayerNorm(6))
    mine.add_module("head", nn.Linear(6, 3))
    theirs = deepcopy(mine)
    optimizer = build(mine, Plan(optimizer="muon", lr=0.1, weight_decay=0.3))
    groups = [
        {"params": [theirs.head.weight], "weight_decay": 0.3},
        {"params": [theirs.norm.weight, theirs.norm.bias, theirs.head.bias], "weight_decay": 0.0},
    ]
    others = torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.95))
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for step in range(5):
        for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            # Vectors miss a step, so that not all have as many behind them.
            one.grad = other.grad = torch.randn_like(one) if step != 1 or one.ndim > 1 else None
        optimizer.step()
        others.step()
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
