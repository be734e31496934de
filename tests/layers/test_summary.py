"""The table of layers: shapes without the batch wherever it stands, parameters and arithmetic."""

import pytest
import torch
from torch import nn

from lamina.layers.shapes import Table
from lamina.layers.summary import summarise
from lamina.networks import mlp


def test_shapes_parameters_and_arithmetic_of_filters() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 5))
    told = summarise(Named(network), {"image": torch.zeros(7, 3, 4, 4)})
    assert [row["shape"] for row in told["rows"]] == [[8, 4, 4], [8, 2, 2], [32], [5]]
    assert [row["parameters"] for row in told["rows"]] == [8 * 27 + 8, 0, 0, 32 * 5 + 5]
    assert [row["flops"] for row in told["rows"]] == [2 * 27 * 8 * 16, 0, 0, 2 * 32 * 5]
    assert told["parameters"] == 8 * 27 + 8 + 32 * 5 + 5


@pytest.mark.parametrize("rows", [1, 7])
def test_members_of_an_ensemble_are_no_batch(rows: int) -> None:
    inputs = {"numbers": torch.zeros(rows, 2), "categories": torch.zeros(rows, 1, dtype=torch.int64)}
    shapes = {row["name"]: row["shape"] for row in summarise(mlp.build(Table(2, (3,)), "tiny"), inputs)["rows"]}
    assert shapes["scale"] == [4, 2 * mlp.NUMBER_WIDTH + mlp.CATEGORY_WIDTH]
    assert shapes["body.0"] == [4, 128]


class Named(nn.Module):
    """Takes its input by name."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Through the body."""
        said: torch.Tensor = self.body(image)
        return said
