"""A network for tables: rows of numbers and categories in, `members` vectors per row out.

In:  numbers (batch, f) float32, already transformed (see below) and with missing values filled;
     categories (batch, c) int64, code 0 = missing or unseen. Either f or c may be 0, not both.
Out: (batch, members, width). `Head` turns that into (batch, members, outputs).

The network is a small ensemble in one body. Train it on the mean of the members' losses (never on the
loss of the mean); predict with the mean of the members' probabilities or values.

    numbers    -> periodic features -> linear per column -> ReLU   (Gorishniy et al. 2022, "PLR")
    categories -> one learned vector per code                      (Guo and Berkhahn 2016)
    members    -> each scales the joined columns its own way       (Gorishniy et al. 2024, "TabM-mini")
    body       -> Linear, ReLU, Dropout, shared by the members     (the GEMM sees batch * members rows)
    Head       -> one linear map per member                        (Gorishniy et al. 2024)

Numbers must come as normal scores of their ranks (quantile -> normal, clipped to [-4, 4]): with plain
robust scaling the same network's error on California housing rose from about 46,000 to 51,000 dollars.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.layers.shapes import Table
from lamina.plan import Plan

NUMBER_WIDTH = 16
CATEGORY_WIDTH = 8
FREQUENCIES = 24
FREQUENCY_SCALE = 0.3
DROPOUT = 0.2


takes = Table


@dataclass(frozen=True)
class Size:
    """How many members, how wide, how many layers deep."""

    members: int
    width: int
    depth: int


SIZES: dict[str, Size] = {
    "tiny": Size(members=4, width=128, depth=2),
    "small": Size(members=8, width=256, depth=3),
    "medium": Size(members=16, width=256, depth=3),
    "large": Size(members=32, width=512, depth=3),
}


class PeriodicNumbers(nn.Module):
    """Each number becomes sines and cosines of learned frequencies, then a small vector of its own.

    "PLR" of Gorishniy et al. 2022, On Embeddings for Numerical Features. Frequencies start as
    Normal(0, FREQUENCY_SCALE); each column has its own linear map.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        inputs = 2 * FREQUENCIES
        self.undecayed = ("frequency", "weight")  # they embed, as the vectors of categories do
        self.frequency = nn.Parameter(torch.randn(columns, 1, FREQUENCIES) * FREQUENCY_SCALE)
        self.weight = nn.Parameter(torch.empty(columns, inputs, NUMBER_WIDTH))
        self.bias = nn.Parameter(torch.zeros(columns, 1, NUMBER_WIDTH))
        nn.init.uniform_(self.weight, -(inputs**-0.5), inputs**-0.5)

    def forward(self, numbers: Tensor) -> Tensor:
        """From (batch, columns) to (batch, columns * NUMBER_WIDTH)."""
        # Columns go first, so that the product below is one contiguous batched GEMM.
        angle = 2 * math.pi * numbers.t().unsqueeze(2) * self.frequency  # (f, batch, frequencies)
        waves = torch.cat([angle.cos(), angle.sin()], 2)  # (f, batch, 2 * frequencies)
        vectors = functional.relu(torch.baddbmm(self.bias, waves, self.weight))  # (f, batch, NUMBER_WIDTH)
        return vectors.transpose(0, 1).flatten(1)  # (batch, f * NUMBER_WIDTH)


class Categories(nn.Module):
    """A learned vector per code (Guo and Berkhahn 2016). All columns share one weight: one look-up.

    Code 0 starts at zero, so that a code never seen in training adds nothing.
    """

    offsets: Tensor

    def __init__(self, cardinalities: Sequence[int]) -> None:
        super().__init__()
        starts = [sum(cardinalities[:column]) for column in range(len(cardinalities))]
        self.register_buffer("offsets", torch.tensor(starts, dtype=torch.int64), persistent=False)
        self.vectors = nn.Embedding(sum(cardinalities), CATEGORY_WIDTH)
        nn.init.uniform_(self.vectors.weight, -1, 1)
        with torch.no_grad():
            self.vectors.weight[self.offsets] = 0

    def forward(self, categories: Tensor) -> Tensor:
        """From (batch, columns) codes to (batch, columns * CATEGORY_WIDTH)."""
        vectors: Tensor = self.vectors(categories + self.offsets)  # (batch, c, CATEGORY_WIDTH)
        return vectors.flatten(1)  # (batch, c * CATEGORY_WIDTH)


