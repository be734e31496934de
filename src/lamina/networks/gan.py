"""A generative adversarial network (Goodfellow et al. 2014, arXiv:1406.2661): two players in one module.

generator       noise (and a class) → a picture; it is right when the discriminator takes the picture for a real one
discriminator   a picture (and its class) → a score; the higher, the more real

Both are residual networks without any normalisation, as in R3GAN (Huang et al. 2024, arXiv:2501.05441): its relativistic
loss with two gradient penalties is stable without. Each block adds two convolutions, of which the second starts at zero (Zhang
et al. 2019, arXiv:1901.09321), so that both players begin as shallow networks. Some pixels are one cell of the widest grid (the
shuffle of Shi et al. 2016, arXiv:1609.05158): on the pixels themselves a convolution costs most and says least. Grids grow and
shrink by interpolation, which leaves no checkerboard (Odena et al. 2016; Karras et al. 2019, arXiv:1812.04948). A class comes
to the generator beside the noise, and to the discriminator as a direction on which its features are projected (Miyato & Koyama
2018, arXiv:1802.05637).
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.layers.shapes import Canvas
from lamina.plan import Plan


@dataclass(frozen=True)
class Size:
    """Channels of the widest grid, doubled with each halving of it, up to those of the smallest; and blocks on each grid."""

    narrowest: int
    widest: int
    blocks: int


takes = Canvas
SIZES = {
    "tiny": Size(16, 64, 1),
    "small": Size(32, 128, 1),
    "medium": Size(64, 256, 1),
    "large": Size(96, 384, 2),
}
SMALLEST = 8  # cells a side from which a grid is halved once more
SLOPE = 0.2  # of the rectifiers below zero
CLASS = 32  # numbers that stand for a class, beside the noise
SHUFFLE = 2  # a cell of the generator's last grid becomes so many pixels a side
LARGE = 48  # pixels a side from which cells of the widest grid are squares of four by four pixels; of two by two below


class Block(nn.Module):
    """Two convolutions that are added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution(width, width, 3)
        self.second = convolution(width, width, 3)
        nn.init.zeros_(self.second.weight)

    def forward(self, grid: Tensor) -> Tensor:
        """(batch, width, side, side) of the same shape."""
        inner = self.first(functional.leaky_relu(grid, SLOPE))
        added: Tensor = self.second(functional.leaky_relu(inner, SLOPE))
        return grid + added


class Generator(nn.Module):
    """From noise to a picture, from the smallest grid to the widest."""

    def __init__(self, shape: Canvas, size: Size, dropout: float) -> None:
        super().__init__()
        self.side = shape.side
        self.grids, widths = stages(shape.side, size)
        self.classes = nn.Embedding(shape.classes, CLASS) if shape.classes else None
        self.into = nn.Linear(shape.noise + (CLASS if shape.classes else 0), widths[0] * self.grids[0] ** 2)
        self.widen = nn.ModuleList(convolution(*pair, 1) for pair in pairwise(widths))
        self.stages = nn.ModuleList(nn.Sequential(*[Block(width) for _ in range(size.blocks)]) for width in widths)
        self.dropout = nn.Dropout2d(dropout)
        finest = widths[-1] // 2 if cell(shape.side) > SHUFFLE else widths[-1]
        self.finer = convolution(widths[-1], finest, 3) if finest < widths[-1] else None
        self.out = convolution(finest, shape.channels * SHUFFLE**2, 3)
        with torch.no_grad():  # the pixels of a cell begin alike (Aitken et al. 2017, arXiv:1707.02937)
            self.out.weight.copy_(self.out.weight[:: SHUFFLE**2].repeat_interleave(SHUFFLE**2, 0))

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        """(batch, noise) and (batch,) classes → (batch, channels, side, side), from -1 to 1."""
        if self.classes is not None:
            noise = torch.cat([noise, self.classes(label)], 1)
        grid = self.into(noise).unflatten(1, (-1, self.grids[0], self.grids[0]))
        for place, stage in enumerate(self.stages):
            if place:  # the narrower one is interpolated
                grid = enlarged(self.widen[place - 1](grid), self.grids[place])
            grid = stage(grid)
        if self.finer is not None:
            grid = self.finer(enlarged(functional.leaky_relu(grid, SLOPE), 2 * self.grids[-1]))
        cells = self.out(self.dropout(functional.leaky_relu(grid, SLOPE)))
        found: Tensor = functional.pixel_shuffle(cells, SHUFFLE)[:, :, : self.side, : self.side].tanh()
        return found


