"""Log-mel features: what a tone looks like, and that padding and loudness change nothing."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lamina.layers.log_mel import LogMel, inside, mel_filters

RATE, BANDS = 8000, 40


def tone(hertz: float, seconds: float = 0.5) -> Tensor:
    """(1, samples) int16."""
    time = torch.arange(round(seconds * RATE)) / RATE
    return (10_000 * torch.sin(2 * math.pi * hertz * time)).to(torch.int16)[None]


def features(audio: Tensor) -> Tensor:
    """(frames, bands) of the only recording."""
    found: Tensor = LogMel(RATE, BANDS)(audio, torch.tensor([audio.shape[1]]))[0][0]
    return found


def test_filters_are_those_of_the_formula() -> None:
    filters = mel_filters(RATE, 256, BANDS)
    assert filters.shape == (129, BANDS)
    centres = filters.argmax(0).numpy() * RATE / 256
    mel = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 4000 / 700), BANDS + 2)[1:-1]
    wanted = 700 * (10 ** (mel / 2595) - 1)
    assert np.abs(centres - wanted).max() <= RATE / 256  # to a bin
    assert float(filters.min()) == 0
    assert float(filters.max()) <= 1
    assert bool((filters[:, :-1] * filters[:, 1:]).sum(0).gt(0).all())  # neighbours overlap


@pytest.mark.parametrize("hertz", [300, 1000, 2500])
def test_a_tone_is_loud_in_its_band_while_it_sounds(hertz: int) -> None:
    found = features(torch.cat([torch.zeros_like(tone(hertz)), tone(hertz)], 1))
    rise = found[70:90].mean(0) - found[10:40].mean(0)  # (bands,)
    own = int(mel_filters(RATE, 256, BANDS)[round(hertz * 256 / RATE)].argmax())
    assert abs(int(rise.argmax()) - own) <= 1


def test_frames_are_a_hundredth_of_a_second_apart() -> None:
    assert len(features(tone(500, 1.0))) == 98  # after the first of 25 ms, one each 10 ms
    assert len(features(tone(500, 0.01))) == 1  # shorter than a window


def test_loudness_and_channel_are_taken_away() -> None:
    generator = torch.Generator().manual_seed(0)
    sound = (torch.randn(1, RATE, generator=generator) * 3000).clamp(-8000, 8000)
    one, two = features(sound.to(torch.int16)), features((sound * 4).to(torch.int16))
    torch.testing.assert_close(one, two, atol=0.02, rtol=0)
    assert one.mean(0).abs().max() < 1e-4
    assert float(one.square().mean()) == pytest.approx(1, abs=0.3)


def test_padding_changes_nothing() -> None:
    sound = torch.randint(-9000, 9000, (3, RATE), generator=torch.Generator().manual_seed(0)).to(torch.int16)
    lengths = torch.tensor([RATE, 3000, 150])
    sound[1, 3000:] = 0
    sound[2, 150:] = 0
    together, frames = LogMel(RATE, BANDS)(sound, lengths)
    for row, (length, count) in enumerate(zip(lengths.tolist(), frames.tolist(), strict=True)):
        alone = features(sound[row : row + 1, :length])
        assert len(alone) == count
        torch.testing.assert_close(together[row, :count], alone, rtol=1e-4, atol=1e-5)
        assert bool((together[row, count:] == 0).all())


def test_inside_says_what_is_before_the_end() -> None:
    assert inside(torch.tensor([0, 2]), 3).tolist() == [[False] * 3, [True, True, False]]
