"""The detector: a one-stage, anchor-free head with a feature pyramid, on any image backbone.

In:  pictures (batch, side, side, channels), and the size in pixels of the images that they were made from.
Out: per cell of the pyramid's grids, a box, the cell's middle, and a logit per class.

    pyramid     deep maps, which know what is there, are added to fine ones      (Lin et al. 2017, arXiv:1612.03144)
    cells       each says how far the sides of its object are: there are no anchors (Tian et al. 2019, arXiv:1904.01355)
    head        one for all grids; group normalisation, so that a batch may be small (Wu & He 2018, arXiv:1803.08494)
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.layers.heads import pixel_scale

WIDTH = 96  # channels of the pyramid and the head
PRIOR = 0.01  # the score of each class at first: nearly all cells see background (Lin et al. 2017, arXiv:1708.02002)
EXTENT = 4.0  # cells from the middle of an object to its side, as a cell of any grid says at first


class Detector(nn.Module):
    """Pixels in, boxes and logits of all cells out.

    Args:
        backbone: with ``pyramid``: (batch, channels, side, side) floats -> maps from fine to deep, and their ``widths``; one
            without gives a single map, its features.
        mean: of the training pixels, per channel, between 0 and 255.
        deviation: of the training pixels, per channel.
        classes: how many.
    """

    mean: Tensor
    deviation: Tensor
    backbone: Any

    def __init__(self, backbone: nn.Module, mean: list[float], deviation: list[float], classes: int) -> None:
        super().__init__()
        self.memory_format = torch.channels_last  # as the pixels are stored; the execution may choose another
        mean, deviation = pixel_scale(backbone, mean, deviation)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1))
        self.backbone = backbone
        widths = getattr(backbone, "widths", None) or (int(backbone.width),)  # type: ignore[arg-type]
        self.neck = Pyramid(widths)
        self.head = Head(classes, len(widths))

    def forward(self, image: Tensor, size: Tensor) -> Tensor:
        """Look at pictures as stored, (batch, side, side, channels) uint8, or augmented, floats between 0 and 255.

        Args:
            image: the pictures; an image that is not square stands in the upper left corner.
            size: (batch, 2): width and height in pixels of the image that each was made from.

        Returns:
            (batch, cells, 6 + classes): left, top, right, bottom of a box and x, y of the cell's middle, in pixels of that
            image; logits.
        """
        pixels = image.permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)  # (batch, channels, side, side)
        scaled = (pixels.to(self.mean.dtype) - self.mean) / self.deviation
        maps = self.backbone.pyramid(scaled) if hasattr(self.backbone, "pyramid") else [self.backbone(scaled)]
        levels = [self.head(grid, level, image.shape[1] / grid.shape[3]) for level, grid in enumerate(self.neck(maps))]
        cells = torch.cat(levels, 1)
        factor = size.amax(1).view(-1, 1, 1) / image.shape[1]  # pixels of the image per pixel of the picture
        return torch.cat([cells[..., :6] * factor, cells[..., 6:]], 2)


class Pyramid(nn.Module):
    """Maps of several widths in, as many of one width out: each knows what the deeper ones know."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList([_normalised(width, 1) for width in widths])
        self.smooth = nn.ModuleList([_normalised(WIDTH, 3) for _ in widths])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """From fine to deep, (batch, width, height', width') each."""
        found: list[Tensor] = []
        for lateral, grid in zip(reversed(self.lateral), reversed(maps), strict=True):
            own = lateral(grid)
            found.insert(0, own + functional.interpolate(found[0], own.shape[2:]) if found else own)
        return [smooth(grid) for smooth, grid in zip(self.smooth, found, strict=True)]


class Head(nn.Module):
    """What each cell of a grid says; the same convolutions look at all grids."""

    def __init__(self, classes: int, levels: int) -> None:
        super().__init__()
        self.what = nn.Sequential(_normalised(WIDTH, 3), _normalised(WIDTH, 3))
        self.where = nn.Sequential(_normalised(WIDTH, 3), _normalised(WIDTH, 3))
        self.score = nn.Conv2d(WIDTH, classes, 3, padding=1)
        self.sides = nn.Conv2d(WIDTH, 4, 3, padding=1)
        self.extent = nn.Parameter(torch.full((levels,), math.log(EXTENT)))
        nn.init.normal_(self.score.weight, std=0.01)
        nn.init.constant_(self.score.bias, math.log(PRIOR / (1 - PRIOR)))  # type: ignore[arg-type]
        nn.init.normal_(self.sides.weight, std=0.01)
        nn.init.zeros_(self.sides.bias)  # type: ignore[arg-type]

    def forward(self, grid: Tensor, level: int, stride: float) -> Tensor:
        """Per cell, (batch, cells, 6 + classes): box and middle in pixels of the picture, and logits."""
        _, _, height, width = grid.shape
        logits = self.score(self.what(grid)).flatten(2).transpose(1, 2).float()  # (batch, cells, classes)
        raw = self.sides(self.where(grid)).flatten(2).transpose(1, 2).float()
        sides = (raw + self.extent[level]).clamp(max=8).exp() * stride  # left, top, right, bottom of the middle
        across, down = (torch.arange(count, device=grid.device) + 0.5 for count in (width, height))
        x, y = torch.meshgrid(across, down, indexing="xy")
        middle = (torch.stack((x, y), 2).view(1, -1, 2) * stride).expand(len(grid), -1, -1)
        return torch.cat([middle - sides[..., :2], middle + sides[..., 2:], middle, logits], 2)


def _normalised(channels: int, kernel: int) -> nn.Sequential:
    """A convolution to ``WIDTH`` channels, group normalisation and a rectifier."""
    return nn.Sequential(
        nn.Conv2d(channels, WIDTH, kernel, padding=kernel // 2, bias=False),
        nn.GroupNorm(16, WIDTH),
        nn.ReLU(inplace=True),
    )
