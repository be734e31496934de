"""Feed: how an epoch of training goes through the store.

In go the store's rows that train; out come the batches of an epoch, in an order that follows from a generator. Most tasks take
their examples shuffled; a stream of text takes windows that continue one another.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lamina.batch import Batch, Tensors

POOL = 8  # batches among whose examples those of similar lengths are put together


class Feed(ABC):
    """The batches of an epoch. What ``batches`` picks, ``batch`` gathers: picking is cheap, so an epoch is picked at once."""

    carries: bool = False
    """Whether each row of a batch continues the same row of the batch before: then what the network remembers is carried."""

    @abstractmethod
    def __len__(self) -> int:
        """How many examples an epoch has."""

    @property
    def amount(self) -> int:
        """How much there is to learn from, by which a network's size is chosen: examples; of a stream, tokens."""
        return len(self)

    @abstractmethod
    def steps(self, batch_size: int) -> int:
        """How many batches an epoch has; no example is dropped."""

    @abstractmethod
    def batches(self, batch_size: int, generator: np.random.Generator) -> list[Tensor]:
        """An epoch: what each of its batches is made of, (examples, ...)."""

    @abstractmethod
    def batch(self, picked: Tensor) -> Batch:
        """The examples that were picked."""

    def plain(self, picked: Tensor) -> Batch:
        """The same, each counting as it does where nobody chooses how often it comes."""
        return self.batch(picked)

    def heed(self, rows: Tensor, losses: Tensor) -> None:  # noqa: B027 - most feeds have no use for it
        """What the losses of some rows were, (batch,) each: told where a batch had the target ``row``."""

    def turn(self, t: float) -> None:  # noqa: B027 - most feeds have no use for it
        """Another epoch begins when the share ``t`` of the budget is spent."""

    def remembered(self) -> Tensors:
        """What it knows of training so far, for a checkpoint; mostly nothing."""
        return {}

    def recall(self, remembered: Tensors) -> None:  # noqa: B027 - most feeds have no use for it
        """Know this again."""


class Once(Feed):
    """Each of some rows of the store once an epoch, in batches of nearly equal length."""

    def __init__(self, rows: Tensor, gather: Callable[[Tensor], Batch]) -> None:
        self.rows, self.gather = rows, gather

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self, batch_size: int) -> int:
        """How many batches an epoch has."""
        return max(1, -(-len(self.rows) // batch_size))


class Shuffled(Once):
    """In an order of its own each epoch."""

    def batches(self, batch_size: int, generator: np.random.Generator) -> list[Tensor]:
        """The rows of each batch."""
        order = torch.from_numpy(generator.permutation(len(self.rows)))
        return list(self.rows[order].tensor_split(self.steps(batch_size)))

    def batch(self, picked: Tensor) -> Batch:
        """The examples at these rows of the store."""
        return self.gather(picked)


class Alike(Once):
    """In batches whose examples have similar lengths, so that little is padding.

    The rows are shuffled, sorted by length among some batches' worth of them, and the batches are shuffled again (the
    bucketing of Khomenko et al. 2016). ``room`` adds places behind the longest: augmentation that stretches needs them.
    """

    def __init__(
        self, rows: Tensor, lengths: Tensor, gather: Callable[[Tensor], Batch], name: str, room: float
    ) -> None:
        super().__init__(rows, gather)
        self.lengths, self.name, self.room = lengths, name, room

    def batches(self, batch_size: int, generator: np.random.Generator) -> list[Tensor]:
        """The rows of each batch."""
        order = torch.from_numpy(generator.permutation(len(self.rows)))
        pool = POOL * batch_size
        order = torch.cat([some[self.lengths[some].argsort(stable=True)] for some in torch.split(order, pool)])
        batches = list(self.rows[order].tensor_split(self.steps(batch_size)))
        return [batches[index] for index in generator.permutation(len(batches))]

    def batch(self, picked: Tensor) -> Batch:
        """The examples at these rows of the store."""
        batch = self.gather(picked)
        long = batch.inputs[self.name]
        padded = torch.nn.functional.pad(long, (0, round(self.room * long.shape[1])))
        return Batch(batch.inputs | {self.name: padded}, batch.targets)
