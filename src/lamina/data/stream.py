"""Stream: tokens that continue one another, cut into windows anew in each epoch.

In go the token ids of texts, one after the other; out come batches of windows and, for each token, the one that follows.
"""

import numpy as np
import torch
from torch import Tensor

from lamina.batch import Batch, beside
from lamina.data.feed import Feed
from lamina.data.ragged import Ragged
from lamina.layers.linear_cross_entropy import IGNORED as IGNORED


class Stream(Feed):
    """Every token of a stream is predicted once an epoch, from those before it in its window.

    Where the network carries its state, a batch is ``batch_size`` lanes: the stream is cut into as many stretches, and each
    batch holds the next window of every stretch (Mikolov et al. 2010). Otherwise the windows come shuffled. The stream is a
    ring, and where its first window begins is drawn anew in each epoch, so that the cuts fall differently.
    """

    def __init__(self, tokens: Tensor, window: int, carries: bool, first: int | None = None) -> None:
        """Wrap ``tokens`` (tokens,), and the one that stands before the ``first`` of them, in windows of ``window`` tokens."""
        self.tokens, self.window, self.carries, self.first = tokens, window, carries, first
        self.length = len(tokens) + (first is not None)

    def __len__(self) -> int:
        return -(-self.length // self.window)

    @property
    def amount(self) -> int:
        """Tokens."""
        return self.length

    def steps(self, batch_size: int) -> int:
        """How many batches an epoch has."""
        if not self.carries:
            return -(-len(self) // batch_size)
        return -(-self._stretch(batch_size) // self.window)

    def batches(self, batch_size: int, generator: np.random.Generator) -> list[Tensor]:
        """Of each batch the windows' first tokens and their lengths, (windows, 2)."""
        begin = int(generator.integers(self.length))
        if not self.carries:
            starts = torch.arange(0, self.length, self.window)
            lengths = (self.length - starts).clamp(max=self.window)
            order = torch.from_numpy(generator.permutation(len(starts)))
            windows = torch.stack([starts + begin, lengths], 1)[order]
            return list(windows.tensor_split(self.steps(batch_size)))
        stretch = self._stretch(batch_size)
        lanes = torch.arange(0, self.length, stretch)  # the last is shorter where they do not come out even
        ends = (lanes + stretch).clamp(max=self.length)
        picked = []
        for done in range(0, stretch, self.window):
            starts = lanes + done
            picked.append(torch.stack([starts + begin, (ends - starts).clamp(0, self.window)], 1))
        return picked

    def batch(self, picked: Tensor) -> Batch:
        """``tokens`` and the ``following`` ones, (windows, longest of them) int64; what lies beyond a window is ``IGNORED``."""
        longest = max(1, int(picked[:, 1].max()))
        picked = beside(picked, self.tokens)
        places = torch.arange(longest + 1, device=picked.device)
        places = (picked[:, :1] + places) % self.length  # (windows, longest + 1); the first token's is behind the last
        found = self.tokens[places.clamp(max=len(self.tokens) - 1)].long()
        if self.first is not None:
            found.masked_fill_(places == len(self.tokens), self.first)
        outside = torch.arange(longest, device=picked.device) >= picked[:, 1:]
        return Batch({"tokens": found[:, :-1]}, {"following": found[:, 1:].masked_fill(outside, IGNORED)})

    def _stretch(self, lanes: int) -> int:
        """Tokens in a lane."""
        return -(-self.length // lanes)


def streamed(column: Ragged, rows: Tensor) -> Tensor:
    """The values of some rows, one after the other; where they lie so already, nothing is copied."""
    begins, ends = column.offsets[rows], column.offsets[rows + 1]
    if bool((begins[1:] == ends[:-1]).all()):
        return column.values[int(begins[0]) : int(ends[-1])]
    return torch.cat([column.values[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)])
