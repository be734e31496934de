"""Ragged: examples of different lengths, such as the boxes of images, the samples of recordings, the tokens of texts."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ragged:
    """All values in one tensor, and where each example's begin."""

    values: Tensor
    """(values of all examples, ...)."""
    offsets: Tensor
    """(examples + 1,) int64: example i has the values from offsets[i] up to offsets[i + 1]."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return self.values.nbytes + self.offsets.nbytes

    @property
    def lengths(self) -> Tensor:
        """(examples,) int64."""
        return self.offsets.diff()

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The examples at ``rows``, padded with zeros at their ends.

        Returns:
            (rows, longest of them, ...) values, and (rows,) lengths.
        """
        begins = self.offsets[rows]
        lengths = self.offsets[rows + 1] - begins
        row = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), lengths)  # (values,): of the batch
        place = torch.arange(len(row), device=rows.device) - (lengths.cumsum(0) - lengths)[row]  # within its example
        longest = int(lengths.max()) if len(rows) else 0
        padded = self.values.new_zeros((len(rows), longest, *self.values.shape[1:]))
        padded[row, place] = self.values.index_select(0, begins[row] + place)
        return padded, lengths

    def to(self, device: torch.device) -> "Ragged":
        """The same on ``device``."""
        return Ragged(self.values.to(device), self.offsets.to(device))
