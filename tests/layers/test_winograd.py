"""Convolutions by tiles give what direct ones give, forward and backward, for any size of image."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional

from lamina.execution import Execution
from lamina.layers.winograd import Convolution, Winograd, eligible, train_by_tiles


@pytest.mark.parametrize(
    "shape", [(2, 3, 8, 8), (1, 5, 4, 12), (3, 4, 7, 9), (2, 2, 1, 3), (5, 1, 13, 2), (40, 64, 16, 16)]
)
def test_outputs_and_gradients_are_those_of_a_direct_convolution(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(shape, generator=generator).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(6, shape[1], 3, 3, generator=generator).requires_grad_()
    out = Winograd.apply(image, weight)
    error = torch.randn(out.shape, generator=generator)
    found = out.detach(), *torch.autograd.grad(out, (image, weight), error)
    exact = image.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    true = functional.conv2d(*exact, padding=1)
    for value, truth in zip(found, (true.detach(), *torch.autograd.grad(true, exact, error.double())), strict=True):
        assert float((value - truth).norm() / truth.norm()) < 1e-5


def test_a_gradient_of_gradients_is_that_of_a_direct_convolution() -> None:
    generator = torch.Generator().manual_seed(0)
    image, weight = (torch.randn(shape, generator=generator) for shape in ((2, 4, 9, 7), (5, 4, 3, 3)))
    found = []
    for convolve, digits in (
        (Winograd.apply, torch.float32),
        (lambda *both: functional.conv2d(*both, padding=1), torch.float64),
    ):
        given, filters = (tensor.clone().to(digits).requires_grad_() for tensor in (image, weight))
        (steep,) = torch.autograd.grad(convolve(given, filters).square().sum(), given, create_graph=True)
        steep.square().sum().backward()
        assert filters.grad is not None
        found.append(filters.grad.double())
    assert float((found[0] - found[1]).norm() / found[1].norm()) < 1e-5


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
        nn.Conv2d(64, 96, 3, padding=1, bias=False), nn.BatchNorm2d(96), nn.ReLU(inplace=True),
        nn.Conv2d(96, 64, 3, padding=1), nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.Conv2d(64, 64, 1),
        nn.Conv2d(64, 64, 3, padding=1, groups=2), nn.Conv2d(64, 64, 3),
    )  # fmt: skip


def test_only_wide_plain_convolutions_train_by_tiles_and_weights_stay_where_they_are() -> None:
    changed = network()
    assert len(eligible(changed)) == 2
    before = changed.state_dict()
    train_by_tiles(changed)
    assert [index for index, module in enumerate(changed) if type(module) is Convolution] == [3, 6]
    assert changed.state_dict().keys() == before.keys()
    assert isinstance(deepcopy(changed)[3], Convolution)


@pytest.mark.parametrize("layout", ["channels-last", "channels-first"])
def test_a_network_learns_the_same_step(layout: str) -> None:
    images, steps = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(1)), []
    for convolutions in ("direct", "winograd"):
        found = Execution(layout=layout, convolutions=convolutions).prepare(network())  # type: ignore[arg-type]
        found(images).square().mean().backward()
        steps.append(torch.cat([p.grad.flatten() for p in found.parameters() if p.grad is not None]))
        assert all(p.grad.stride() == p.stride() for p in found.parameters() if p.grad is not None)
    assert float((steps[0] - steps[1]).norm() / steps[0].norm()) < 1e-4


def test_without_gradients_nothing_changes() -> None:
    changed = network().eval()
    images = torch.randn(2, 3, 12, 12)
    with torch.inference_mode():
        expected = changed(images)
        train_by_tiles(changed)
        assert torch.equal(changed(images), expected)
