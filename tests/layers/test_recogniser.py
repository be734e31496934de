"""The recogniser of speech: long recordings are read in pieces, and hidden stretches are where they are said to be."""

import pytest
import torch
from torch import Tensor

from lamina.errors import OptionError
from lamina.layers.log_mel import inside
from lamina.layers.recogniser import CHUNK, Recogniser, SpectrumDropout
from lamina.layers.shapes import Recording
from lamina.networks import convolutional_rnn

RATE = 8000


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    torch.manual_seed(0)
    return Recogniser(convolutional_rnn.build(Recording(40), "tiny", 0.0), RATE, 40, 12, 0.15).eval()


def noise(seconds: float, seed: int = 0) -> Tensor:
    """(1, samples) int16, loud and quiet in turn."""
    generator = torch.Generator().manual_seed(seed)
    samples = round(seconds * RATE)
    loud = 0.1 + (torch.arange(samples) // 2000 % 3)
    return (torch.randn(1, samples, generator=generator) * 1000 * loud).to(torch.int16)


def test_outputs_are_distributions_with_zeros_behind_the_end(recogniser: Recogniser) -> None:
    sound = torch.nn.functional.pad(noise(1), (0, 4000)).repeat(2, 1)
    with torch.inference_mode():
        found = recogniser(sound, torch.tensor([8000, 12000]))
    count = (found != 0).any(2).sum(1)
    assert count.tolist() == [49, 74]
    assert bool((found[0, 49:] == 0).all())
    torch.testing.assert_close(found.exp().sum(2)[1], torch.ones(74))


def test_a_recording_of_any_length_is_read_in_pieces_as_if_at_once(recogniser: Recogniser) -> None:
    sound = noise(2.5 * CHUNK)
    lengths = torch.tensor([sound.shape[1]])
    with torch.inference_mode():
        whole, pieces = recogniser(sound, lengths)[0], recogniser.read(sound, lengths)[0]
    assert whole.shape == pieces.shape
    gap = (whole - pieces).abs().mean()  # each piece takes away a mean of its own
    assert float(gap) < 0.1 * float((whole[1:] - whole[:-1]).abs().mean())


def test_short_recordings_beside_a_long_one_are_read_as_if_alone(recogniser: Recogniser) -> None:
    long, short = noise(CHUNK + 5), noise(2, seed=1)
    both = torch.cat([long, torch.nn.functional.pad(short, (0, long.shape[1] - short.shape[1]))])
    with torch.inference_mode():
        together = recogniser.read(both, torch.tensor([long.shape[1], short.shape[1]]))
        alone = recogniser.read(short, torch.tensor([short.shape[1]]))
    torch.testing.assert_close(together[1, : alone.shape[1]], alone[0], rtol=1e-4, atol=1e-5)
    assert bool((together[1, alone.shape[1] :] == 0).all())


def test_a_backbone_that_does_not_halve_the_frames_is_refused() -> None:
    class Whole(torch.nn.Module):
        width = 40

        def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            return features, lengths

    network = Recogniser(Whole(), RATE, 40, 12, 0.0)
    with pytest.raises(OptionError, match="halve"):
        network(noise(1), torch.tensor([RATE]))


def test_spectrum_dropout_hides_stretches_of_bands_and_frames_while_training() -> None:
    torch.manual_seed(0)
    hide, features = SpectrumDropout(0.3), torch.ones(200, 50, 40)
    lengths = torch.full((200,), 50)
    features[:, 25:] = 0
    lengths[:] = 25
    seen, same = hide.train()(features, lengths)
    assert same is lengths
    hidden = (seen == 0) & inside(lengths, 50)[..., None]
    bands, frames = hidden[:, :25].all(1).float().mean(1), hidden[:, :25].all(2).float().mean(1)
    assert 0.15 < float(bands.mean()) < 0.35  # two stretches of 15 % each on average, less what they share
    assert 0.06 < float(frames.mean()) < 0.2
    assert float(bands.max()) <= 0.65
    assert torch.equal(hide.eval()(features, lengths)[0], features)
