"""Augmentation of pictures, a whole batch at a time, on the device where the batch is.

Every function takes pictures as (batch, channels, side, side) floats between 0 and 255 and a generator, draws numbers of
its own for each picture, and returns pictures of the same kind. Nothing depends on the pictures' values, so the same
generator gives the same variation on any data.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_BRIGHTNESS = 64.0  # a quarter of the range: about one standard deviation of a photograph's pixels


def flip(pictures: Tensor, generator: torch.Generator, chance: float = 0.5) -> Tensor:
    """Mirror left and right, each picture with this chance."""
    mirrored = _uniform(pictures, 0, 1, generator) < chance
    return torch.where(mirrored, pictures.flip(3), pictures)


def shift(pictures: Tensor, generator: torch.Generator, pixels: int) -> Tensor:
    """Move by up to so many whole pixels each way; what enters is the reflection of what was there.

    The padded crop of He et al. 2016 (arXiv:1512.03385), with reflection in place of zeros.
    """
    batch, _, height, width = pictures.shape
    device = pictures.device
    padded = F.pad(pictures, (pixels, pixels, pixels, pixels), mode="reflect").permute(0, 2, 3, 1)
    down, across = torch.randint(0, 2 * pixels + 1, (2, batch, 1, 1), generator=generator, device=device)
    rows = down + torch.arange(height, device=device)[None, :, None]  # (batch, height, 1)
    columns = across + torch.arange(width, device=device)[None, None, :]  # (batch, 1, width)
    which = torch.arange(batch, device=device)[:, None, None]
    return padded[which, rows, columns].permute(0, 3, 1, 2)  # channels last in memory, as convolutions want it


def crop(pictures: Tensor, generator: torch.Generator, smallest: float) -> Tensor:
    """Cut a random box of at least this share of the area, and stretch it to the whole square.

    The random resized crop of Szegedy et al. 2015 (arXiv:1409.4842), with a gentler smallest share.
    """
    area = _uniform(pictures, smallest, 1, generator)
    aspect = _uniform(pictures, -math.log(4 / 3), math.log(4 / 3), generator).exp()
    wide, high = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    across = (1 - wide) * _uniform(pictures, -1, 1, generator)
    down = (1 - high) * _uniform(pictures, -1, 1, generator)
    side = pictures.shape[-1]
    line = (torch.arange(side, device=pictures.device) * 2 + 1) / side - 1  # pixel centres, from -1 to 1
    x = (across + wide * line.view(1, 1, 1, -1)).view(-1, 1, side).expand(-1, side, -1)  # (batch, side, side)
    y = (down + high * line.view(1, 1, 1, -1)).view(-1, side, 1).expand(-1, -1, side)
    return F.grid_sample(pictures, torch.stack((x, y), 3), padding_mode="border", align_corners=False)


def colour(pictures: Tensor, generator: torch.Generator, strength: float) -> Tensor:
    """Change brightness, contrast and, of colour pictures, saturation, each within this strength (Howard 2013)."""
    mean = pictures.mean(dim=(1, 2, 3), keepdim=True)
    brightness = _BRIGHTNESS * _uniform(pictures, -strength, strength, generator)
    contrast = 1 + _uniform(pictures, -strength, strength, generator)
    saturation = 1 + _uniform(pictures, -strength, strength, generator)
    changed = (pictures - mean) * contrast + mean + brightness
    if pictures.shape[1] == 1:
        return changed
    grey = changed.mean(dim=1, keepdim=True)
    return torch.lerp(grey.expand_as(changed), changed, saturation)


def erase(pictures: Tensor, generator: torch.Generator, chance: float, share: float = 0.08) -> Tensor:
    """Hide a square of this share of the area behind the picture's mean (cutout, DeVries & Taylor 2017)."""
    hidden = _uniform(pictures, 0, 1, generator) < chance
    box = _box(pictures, torch.full((len(pictures), 1, 1, 1), share, device=pictures.device), generator)
    return torch.where(box & hidden, pictures.mean(dim=(1, 2, 3), keepdim=True), pictures)


def cutmix(pictures: Tensor, generator: torch.Generator, chance: float) -> tuple[Tensor, Tensor]:
    """Paste a box of the picture before (Yun et al. 2019, arXiv:1905.04899).

    Returns:
        The pictures, and the share of each that is the picture before, (batch,).
    """
    chosen = _uniform(pictures, 0, 1, generator) < chance
    box = _box(pictures, _uniform(pictures, 0, 1, generator), generator) & chosen
    return torch.where(box, pictures.roll(1, 0), pictures), box.float().mean(dim=(1, 2, 3))  # what the edges left


def mixup(pictures: Tensor, generator: torch.Generator, strength: float) -> tuple[Tensor, Tensor]:
    """Blend each picture with the one before (Zhang et al. 2018, arXiv:1710.09412), up to half of ``strength``.

    Returns:
        The pictures, and the share of each that is the picture before, (batch,).
    """
    share = _uniform(pictures, 0, strength / 2, generator)
    return torch.lerp(pictures, pictures.roll(1, 0), share), share.view(-1)


def _uniform(pictures: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """One number for each picture, (batch, 1, 1, 1)."""
    drawn = torch.rand(len(pictures), 1, 1, 1, generator=generator, device=pictures.device)
    return low + (high - low) * drawn


def _box(pictures: Tensor, share: Tensor, generator: torch.Generator) -> Tensor:
    """Mark a square of this share of each picture, (batch, 1, height, width); the edges may cut it."""
    height, width = pictures.shape[2:]
    half = share.sqrt() / 2
    middle = _uniform(pictures, 0, 1, generator), _uniform(pictures, 0, 1, generator)
    down = ((torch.arange(height, device=pictures.device) + 0.5) / height).view(1, 1, height, 1)
    across = ((torch.arange(width, device=pictures.device) + 0.5) / width).view(1, 1, 1, width)
    return ((down - middle[0]).abs() < half) & ((across - middle[1]).abs() < half)
