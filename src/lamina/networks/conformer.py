"""The conformer (Gulati et al. 2020, arXiv:2005.08100): convolutions that subsample, then blocks of attention and convolution.

In:  log-mel features (batch, frames, bands), and how many frames each has.
Out: features (batch, frames / 2, width), and their lengths.

    block       half an MLP, attention, convolution, half an MLP, each added to what came in; then a norm
    positions   rotate queries and keys (Su et al. 2021, arXiv:2104.09864) in place of relative encodings
    norm        of each frame alone (Ba et al. 2016, arXiv:1607.06450), also where the paper takes batch normalisation, so that
                padding and the rest of the batch change nothing
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.layers.log_mel import inside
from lamina.layers.shapes import Recording
from lamina.layers.sound_front import SoundFront
from lamina.plan import Plan


@dataclass(frozen=True)
class Size:
    """Channels of the first convolutions, width, heads of attention and blocks."""

    channels: int
    width: int
    heads: int
    blocks: int


takes = Recording
SIZES = {
    "tiny": Size(8, 64, 2, 2),
    "small": Size(24, 144, 4, 4),
    "medium": Size(32, 256, 4, 8),
    "large": Size(32, 512, 8, 12),
}
DROPOUT = 0.1
KERNEL = 15  # frames that a convolution joins


class Feedforward(nn.Sequential):
    """A norm, four times the width with SiLU, and back."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )


class Attention(nn.Module):
    """Every frame looks at all frames of its recording."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, there: Tensor) -> Tensor:
        """(batch, frames, width), and (batch, frames) whether a frame is one."""
        batch, frames, width = features.shape
        query, key, value = self.into(self.norm(features)).view(batch, frames, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            rotated(query), rotated(key), value, attn_mask=there[:, None, None, :]
        )  # (batch, heads, frames, width / heads)
        found: Tensor = self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, frames, width)))
        return found


class Convolution(nn.Module):
    """A gate, then a convolution of each channel alone over ``KERNEL`` frames."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.middle = nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, there: Tensor) -> Tensor:
        """(batch, frames, width), and (batch, frames) whether a frame is one."""
        gated = functional.glu(self.into(self.norm(features)), 2) * there[..., None]
        mixed = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        found: Tensor = self.dropout(self.out(functional.silu(self.middle(mixed))))
        return found


class Block(nn.Module):
    """Half an MLP, attention, convolution, half an MLP."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.before, self.after = Feedforward(width, dropout), Feedforward(width, dropout)
        self.attention = Attention(width, heads, dropout)
        self.convolution = Convolution(width, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor, there: Tensor) -> Tensor:
        """(batch, frames, width), and (batch, frames) whether a frame is one."""
        features = features + 0.5 * self.before(features)
        features = features + self.attention(features, there)
        features = features + self.convolution(features, there)
        found: Tensor = self.norm(features + 0.5 * self.after(features))
        return found


class Network(nn.Module):
    """The convolutions and the blocks."""

    def __init__(self, shape: Recording, size: Size, dropout: float) -> None:
        super().__init__()
        self.width = size.width
        self.front = SoundFront(shape.bands, size.channels, size.width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(size.width, size.heads, dropout) for _ in range(size.blocks))

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, frames, bands) → (batch, frames / 2, width), and the lengths."""
        found, lengths = self.front(features, lengths)
        found = self.dropout(found)
        there = inside(lengths, found.shape[1])
        for block in self.blocks:
            found = block(found, there)
        return found * there[..., None], lengths


def rotated(vectors: Tensor) -> Tensor:
    """(..., frames, width), each pair of numbers turned by an angle that grows with the frame."""
    frames, width = vectors.shape[-2:]
    speeds = 10_000.0 ** (-torch.arange(0, width, 2, device=vectors.device) / width)
    angle = torch.arange(frames, device=vectors.device)[:, None] * speeds  # (frames, width / 2)
    cosine, sine = angle.cos().to(vectors.dtype), angle.sin().to(vectors.dtype)
    one, two = vectors.chunk(2, -1)
    return torch.cat([one * cosine - two * sine, one * sine + two * cosine], -1)


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
        lr=0.001 if examples >= 2048 else 0.002,
        weight_decay=0.05,
        warmup=0.1,
        clip=1.0,
    )


def build(shape: Recording, size: str, dropout: float | None = None) -> nn.Module:
    """Build the network for features of this many bands."""
    return Network(shape, SIZES[size], DROPOUT if dropout is None else dropout)
