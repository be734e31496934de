"""Augmentation of sound: what is drawn, and what stays."""

import math

import pytest
import torch
from torch import Tensor

from lamina.layers import sound_augmentation

RATE = 8000


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def tones(count: int, room: float = 0.5) -> tuple[Tensor, Tensor]:
    """As many tones of 500 Hz and half a second, with room behind."""
    time = torch.arange(RATE // 2) / RATE
    sound = torch.sin(2 * math.pi * 500 * time).repeat(count, 1)
    return torch.nn.functional.pad(sound, (0, round(room * RATE))), torch.full((count,), RATE // 2)


def pitch(sound: Tensor, length: int) -> float:
    """Of the loudest frequency, in Hz."""
    spectrum = torch.fft.rfft(sound[:length]).abs()
    return float(spectrum[1:].argmax() + 1) * RATE / length


def test_speed_changes_pitch_and_length_together() -> None:
    sound, lengths = tones(20)
    played, made = sound_augmentation.speed(sound, lengths, generator(), 1.3)
    factors = lengths / made
    assert float(factors.min()) < 0.9
    assert float(factors.max()) > 1.1
    assert bool(((factors >= 1 / 1.31) & (factors <= 1.31)).all())
    for row, length, factor in zip(played, made.tolist(), factors.tolist(), strict=True):
        assert pitch(row, length) == pytest.approx(500 * factor, rel=0.02)
        assert bool((row[length:] == 0).all())


def test_what_would_not_fit_is_not_played_so_slowly() -> None:
    sound, lengths = tones(20, room=0.0)
    played, made = sound_augmentation.speed(sound, lengths, generator(), 1.3)
    assert bool((made <= sound.shape[1]).all())
    assert played.shape == sound.shape


def test_noise_is_as_loud_as_is_said_and_stays_before_the_end() -> None:
    sound, lengths = tones(400)
    heard = sound_augmentation.noise(sound, lengths, generator(), 10.0)
    added = (heard - sound)[:, : RATE // 2]
    level = added.square().mean(1).sqrt() / sound[:, : RATE // 2].square().mean(1).sqrt()
    noisy = level > 0
    assert 0.4 < float(noisy.float().mean()) < 0.6
    decibels = -20 * level[noisy].log10()
    assert 9.5 < float(decibels.min()) < 12
    assert 38 < float(decibels.max()) < 40.5
    assert torch.equal(heard[:, RATE // 2 :], sound[:, RATE // 2 :])


def test_a_shift_puts_silence_before() -> None:
    sound, lengths = tones(20)
    later, made = sound_augmentation.shift(sound, lengths, generator(), 400)
    begins = (made - lengths).tolist()
    assert 0 <= min(begins) < 60 < 340 < max(begins) <= 400
    for row, begin in zip(later, begins, strict=True):
        assert bool((row[:begin] == 0).all())
        assert torch.equal(row[begin : begin + RATE // 2], sound[0, : RATE // 2])


def test_each_recording_is_varied_in_its_own_way() -> None:
    sound, lengths = tones(8)
    assert len(set(sound_augmentation.speed(sound, lengths, generator(), 1.3)[1].tolist())) == 8
