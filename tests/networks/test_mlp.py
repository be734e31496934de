"""The network for tables: its dropout hides the same features from all members of a row, and as many as it says."""

import pytest
import torch

from lamina.layers.shapes import Table
from lamina.networks import mlp
from lamina.networks.mlp import MemberDropout


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_features_are_hidden_from_all_members_of_a_row(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    dropout = MemberDropout(0.2)
    hidden = torch.ones(3, 500, 201, dtype=kind)
    seen = dropout(hidden)
    assert seen.dtype == kind
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0], seen[2])
    assert (seen == 0).float().mean().item() == pytest.approx(51 / 256, abs=0.004)
    assert seen.float().mean().item() == pytest.approx(1, abs=0.006)
    assert (seen[0] == 0).any(0).all()
    assert (seen[0] == 0).any(1).all()
    torch.manual_seed(0)
    assert torch.equal(dropout(hidden), seen)
    assert dropout.eval()(hidden) is hidden


def test_a_single_feature_can_be_hidden() -> None:
    torch.manual_seed(0)
    assert {float(MemberDropout(0.5)(torch.ones(2, 1, 1))[0, 0, 0]) for _ in range(50)} == {0.0, 2.0}


def test_it_can_be_compiled_as_a_whole() -> None:
    network = mlp.build(Table(2, (3,)), "tiny").train()
    whole = torch.compile(network, backend="eager", fullgraph=True)
    assert whole(torch.zeros(5, 2), torch.zeros(5, 1, dtype=torch.int64)).shape == (5, 4, 128)
