"""Origin: the layer where a number was no longer finite first is the one that is named."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lamina.origin import listening


class Logarithm(nn.Module):
    """Not finite below zero; its slope not even at zero."""

    def forward(self, values: Tensor) -> Tensor:
        """(batch, width), likewise."""
        return values.log()


class Root(nn.Module):
    """Finite at zero, but not its slope."""

    def forward(self, values: Tensor) -> Tensor:
        """(batch, width), likewise."""
        return (values * 0).sqrt()


@pytest.mark.parametrize(
    ("middle", "said"), [(Logarithm(), "the output of 1 (Logarithm)"), (Root(), "the gradient of 0.weight")]
)
def test_a_planted_layer_is_named(middle: nn.Module, said: str) -> None:
    network = nn.Sequential(nn.Linear(3, 4), middle, nn.Linear(4, 1))
    nn.init.constant_(network.get_parameter("0.weight"), -1.0)
    with listening(network) as heard:
        network(torch.ones(2, 3)).sum().backward()
    assert heard[0] in (said, said.replace("weight", "bias"))
    assert len(heard) == 1
    assert not network[0]._forward_hooks


@pytest.mark.parametrize("spoilt", ["weights", "input"])
def test_what_came_spoilt_is_told_from_what_was_made(spoilt: str) -> None:
    network: Any = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    nn.init.ones_(network[0].weight)  # minus infinity does not count
    given = torch.ones(2, 3)
    if spoilt == "weights":
        with torch.no_grad():
            network[0].weight[0, 0] = torch.nan
    else:
        given[1, 1] = torch.inf
    with listening(network) as heard, torch.no_grad():
        network(given)
    assert heard == [f"the {spoilt} of 0 (Linear)"]


def test_what_is_hidden_on_purpose_is_not_heard() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Threshold(10.0, -torch.inf))
    with listening(network) as heard, torch.no_grad():
        network(torch.ones(2, 3))
    assert heard == []
