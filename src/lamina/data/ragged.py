"""Ragged: examples of different lengths, such as the boxes of images, the samples of recordings, the tokens of texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lamina.batch import beside


@dataclass(frozen=True)
class Ragged:
    """All values in one tensor, and where each example's begin."""

    values: Tensor
    """(values of all examples and a margin, ...): behind the last come as many more as the longest example has, so that
    a window of any example's length can be laid at each example's beginning."""
    offsets: Tensor
    """(examples + 1,) int64: example i has the values from offsets[i] up to offsets[i + 1]. On the CPU wherever the values are:
    how long a batch's examples are is asked before each, and an accelerator would have to be waited for."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, column: np.ndarray) -> "Ragged":
        """The same of what an encoder gave: (examples,) objects, each an array."""
        lengths = [len(array) for array in column]
        values = np.concatenate([*column, np.zeros((max(lengths), *column[0].shape[1:]), column[0].dtype)])
        return cls(torch.from_numpy(values), torch.from_numpy(np.cumsum([0, *lengths])))

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
            (rows, longest of them, ...) values, and (rows,) lengths, where the values are.
        """
        begins, longest, values = self.offsets[rows], self.longest(rows), self.values
        lengths = beside(self.offsets[rows + 1] - begins, values)
        windows = values.as_strided(
            (len(values) - longest + 1, longest, *values.shape[1:]), (values.stride(0), *values.stride())
        )  # overlap, and are copied only where they are chosen
        outside = torch.arange(longest, device=values.device) >= lengths[:, None]  # (rows, longest)
        padded = windows.index_select(0, beside(begins, values))
        return padded.masked_fill_(outside.view(*outside.shape, *[1] * (values.ndim - 1)), 0), lengths

    def longest(self, rows: Tensor) -> int:
        """The length of the longest of the examples at ``rows``."""
        return int((self.offsets[rows + 1] - self.offsets[rows]).max()) if len(rows) else 0

    def to(self, device: torch.device) -> "Ragged":
        """The same with the values on ``device``."""
        return Ragged(self.values.to(device), self.offsets)


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Batches of examples one after the other; where they were padded to different lengths, all are padded to the longest.

    Args:
        tensors: (examples, ...) each, of one type; zeros are added at the ends of the other dimensions.
    """
    longest = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    if all(list(tensor.shape[1:]) == longest for tensor in tensors):
        return torch.cat(list(tensors))
    whole = tensors[0].new_zeros(sum(map(len, tensors)), *longest)
    start = 0
    for tensor in tensors:
        whole[(slice(start, start + len(tensor)), *map(slice, tensor.shape[1:]))] = tensor
        start += len(tensor)
    return whole


def ragged(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """What an encoder gives for examples of different lengths: (examples,) objects, each of them an array.

    NumPy alone would make a grid of them where they happen to be equally long.

    Args:
        arrays: of one type, (length, ...) each, with all dimensions equal but the first.
    """
    column = np.empty(len(arrays), dtype=object)
    for place, array in enumerate(arrays):
        column[place] = array
    return column
