"""The convolutions with which networks for speech begin: they join neighbouring frames and bands, and halve the frames."""

import torch
from torch import Tensor, nn

from lamina.layers.log_mel import inside

STRIDE = 2  # frames of features per frame that comes out


class SoundFront(nn.Module):
    """Two convolutions over time and mel scale; what is behind an end stays zero, so that padding changes nothing.

    A voice of another size shifts its formants along the mel scale, and what convolutions find shifts with them.
    """

    def __init__(self, bands: int, channels: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, (5, 5), stride=(1, 2), padding=2)
        self.second = nn.Conv2d(channels, channels, (5, 3), stride=(2, 2), padding=(2, 1))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))  # of each place, over its channels
        left = ((bands + 1) // 2 + 1) // 2
        self.join = nn.Linear(channels * left, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, frames, bands) → (batch, frames / 2, width), and the lengths."""
        grid = features[:, None]  # (batch, 1, frames, bands)
        for convolution, norm in zip((self.first, self.second), self.norms, strict=True):
            grid = convolution(grid)
            lengths = (lengths + convolution.stride[0] - 1) // convolution.stride[0]
            grid = torch.relu(norm(grid.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
            grid = grid * inside(lengths, grid.shape[2])[:, None, :, None]
        joined: Tensor = self.norm(self.join(grid.permute(0, 2, 1, 3).flatten(2)))
        return joined, lengths
