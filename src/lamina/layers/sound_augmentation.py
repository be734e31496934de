"""Augmentation of sound, a whole batch at a time, on the device where the batch is.

Every function takes (batch, samples) floats, how many each has, and a generator; draws numbers of its own for each recording;
and returns the same with as many places. What would not fit behind the end is never made: a batch brings room along.
"""

import math

import torch
from torch import Tensor


def speed(sound: Tensor, lengths: Tensor, generator: torch.Generator, most: float) -> tuple[Tensor, Tensor]:
    """Play faster or slower, by a factor of at most ``most`` (Ko et al. 2015): pitch and formants go along, so that a voice
    becomes one of another size."""
    factor = (_uniform(sound, -1, 1, generator) * math.log(most)).exp()  # (batch,)
    factor = torch.maximum(factor, lengths / sound.shape[1])
    made = (lengths / factor).long().clamp(1, sound.shape[1])
    place = torch.arange(sound.shape[1], device=sound.device) * factor[:, None]
    before = place.long().clamp(max=sound.shape[1] - 1)
    share = place - before
    after = (before + 1).clamp(max=sound.shape[1] - 1)
    played = sound.gather(1, before) * (1 - share) + sound.gather(1, after) * share
    return played * (torch.arange(sound.shape[1], device=sound.device) < made[:, None]), made


def noise(sound: Tensor, lengths: Tensor, generator: torch.Generator, least: float, chance: float = 0.5) -> Tensor:
    """Add white noise to some, from ``least`` to 30 decibels higher below the recording's own level."""
    level = (sound.square().sum(1) / lengths.clamp(min=1)).sqrt()
    decibels = _uniform(sound, least, least + 30, generator)
    amount = level * 10 ** (-decibels / 20) * (_uniform(sound, 0, 1, generator) < chance)
    drawn = torch.randn(sound.shape, generator=generator, device=sound.device)
    there = torch.arange(sound.shape[1], device=sound.device) < lengths[:, None]
    return sound + drawn * amount[:, None] * there


def shift(sound: Tensor, lengths: Tensor, generator: torch.Generator, most: int) -> tuple[Tensor, Tensor]:
    """Put silence of at most so many samples before each, where there is room."""
    room = (sound.shape[1] - lengths).clamp(max=most)
    begin = (_uniform(sound, 0, 1, generator) * room).long()
    place = torch.arange(sound.shape[1], device=sound.device) - begin[:, None]
    return sound.gather(1, place.clamp(min=0)) * (place >= 0), lengths + begin


def _uniform(sound: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(len(sound), generator=generator, device=sound.device) * (high - low) + low
