"""Inspection: how far a batch lay from the running statistics is what the definition says."""

import pytest
import torch
from torch import nn

from lamina.inspection import drifts


@pytest.mark.parametrize("momentum", [0.1, 0.01, 1.0])
def test_the_divergence_of_a_batch_follows_from_what_it_did_to_the_averages(momentum: float) -> None:
    torch.manual_seed(0)
    layer = nn.BatchNorm1d(3, momentum=momentum)
    network = nn.Sequential(nn.Linear(3, 3), layer)
    given = torch.randn(400, 3) * torch.tensor([1.0, 2.0, 0.5]) + torch.tensor([0.0, 1.0, 3.0])
    features = network[0](given).detach()
    old = torch.distributions.Normal(layer.running_mean.clone(), layer.running_var.sqrt())
    batch = torch.distributions.Normal(features.mean(0), features.std(0))
    expected = torch.distributions.kl_divergence(batch, old).mean()
    before = [buffer.clone() for buffer in network.buffers()]
    network.train()(given)
    assert drifts(network, before) == {"1": pytest.approx(float(expected), rel=1e-2)}


def test_layers_whose_averages_do_not_move_are_left_out() -> None:
    network = nn.Sequential(
        nn.BatchNorm1d(3), nn.BatchNorm1d(3, momentum=None), nn.BatchNorm1d(3, track_running_stats=False)
    )
    network[0].eval()
    before = [buffer.clone() for buffer in network.buffers()]
    network(torch.randn(50, 3))
    assert drifts(network, before) == {}
