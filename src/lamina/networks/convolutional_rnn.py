"""The recurrent network for speech: convolutions, then gated recurrent units in both directions.

In:  log-mel features (batch, frames, bands), and how many frames each has.
Out: features (batch, frames / 2, width), and their lengths.

The form of Deep Speech 2 (Amodei et al. 2015, arXiv:1512.02595), with the GRU of Cho et al. 2014 (arXiv:1406.1078) and layer
normalisation (Ba et al. 2016, arXiv:1607.06450), which sees one frame at a time, so that padding changes nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lamina.layers.log_mel import inside
from lamina.layers.shapes import Recording
from lamina.layers.sound_front import SoundFront
from lamina.plan import Plan


@dataclass(frozen=True)
class Size:
    """Channels of the convolutions, units of each direction, and layers."""

    channels: int
    units: int
    layers: int


takes = Recording
SIZES = {
    "tiny": Size(8, 48, 1),
    "small": Size(24, 128, 2),
    "medium": Size(32, 256, 3),
    "large": Size(32, 512, 4),
}
DROPOUT = 0.3


class Bidirectional(nn.Module):
    """One GRU forwards and one backwards, each from the recording's own end, side by side, with a residual path.

    The one that reads backwards gets the recording turned around, its padding still behind: padding is never read before sound.
    """

    def __init__(self, units: int, dropout: float) -> None:
        super().__init__()
        self.forwards = nn.GRU(2 * units, units, batch_first=True)
        self.backwards = nn.GRU(2 * units, units, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(2 * units)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(batch, frames, 2 units) of the same shape."""
        place = torch.arange(features.shape[1], device=features.device)
        turned = torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)[..., None]
        there, _ = self.forwards(features)
        back, _ = self.backwards(features.gather(1, turned.expand_as(features)))
        back = back.gather(1, turned.expand_as(back))
        found: Tensor = self.norm(features + self.dropout(torch.cat([there, back], 2)))
        return found


class Network(nn.Module):
    """The convolutions and the recurrent layers."""

    def __init__(self, shape: Recording, size: Size, dropout: float) -> None:
        super().__init__()
        self.width = 2 * size.units
        self.front = SoundFront(shape.bands, size.channels, self.width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Bidirectional(size.units, dropout) for _ in range(size.layers))

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, frames, bands) → (batch, frames / 2, width), and the lengths."""
        found, lengths = self.front(features, lengths)
        found = self.dropout(found)
        for layer in self.layers:
            found = layer(found, lengths)
        return found * inside(lengths, found.shape[1])[..., None], lengths


def default_size(shape: Recording, examples: int) -> str:
    """By the number of recordings."""
    return "tiny" if examples < 1_000 else "small" if examples < 20_000 else "medium"


def plan(shape: Recording, examples: int) -> Plan:
    """AdamW, down to zero; as many epochs as make 3,000 steps, between 20 and 300."""
    batch = 32 if examples >= 2048 else 8
    epochs = min(300, max(20, round(3000 * batch / max(1, examples))))
    return Plan(
        epochs,
        None,
        batch,
        optimizer="adamw",
        lr=0.002 if examples >= 2048 else 0.005,
        weight_decay=0.01,
        warmup=0.1,
        clip=1.0,
    )


def build(shape: Recording, size: str, dropout: float | None = None) -> nn.Module:
    """Build the network for features of this many bands."""
    return Network(shape, SIZES[size], DROPOUT if dropout is None else dropout)
