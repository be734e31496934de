"""The recogniser of speech: sound in, log-probabilities of characters for each frame out (Graves et al. 2006).

LogMel → SpectrumDropout (while training) → backbone → linear → log-softmax
"""

import torch
from torch import Tensor, nn

from lamina.errors import OptionError
from lamina.layers.log_mel import LogMel, inside

CHUNK = 30.0  # seconds that are read at once; longer recordings are read in pieces
OVERLAP = 4.0  # seconds that neighbouring pieces share; each answers for its side of the middle


class Recogniser(nn.Module):
    """A backbone between the features of sound and the scores of characters.

    Outputs behind the end of a recording are all zero, which no distribution is: so they tell their lengths themselves.
    """

    def __init__(self, backbone: nn.Module, rate: int, bands: int, vocabulary: int, mask: float) -> None:
        super().__init__()
        self.rate = rate
        self.sound = LogMel(rate, bands)
        self.hide = SpectrumDropout(mask)
        self.backbone = backbone
        self.head = nn.Linear(int(backbone.width), vocabulary)  # type: ignore[arg-type]

    def forward(self, audio: Tensor, audio_lengths: Tensor) -> Tensor:
        """(batch, frames, vocabulary) log-probabilities of (batch, samples); index 0 is the blank."""
        heard, frames = self.sound(audio, audio_lengths)
        features, lengths = self.backbone(*self.hide(heard, frames))
        if features.shape[1] != (heard.shape[1] + 1) // 2:
            what = f"it makes {features.shape[1]} frames of {heard.shape[1]}; it has to halve them, rounded up."
            raise OptionError(what, "network", "Let its convolutions have a stride of 2 in all.")
        scores = self.head(features).float().log_softmax(2)
        found: Tensor = scores * inside(lengths, scores.shape[1])[..., None]
        return found

    def read(self, audio: Tensor, audio_lengths: Tensor) -> Tensor:
        """The same for recordings of any length: those longer than ``CHUNK`` are read in pieces that overlap."""
        if audio.shape[1] <= CHUNK * self.rate:
            found: Tensor = self(audio, audio_lengths)
            return found
        rows = [self._pieces(row[:length][None]) for row, length in zip(audio, audio_lengths.tolist(), strict=True)]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def _pieces(self, audio: Tensor) -> Tensor:
        """(frames, vocabulary) of (1, samples)."""
        frame = 2 * self.sound.hop  # samples from one frame of the outputs to the next
        half = round(OVERLAP / 2 * self.rate / frame)  # frames
        step = round(CHUNK * self.rate / frame) - 2 * half
        made: list[Tensor] = []
        start, last = 0, False
        while not last:
            piece = audio[:, start * frame : (start + step + 2 * half) * frame]
            last = (start + step + 2 * half) * frame >= audio.shape[1]
            scores = self(piece, torch.tensor([piece.shape[1]], device=audio.device))[0]
            made.append(scores[half if start else 0 : len(scores) if last else step + half])
            start += step
        return torch.cat(made)


class SpectrumDropout(nn.Module):
    """SpecAugment (Park et al. 2019, arXiv:1904.08779): while training, hide stretches of time and of the mel scale.

    Args:
        strength: share of the bands, and of the frames, that one stretch hides at most; two of each are drawn.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, frames, bands) with zeros, which are the mean, where something is hidden; the lengths as they were."""
        if self.training and self.strength:
            for _ in range(2):
                bands = torch.full_like(lengths, features.shape[2])
                features = features * _stripe(bands, features.shape[2], self.strength)[:, None, :]
                features = features * _stripe(lengths, features.shape[1], self.strength / 2)[:, :, None]
        return features, lengths


def _stripe(sizes: Tensor, longest: int, strength: float) -> Tensor:
    """(batch, longest) ones, and zeros in one stretch of each."""
    width = torch.rand(len(sizes), device=sizes.device) * strength * sizes
    begin = torch.rand(len(sizes), device=sizes.device) * (sizes - width)
    place = torch.arange(longest, device=sizes.device)
    return ((place < begin[:, None]) | (place >= (begin + width)[:, None])).float()
