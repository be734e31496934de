"""Log-mel features of sound, computed on whole batches on the device (Davis & Mermelstein 1980).

In:  (batch, samples) integers, and how many each has.
Out: (batch, frames, bands) floats, zeros behind the end of each, and how many frames each has.
"""

import math

import torch
from torch import Tensor, nn

WINDOW = 0.025  # seconds that a frame sees
HOP = 0.010  # seconds from one frame to the next
LOWEST = 60.0  # Hz
RANGE = 1e-4  # of a recording's highest power in a band: 40 dB below it, nothing is told apart
_FLOOR = 1e-7  # of the power: about the noise of 16 bits
_FULL = 32768.0


class LogMel(nn.Module):
    """Power spectra of windows, summed in bands of the mel scale; logarithms; the mean of each band taken away.

    How quiet a room is between the words says nothing about them, so all that is far below the loudest is the same.

    What a recording's channel multiplies, a microphone or a room, adds a constant to each band, so it goes with the mean
    (Atal 1974); one deviation divides all bands, so that loud and quiet bands stay comparable.
    """

    taper: Tensor
    filters: Tensor

    def __init__(self, rate: int, bands: int) -> None:
        super().__init__()
        self.window = round(WINDOW * rate)
        self.hop = hop_of(rate)
        self.size = 2 ** math.ceil(math.log2(self.window))
        self.register_buffer("taper", torch.hann_window(self.window), persistent=False)
        self.register_buffer("filters", mel_filters(rate, self.size, bands), persistent=False)

    def forward(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features (batch, frames, bands) of (batch, samples), and their lengths."""
        frames = ((lengths - self.window).clamp(min=0) // self.hop + 1).long()
        longest = int(frames.max())
        needed = (longest - 1) * self.hop + self.window
        sound = nn.functional.pad(audio[:, :needed].float() / _FULL, (0, max(0, needed - audio.shape[1])))
        with torch.autocast(sound.device.type, enabled=False):
            pieces = sound.unfold(1, self.window, self.hop) * self.taper  # (batch, frames, window)
            power = torch.fft.rfft(pieces, self.size).abs().square()
            bands = power @ self.filters  # (batch, frames, bands)
            logarithms = (bands + RANGE * bands.amax((1, 2), keepdim=True) + _FLOOR).log()
            there = inside(frames, longest)[..., None]
            count = frames[:, None, None]
            mean = (logarithms * there).sum(1, keepdim=True) / count
            centred = (logarithms - mean) * there
            deviation = (centred.square().sum((1, 2), keepdim=True) / (count * logarithms.shape[2])).sqrt()
            return centred / (deviation + 0.1), frames


def hop_of(rate: int) -> int:
    """Samples from one frame to the next: whole ones, so that a frame takes ``HOP`` seconds only of rates that it divides."""
    return round(HOP * rate)


def inside(lengths: Tensor, longest: int) -> Tensor:
    """(batch, longest) whether a place is before the end."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def mel_filters(rate: int, size: int, bands: int) -> Tensor:
    """Triangles that overlap by half, evenly spaced on the mel scale of O'Shaughnessy (1987), mel = 2595 log10(1 + f / 700).

    Args:
        rate: samples per second.
        size: of the Fourier transform.
        bands: how many.

    Returns:
        (size // 2 + 1, bands) weights; the highest of each band is 1.
    """

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    edges = torch.linspace(mel(LOWEST), mel(rate / 2), bands + 2, dtype=torch.float64)
    edges = 700 * (10 ** (edges / 2595) - 1)
    hertz = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()
