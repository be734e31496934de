"""Paths: shares add up, and lie where a planted network looks; what cannot be moved is said."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lamina.attribution.paths import STEPS, walk
from lamina.batch import Tensors
from lamina.errors import OptionError
from lamina.layers.log_mel import LogMel


class Curved(nn.Module):
    """The square of the sum of two pixels, and nothing else."""

    def forward(self, image: Tensor) -> Tensor:
        """(batch, side, side, channels) → (batch,)."""
        return image[:, 1:3, 2, 0].float().sum(1).square()


def said(network: nn.Module, inputs: Tensors) -> Tensor:
    """What the network says, as it is."""
    answer: Tensor = network(**inputs)
    return answer


def test_shares_of_pixels_lie_where_the_network_looks_and_add_up() -> None:
    image = torch.arange(32, dtype=torch.uint8).view(1, 4, 8, 1)
    walked = walk(Curved(), said, {"image": image}, [5.0])
    seen = torch.zeros(4, 8, dtype=torch.bool)
    seen[1:3, 2] = True
    assert walked.kind == "picture"
    assert np.abs(walked.shares[~seen.numpy()]).max() == 0
    # of (x + y)² from 5, 5 to 10, 18: each has its way times the mean slope, 2 * (10 + 28) / 2
    assert walked.shares[1:3, 2] == pytest.approx([5 * 38.0, 13 * 38.0])
    assert (walked.value, walked.reference) == (28.0**2, 10.0**2)
    assert walked.missing == pytest.approx(0, abs=1e-3)
    assert walked.steps == STEPS[0]


class Jump(nn.Module):
    """A rectifier that opens late: few steps miss much of what it adds."""

    def forward(self, numbers: Tensor) -> Tensor:
        """(batch, 2) → (batch,)."""
        return (1000 * (numbers[:, 0] - 0.9973)).relu() + numbers[:, 1]


def test_more_steps_are_taken_until_shares_add_up() -> None:
    inputs = {"numbers": torch.ones(1, 2)}
    few = walk(Jump(), said, inputs, None, (4,))
    many = walk(Jump(), said, inputs, None)
    assert abs(few.missing) > 0.1 * abs(few.value - few.reference)
    assert many.steps > STEPS[0]
    assert abs(many.missing) < abs(few.missing) / 2
    assert few.kind == "numbers"


class Reader(nn.Module):
    """Knows a text by its second token alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length) → (batch,)."""
        return self.embedding(tokens)[:, 1].tanh().sum(1)


def test_tokens_are_moved_as_vectors() -> None:
    torch.manual_seed(0)
    network = Reader()
    walked = walk(network, said, {"tokens": torch.tensor([[1, 2, 3, 2]])}, None)
    assert walked.kind == "tokens"
    assert walked.shares[[0, 2, 3]] == pytest.approx(0, abs=1e-12)
    middle = network.embedding.weight.detach().mean(0)
    assert walked.reference == pytest.approx(float(middle.tanh().sum()), abs=1e-6)
    assert walked.shares[1] == pytest.approx(walked.value - walked.reference, abs=1e-4)
    assert [len(module._forward_hooks) for module in network.modules()] == [0, 0]


class Ear(nn.Module):
    """Hears one band alone."""

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.sound = LogMel(rate, 20)

    def forward(self, audio: Tensor, audio_lengths: Tensor) -> Tensor:
        """(batch, samples) → (batch,)."""
        heard, _ = self.sound(audio, audio_lengths)
        loud: Tensor = heard[:, :, 4].square().sum(1)
        return loud


def test_of_sound_the_features_are_moved() -> None:
    rate = 8000
    samples = 8000 * np.sin(np.arange(rate // 2) * 2 * np.pi * 500 / rate) * (np.arange(rate // 2) > rate // 4)
    audio = torch.from_numpy(samples.astype(np.int16))[None]
    walked = walk(Ear(rate), said, {"audio": audio, "audio_lengths": torch.tensor([rate // 2])}, None)
    assert walked.kind == "sound"
    assert walked.shares.shape == walked.seen.shape == (48, 20)
    others = np.delete(walked.shares, 4, axis=1)
    assert np.abs(others).max() == 0
    assert walked.shares[:, 4].sum() == pytest.approx(walked.value, rel=1e-3)
    assert walked.reference == 0


class Codes(nn.Module):
    """Reads codes without an embedding."""

    def forward(self, categories: Tensor) -> Tensor:
        """(batch, columns) → (batch,)."""
        return (categories == 2).float().sum(1)


def test_codes_without_an_embedding_have_no_path() -> None:
    with pytest.raises(OptionError, match="no way from one to another"):
        walk(Codes(), said, {"categories": torch.tensor([[1, 2]])}, None)


def test_the_mean_colour_of_the_picture_serves_where_no_other_is_known() -> None:
    image = torch.full((1, 4, 8, 1), 9, dtype=torch.uint8)
    walked: Any = walk(Curved(), said, {"image": image}, None)
    assert walked.value == walked.reference
    assert np.abs(walked.shares).max() == 0
