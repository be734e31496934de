"""Activations: what is planted in a layer is what is said of it; each task's layers get their numbers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lamina import find
from lamina.attribution.activations import passed, silent_layers
from lamina.model import Model
from trained import Trained


class Planted(nn.Module):
    """Four channels, three of which are closed for good; and a layer that gives 1 and 3."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 1)
        self.rectifier = nn.ReLU()
        self.level = nn.Linear(4, 2)
        with torch.no_grad():
            self.convolution.weight.fill_(1)
            self.convolution.bias.copy_(torch.tensor([0.0, -9.0, -9.0, -9.0]))  # type: ignore[union-attr]
            self.level.weight.zero_()
            self.level.bias.copy_(torch.tensor([1.0, 3.0]))

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 1, height, width) → (batch, 2)."""
        scores: Tensor = self.level(self.rectifier(self.convolution(image)).mean((2, 3)))
        return scores


def test_dead_units_and_levels_are_found() -> None:
    network, image = Planted(), torch.rand(5, 1, 3, 3)
    rows = passed(network, lambda one: one(image))
    assert rows["rectifier"]["dead"] == 0.75
    assert rows["convolution"]["dead"] == 0
    assert rows["level"] == {"mean": 2.0, "spread": 1.0, "dead": 0.0}
    (finding,) = silent_layers(rows, 5)
    assert finding.where == ("rectifier",)
    assert "75%" in finding.what
    assert silent_layers({name: row for name, row in rows.items() if name != "rectifier"}, 5) == []
    assert [len(module._forward_hooks) for module in network.modules()] == [0] * 4


def test_a_unit_that_speaks_once_is_not_dead() -> None:
    """One example in many, in one of two calls."""
    network = Planted()
    bright = torch.zeros(5, 1, 3, 3)
    bright[3, 0, 2, 2] = 10.0
    rows = passed(network, lambda one: (one(torch.zeros(5, 1, 3, 3)), one(bright)))
    assert rows["rectifier"]["dead"] == 0


@pytest.mark.parametrize("trained", find.names("tasks"), indirect=True)
def test_every_task_has_its_layers_measured(trained: Trained) -> None:
    model: Model = trained.model
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    found = model.explain(activations=True, data=None)
    rows: list[dict[str, Any]] = found["rows"]
    assert found["examples"] > 0
    assert sum("spread" in row for row in rows) > len(rows) / 2
    learning = [row for row in rows if row["parameters"] and "judge" not in row["name"]]
    assert sum(row.get("relative_gradient", 0) > 0 for row in learning) > len(learning) / 2
    after = model.network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
