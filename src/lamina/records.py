"""Step and Epoch: what the loop yields, and all that a monitor ever sees."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """A stretch of optimizer steps, up to and including ``step``."""

    step: int
    """Optimizer steps taken since the start."""
    epoch: int
    """The epoch that is under way, from 1."""
    t: float
    """Share of the budget that is spent, 0 to 1."""
    loss: dict[str, float]
    """Per player, the mean loss per example over the stretch."""
    lr: float
    """Learning rate of the last step."""
    gradient_norm: float
    """Norm of the gradient before clipping, of the last step that measured it."""
    examples_per_s: float
    """Training examples per second over the stretch."""
    micro_batches: int
    """Pieces in which a batch goes through the network; more than planned once memory ran out."""
    seconds: float
    """Time since the start of training, pauses between resumed parts left out."""
    layers: dict[str, list[float]] = field(default_factory=dict)
    """Of the last step, by the weight's name: lengths of the gradient, of the weights, of their change as a share of
    that, and the share of units to which no gradient flowed."""
    highest: tuple[int, float] | None = None
    """The step of the stretch with the highest loss of the first player, and that loss."""
    norms: dict[str, float] = field(default_factory=dict)
    """Of the last step, by the name of a layer that normalises over the batch: how far the batch's statistics lay from
    those with which the network is evaluated, in nats per channel."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the training part, and the scores after it."""

    epoch: int
    step: int
    t: float
    loss: dict[str, float]
    """Per player, the mean training loss over the epoch (with augmentation and dropout)."""
    train: dict[str, float]
    """Metrics on a fixed sample of the training part, as it is: comparable with ``valid``."""
    valid: dict[str, float]
    """Metrics on the validation part."""
    seconds: float
    """Duration of this epoch, evaluation included."""
    examples_per_s: float
    """Training examples per second, evaluation not counted."""
    spent: dict[str, float]
    """Seconds by phase: data, forward, backward, optimizer, evaluation, checkpoints, other."""
    best: bool
    """Whether these are the best weights so far, judged by the task's first metric on the validation part."""
    samples: list[dict[str, Any]] = field(default_factory=list)
    """What the network makes up by now, for a person to look at, where its task is to generate."""
    classes: dict[str, list[float]] = field(default_factory=dict)
    """By class: validation examples of it, validation examples that were answered so, and the first metric that should
    fall, on the training sample and on the validation part."""
    varied: list[float] = field(default_factory=list)
    """The loss on a few training examples as they are, and varied as for training; both without dropout."""