class Discriminator(nn.Module):
    """From a picture to a score, from the widest grid to the smallest."""

    def __init__(self, shape: Canvas, size: Size, dropout: float) -> None:
        super().__init__()
        grids, widths = stages(shape.side, size)
        self.grids, widths = grids[::-1], widths[::-1]
        self.cell = cell(shape.side)
        self.margin = self.grids[0] * self.cell - shape.side
        self.width = 2 * widths[-1]
        self.into = convolution(shape.channels * self.cell**2, widths[0], 3)
        self.widen = nn.ModuleList(convolution(*pair, 1) for pair in pairwise(widths))
        self.stages = nn.ModuleList(nn.Sequential(*[Block(width) for _ in range(size.blocks)]) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.join = nn.Linear(widths[-1] * self.grids[-1] ** 2, self.width)
        self.score = nn.Linear(self.width, 1)
        self.classes = nn.Embedding(shape.classes, self.width) if shape.classes else None

    def features(self, image: Tensor) -> Tensor:
        """(batch, channels, side, side) from -1 to 1 → (batch, width)."""
        if self.margin:
            image = functional.pad(image, (0, self.margin, 0, self.margin), mode="replicate")
        grid = self.into(functional.pixel_unshuffle(image, self.cell))
        for place, stage in enumerate(self.stages):
            if place:
                # Two by two, fewer at an odd edge: adaptive pooling is not to the bit on CUDA, and lacks such on Apple's GPU.
                grid = functional.avg_pool2d(self.widen[place - 1](grid), 2, ceil_mode=True, count_include_pad=False)
            grid = stage(grid)
        joined = self.join(functional.leaky_relu(grid, SLOPE).flatten(1))
        found: Tensor = self.dropout(functional.leaky_relu(joined, SLOPE))
        return found

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """(batch, channels, side, side) and (batch,) classes → (batch,) scores."""
        features = self.features(image)
        score: Tensor = self.score(features)[:, 0]
        if self.classes is None:
            return score
        kind: Tensor = (features * self.classes(label)).sum(1)
        return score + kind / math.sqrt(self.width)

    def of_each_class(self, image: Tensor) -> Tensor:
        """(batch, channels, side, side) → (batch, classes) scores, as if it were of each class; one without."""
        features = self.features(image)
        scores: Tensor = self.score(features)  # (batch, 1)
        if self.classes is None:
            return scores
        kinds: Tensor = functional.linear(features, self.classes.weight)  # (batch, classes)
        return scores + kinds / math.sqrt(self.width)


class Network(nn.Module):
    """Both players."""

    def __init__(self, shape: Canvas, size: Size, dropout: float) -> None:
        super().__init__()
        self.generator = Generator(shape, size, dropout)
        self.discriminator = Discriminator(shape, size, dropout)
        self.width = self.discriminator.width

    def forward(self, noise: Tensor, label: Tensor) -> Tensor:
        """What the generator makes of (batch, noise) and (batch,) classes: (batch, channels, side, side), from -1 to 1."""
        made: Tensor = self.generator(noise, label)
        return made


def stages(side: int, size: Size) -> tuple[list[int], list[int]]:
    """Grids from 4 to 7 cells a side up to the widest, and the channels on each."""
    grids = [-(-side // cell(side))]
    while grids[0] >= SMALLEST:
        grids.insert(0, -(-grids[0] // 2))
    widths = [min(size.widest, size.narrowest << halvings) for halvings in range(len(grids))]
    return grids, widths[::-1]


def enlarged(grid: Tensor, side: int) -> Tensor:
    """(batch, channels, side', side') interpolated to (batch, channels, side, side)."""
    return functional.interpolate(grid, size=(side, side), mode="bilinear", align_corners=False)


def cell(side: int) -> int:
    """Pixels a side of a cell of the widest grid."""
    return 2 * SHUFFLE if side >= LARGE else SHUFFLE


def convolution(channels: int, width: int, side: int) -> nn.Conv2d:
    """A convolution that keeps the grid, with first weights of He et al. 2015 (arXiv:1502.01852)."""
    made = nn.Conv2d(channels, width, side, padding=side // 2)
    nn.init.kaiming_normal_(made.weight, a=SLOPE)
    nn.init.zeros_(made.bias)  # type: ignore[arg-type]
    return made


def default_size(shape: Canvas, examples: int) -> str:
    """By the number of pictures, and their side: a large discriminator learns few pictures by heart."""
    return "tiny" if examples < 500 else "small" if examples < 100_000 or shape.side <= 32 else "medium"


def plan(shape: Canvas, examples: int) -> Plan:
    """Adam without momentum, since the other player moves, too; the generator is averaged over its last thousand steps.

    Large pictures need smaller steps: at 2e-3 those of 64 pixels diverge (docs/log.md).
    """
    epochs = max(10, min(400, round(600_000 / max(1, examples))))
    return Plan(
        epochs, None, 64, optimizer="adamw", lr=3e-4 if shape.side >= LARGE else 2e-3, weight_decay=0.0, momentum=0.0,
        schedule="one-cycle", warmup=0.05, ema=0.999,
    )  # fmt: skip


def build(shape: Canvas, size: str, dropout: float | None = None) -> nn.Module:
    """Build both players for pictures of this shape."""
    return Network(shape, SIZES[size], dropout or 0.0)
