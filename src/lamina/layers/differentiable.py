"""Augmentation through which gradients pass: what the discriminator sees, of real and of made pictures alike.

Few pictures are soon learned by heart by a discriminator. When it sees all of them varied, those that are made as well, it
cannot, and the generator still learns to make pictures that are not varied (Zhao et al. 2020, arXiv:2006.10738).
"""

import torch
from torch import Tensor
from torch.nn import functional

COLUMNS = 8
"""Numbers that say how one picture is varied; all zero, it stays as it is. The first one is not about this: see ``PENALTY``."""
PENALTY = 0
"""How much the picture counts in the penalties of gradients; 0 for most, which are left out of them to save time."""
BRIGHTNESS, SATURATION, CONTRAST, DOWN, ACROSS, HIDDEN_DOWN, HIDDEN_ACROSS = range(1, COLUMNS)
LONGEST_SHIFT = 0.125  # of the side
HIDDEN = 0.5  # of the side, of the square that is hidden


def drawn(examples: int, strength: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """(examples, COLUMNS): a variation for each picture, with PENALTY 0; ``strength`` from 0 to 1."""
    numbers = torch.rand(examples, COLUMNS, generator=generator, device=device)  # from 0 to below 1
    result = torch.zeros_like(numbers)
    result[:, BRIGHTNESS] = (numbers[:, BRIGHTNESS] - 0.5) * strength
    result[:, SATURATION] = (2 * numbers[:, SATURATION] - 1) * strength
    result[:, CONTRAST] = (numbers[:, CONTRAST] - 0.5) * strength
    result[:, DOWN : ACROSS + 1] = (2 * numbers[:, DOWN : ACROSS + 1] - 1) * LONGEST_SHIFT * strength
    chosen = numbers[:, PENALTY, None] < strength
    result[:, HIDDEN_DOWN:] = torch.where(chosen, numbers[:, HIDDEN_DOWN:].clamp_min(1e-6), 0)
    return result


def varied(pictures: Tensor, variation: Tensor) -> Tensor:
    """Brightness, saturation, contrast, shift and a hidden square, each picture by its own numbers.

    Args:
        pictures: (batch, channels, side, side) from -1 to 1.
        variation: (batch, COLUMNS), from ``drawn``.
    """
    if not bool(variation[:, 1:].any()):
        return pictures
    columns = variation.to(pictures.dtype)[:, :, None, None, None].unbind(1)  # each (batch, 1, 1, 1)
    shown = pictures + columns[BRIGHTNESS]
    if shown.shape[1] > 1:
        grey = shown.mean(1, keepdim=True)
        shown = grey + (shown - grey) * (1 + columns[SATURATION])
    mean = shown.mean((1, 2, 3), keepdim=True)
    shown = mean + (shown - mean) * (1 + columns[CONTRAST])
    return _hidden(_shifted(shown, variation[:, DOWN], variation[:, ACROSS]), columns)


def _shifted(pictures: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Moved by whole pixels; what enters is 0, which is grey. By indexing, which can be differentiated twice."""
    side = pictures.shape[-1]
    most = max(1, round(LONGEST_SHIFT * side))
    padded = functional.pad(pictures, (most, most, most, most))
    line = torch.arange(side, device=pictures.device) + most
    rows = (line[None] - (down[:, None] * side).round().long())[:, None, :, None]  # (batch, 1, side, 1)
    places = (line[None] - (across[:, None] * side).round().long())[:, None, None, :]
    batch = torch.arange(len(pictures), device=pictures.device)[:, None, None, None]
    channels = torch.arange(pictures.shape[1], device=pictures.device)[None, :, None, None]
    return padded[batch, channels, rows, places]


def _hidden(pictures: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
    """With a square at 0; one whose place is 0 has none."""
    side = pictures.shape[-1]
    line = (torch.arange(side, device=pictures.device) + 0.5) / side
    high = (line[None, None, :, None] - columns[HIDDEN_DOWN]).abs() < HIDDEN / 2
    wide = (line[None, None, None, :] - columns[HIDDEN_ACROSS]).abs() < HIDDEN / 2
    return pictures * ~(high & wide & (columns[HIDDEN_DOWN] > 0))