class Members(nn.Module):
    """Copies each row once per member and scales it: all that makes the members differ in the body.

    The first adapter of BatchEnsemble (Wen et al. 2020), the only one that TabM-mini keeps. It starts as
    Normal(0, 1), one draw per member and column, so that a column's vector is scaled as a whole.
    """

    def __init__(self, members: int, widths: list[int]) -> None:
        super().__init__()
        draws = [torch.randn(members, 1).repeat(1, width) for width in widths]
        self.undecayed = ("scale",)
        self.scale = nn.Parameter(torch.cat(draws, 1))  # (members, inputs)

    def forward(self, row: Tensor) -> Tensor:
        """From (batch, inputs) to (members, batch, inputs), in the row's own precision."""
        return row * self.scale.to(row.dtype).unsqueeze(1)  # (members, batch, inputs)


class MemberDropout(nn.Module):
    """Dropout (Srivastava et al. 2014) with one mask per row, shared by its members.

    On a CPU drawing a mask per member took a fifth of the step, and one per row a twelfth. Random bytes, eight of a draw,
    cost next to nothing; the probability is then a multiple of 1/256.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, hidden: Tensor) -> Tensor:
        """The same shape, (members, batch, width), with the same features hidden from all members of a row."""
        if not self.training or self.probability == 0:
            return hidden
        return hidden * _mask(hidden[0], self.probability)


def _mask(like: Tensor, probability: float) -> Tensor:
    """As many numbers as there are: 0 with that probability, in steps of 1/256, and otherwise what keeps their mean at 1."""
    if like.device.type != "cpu" or torch.compiler.is_compiling():  # which cannot follow draws of whole integers
        return functional.dropout(torch.ones_like(like), probability)
    draws = torch.empty(-(-like.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
    dropped = min(255, round(256 * probability))
    kept = draws.view(torch.uint8)[: like.numel()].view(like.shape) >= dropped
    return kept.to(like.dtype) * (256 / (256 - dropped))


class TableNetwork(nn.Module):
    """The body: (batch, f) and (batch, c) in, (batch, members, width) out."""

    def __init__(self, shape: Table, size: Size, dropout: float) -> None:
        super().__init__()
        columns = shape.numbers, len(shape.cardinalities)
        if sum(columns) == 0:
            raise ValueError("Table has 0 number and 0 category columns; give at least one column")
        self.members = size.members
        self.width = size.width
        self.numbers = PeriodicNumbers(columns[0]) if columns[0] else None
        self.categories = Categories(shape.cardinalities) if columns[1] else None
        widths = [NUMBER_WIDTH] * columns[0] + [CATEGORY_WIDTH] * columns[1]
        self.scale = Members(size.members, widths)
        inputs = [sum(widths)] + [size.width] * (size.depth - 1)
        layers = [[nn.Linear(width, size.width), nn.ReLU(), MemberDropout(dropout)] for width in inputs]
        self.body = nn.Sequential(*[module for layer in layers for module in layer])

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """From (batch, numbers) and (batch, categories) to (batch, members, width)."""
        parts: list[Tensor] = []
        if self.numbers is not None:
            parts.append(self.numbers(numbers))
        if self.categories is not None:
            parts.append(self.categories(categories))
        row = torch.cat(parts, 1)  # (batch, inputs)
        if torch.is_autocast_enabled(row.device.type):  # here it is still small
            row = row.to(torch.get_autocast_dtype(row.device.type))
        # Members go first in memory: the head multiplies each one's rows by its own matrix, and need not copy them.
        hidden: Tensor = self.body(self.scale(row))  # (members, batch, width)
        return hidden.transpose(0, 1)  # (batch, members, width)


def default_size(shape: Table, examples: int) -> str:
    """Medium: 16 members. Chosen on validation parts; docs/log.md has the figures."""
    return "medium"


def plan(shape: Table, examples: int) -> Plan:
    """How this family trains best: about 1,500 steps, whatever the number of rows; the rate grows with the batch."""
    batch, most = (256, 32) if examples >= 4096 else (64, 16)  # few rows overfit soon
    epochs = min(most, max(8, math.ceil(1500 / max(1, examples // batch))))
    return Plan(epochs, None, batch, lr=7e-3 * batch / 256, weight_decay=3e-4, schedule="warmup-cosine", warmup=0.05)


def build(shape: Table, size: str, dropout: float | None = None) -> nn.Module:
    """The network of that size for tables of this shape; weights come from torch's global generator."""
    return TableNetwork(shape, SIZES[size], DROPOUT if dropout is None else dropout)
