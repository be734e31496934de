"""The convolutional network for images: an early-shrinking residual network in the manner of ResNet-9.

The stem brings an image of any side to a grid of at most 40 cells a side, so that one trunk, at one cost,
serves 28-pixel drawings and 224-pixel photographs. Each stage of the trunk is a convolution and a max
pooling that halve the grid and widen the channels, and in the later stages a residual block on the smaller
grid. The first stage has no block: on its wide grid, a block costs as much as any and brings less. Page's
ResNet-9 ("How to train your ResNet", 2018), the quickest of its time to 94 % on CIFAR-10, has this form.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from lamina.layers.convolution import convolve_and_pool
from lamina.layers.shapes import Image
from lamina.plan import Plan


@dataclass(frozen=True)
class Size:
    """The channels of the stem and of each stage, and the residual blocks of each stage."""

    stem: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]


takes = Image
SIZES = {  # each twice as wide as the one before: four times the work
    "tiny": Size(stem=8, widths=(16, 32, 64), blocks=(0, 1, 1)),
    "small": Size(stem=16, widths=(32, 64, 128), blocks=(0, 1, 1)),
    "medium": Size(stem=32, widths=(64, 128, 256), blocks=(0, 1, 1)),
    "large": Size(stem=64, widths=(128, 256, 512), blocks=(0, 1, 1)),
}
GRID = 40  # the widest grid, in cells a side, that the stem hands to the trunk
FINEST = 4  # pixels a side of the smallest cells that a detector gets: a finer map costs four times as much
DROPOUT = 0.0


class Convolution(nn.Sequential):
    """A 3x3 convolution, a max pooling if asked for, batch normalisation and a rectifier.

    Batch normalisation is of Ioffe and Szegedy 2015 (arXiv:1502.03167); the first weights are of He et al.
    2015 (arXiv:1502.01852). Pooling comes before the normalisation, which then reads a quarter of the cells.
    """

    convolution: nn.Conv2d
    pool: nn.MaxPool2d
    norm: nn.BatchNorm2d
    activation: nn.ReLU

    def __init__(self, channels: int, width: int, stride: int = 1, pool: bool = False) -> None:
        convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        parts: list[tuple[str, nn.Module]] = [("convolution", convolution)]
        if pool:
            parts.append(("pool", nn.MaxPool2d(2, ceil_mode=True)))
        parts += [("norm", nn.BatchNorm2d(width)), ("activation", nn.ReLU(inplace=True))]
        super().__init__(OrderedDict(parts))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Turn images, (batch, channels, height, width), into (batch, width, height', width')."""
        pooled = hasattr(self, "pool")
        image = convolve_and_pool(self.convolution, self.pool, image) if pooled else self.convolution(image)
        normal: torch.Tensor = self.activation(self.norm(image))
        return normal


class Residual(nn.Module):
    """Two convolutions added to an untouched identity path (He et al. 2016, arXiv:1603.05027)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Convolution(width, width)
        self.second = Convolution(width, width)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Add the branch to its input, (batch, width, height, width of the grid)."""
        branch: torch.Tensor = self.second(self.first(image))
        return image + branch


class Network(nn.Module):
    """The stem, the stages and the dropout; `width` is the number of feature channels."""

    def __init__(self, shape: Image, size: Size, dropout: float) -> None:
        super().__init__()
        self.width = size.widths[-1]
        self.stem = stem(shape, size.stem)
        self.stages = nn.Sequential()
        channels = size.stem
        for width, blocks in zip(size.widths, size.blocks, strict=True):
            stage = nn.Sequential(Convolution(channels, width, pool=True))
            stage.extend(Residual(width) for _ in range(blocks))
            self.stages.append(stage)
            channels = width
        halvings = sum(isinstance(part, nn.Conv2d) and part.stride[0] > 1 for part in self.stem.modules())
        strides = [
            2 ** (halvings + pooled) for pooled in range(len(size.widths) + 1)
        ]  # of the stem's map and the stages'
        self.first = next(place for place, stride in enumerate(strides) if stride >= FINEST)
        self.widths = (size.stem, *size.widths)[self.first :]
        self.dropout = nn.Dropout2d(dropout)  # whole channels: it drops features of their mean

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Turn images, (batch, channels, height, width), into feature maps, an eighth of the stem's grid a side."""
        grid = self.stages(self.stem(image))  # (batch, self.width, height', width')
        features: torch.Tensor = self.dropout(grid)
        return features

    def pyramid(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The maps of the stem and of each stage, from fine to deep, for a detector: those with a cell for 4 pixels or more."""
        maps = [self.stem(image)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return [*maps[self.first : -1], self.dropout(maps[-1])]


def stem(shape: Image, width: int) -> nn.Sequential:
    """Halve the grid by strided convolutions until it is at most GRID a side; one convolution at the least.

    Each halving doubles the channels, up to width, as in the deep stem of He et al. 2019 (arXiv:1812.01187).
    """
    halvings, side = 0, shape.side
    while side > GRID:
        halvings, side = halvings + 1, (side + 1) // 2
    if not halvings:
        return nn.Sequential(Convolution(shape.channels, width))
    layers = nn.Sequential()
    channels = shape.channels
    for remaining in reversed(range(halvings)):
        layers.append(Convolution(channels, max(width >> remaining, 8), stride=2))
        channels = max(width >> remaining, 8)
    return layers


def default_size(shape: Image, examples: int) -> str:
    """Small: the most accurate in ten minutes of two CPU cores, on small pictures and on photographs (docs/log.md)."""
    return "small"


def plan(shape: Image, examples: int) -> Plan:
    """How this family trains best: Muon, which needs about half of AdamW's epochs, down to zero in a straight line.

    As many epochs as make 6,000 steps, between 40 and 100; where the time for that is not given, fewer.
    """
    batch = 128 if examples >= 8192 else 64 if examples >= 1024 else 32
    epochs = min(100, max(40, round(6000 * batch / max(1, examples))))
    spare = 0.5 if examples >= 8192 else 0.0
    return Plan(
        epochs, None, batch, optimizer="muon", lr=0.02, weight_decay=0.1, momentum=0.95, warmup=0.1, spare=spare
    )


def build(shape: Image, size: str, dropout: float | None = None) -> nn.Module:
    """Build the network for images of this shape; its features are (batch, .width, height', width')."""
    return Network(shape, SIZES[size], DROPOUT if dropout is None else dropout)
