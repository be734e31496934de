"""Batch and Loss: what goes into a network, and what a task says about what came out."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """Examples, stacked: named tensors whose first dimension counts examples."""

    inputs: Tensors
    """What the network sees, by the name of its ``forward`` argument."""
    targets: Tensors
    """What only the losses and metrics see."""
    carried: Tensors = field(default_factory=dict)
    """What the network remembers of the batch before, whose rows these continue; empty at the start of a stream."""

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def bytes(self) -> int:
        """What the batch takes in memory."""
        return sum(tensor.nbytes for tensors in (self.inputs, self.targets) for tensor in tensors.values())

    def to(self, device: torch.device) -> "Batch":
        """The same batch on ``device``."""
        behind = device.type == "cuda"  # Apple's GPU would read memory that has been given to something else by then
        return self._each(lambda tensor: tensor.to(device, non_blocking=behind))

    def pinned(self) -> "Batch":
        """The same batch in memory from which an accelerator copies while it computes."""
        return self._each(lambda tensor: tensor.pin_memory() if tensor.device.type == "cpu" else tensor)

    def pieces(self, count: int) -> list["Batch"]:
        """Cut into at most ``count`` batches of nearly equal length (micro-batches)."""
        count = min(count, len(self))
        if count == 1:
            return [self]
        return [self._each(lambda tensor, i=i: tensor.tensor_split(count)[i]) for i in range(count)]  # type: ignore[misc]

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same batch, each of its tensors changed."""
        inputs, targets, carried = (
            {name: change(tensor) for name, tensor in tensors.items()}
            for tensors in (self.inputs, self.targets, self.carried)
        )
        return Batch(inputs, targets, carried)


def beside(tensor: Tensor, other: Tensor) -> Tensor:
    """A tensor on the device of another; CUDA takes it while it computes."""
    pinned = tensor.pin_memory() if other.is_cuda and not tensor.is_cuda else tensor
    return pinned.to(other.device, non_blocking=other.is_cuda)


@dataclass(frozen=True)
class Loss:
    """A loss is a sum and a count, never a mean: so the gradient does not depend on how a batch was cut up."""

    player: str
    """Whose weights this loss moves: the name of a submodule, or "network" for all of it."""
    total: Tensor
    """Sum over the examples; a scalar with a gradient."""
    count: Tensor | float
    """What to divide by: examples, tokens, or the sum of their weights."""
    terms: dict[str, Tensor] = field(default_factory=dict)
    """Named sums that together make ``total``, for the log; may be empty."""
    carried: Tensors = field(default_factory=dict)
    """What the network remembers at the end of the batch, without gradient; the first dimension counts examples."""
    each: Tensor | None = None
    """What each example's loss was, (batch,), before weights and without gradient; only where a feed asks by the target
    ``row``. A task that tells it weighs examples by the target ``weight``: then easy ones can be spared."""
