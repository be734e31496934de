"""Trial: copies of the network, with which a check may do what it likes; and Check, what it saw."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lamina.batch import Batch, Loss, Tensors
from lamina.data.feed import Feed
from lamina.data.store import Store
from lamina.descent import descend
from lamina.errors import OptionError
from lamina.execution import Execution
from lamina.findings import Finding
from lamina.plan import Plan
from lamina.state import State
from lamina.tasks.task import Facts, Task

Chooser = Literal["user", "family", "nobody"]
FEW = 16  # examples of a batch that the checks use


@dataclass(frozen=True)
class Check:
    """What a check saw."""

    name: str
    """What should be so, in a few words: "examples are independent"."""
    seen: str
    """One sentence with its numbers."""
    finding: Finding | None = None
    """What is wrong, if something is."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """Curves for the report; JSON."""
    lr: float | None = None
    """The learning rate that should take the place of the plan's."""

    def to_json(self) -> dict[str, Any]:
        """A row of the report's table."""
        passed = self.finding is None
        return {"name": self.name, "seen": self.seen, "passed": passed, "evidence": self.evidence}


class Trial:
    """What the checks may ask for. The network that was given is left as it was.

    Args:
        network: untrained, with the weights that training starts from.
        task: what will be learned.
        facts: what the task learned from the training part.
        store: the encoded examples.
        feed: those that train.
        train: rows of the store that train.
        valid: those that validate.
        plan: how it will be trained.
        execution: how it is run; the checks compute in float32 and compile nothing.
        chooser: who chose the plan's learning rate.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        facts: Facts,
        store: Store,
        feed: Feed,
        train: Tensor,
        valid: Tensor,
        plan: Plan,
        execution: Execution,
        chooser: Chooser,
    ) -> None:
        self.network, self.task, self.facts, self.plan, self.feed = network, task, facts, plan, feed
        self.store, self.rows, self.valid = store, train, valid
        self.execution = replace(execution, precision="float32", compiled=False)
        self.picked = feed.batches(plan.batch_size, np.random.default_rng([plan.seed, 0]))
        first = feed.batch(self.picked[0])
        self.few = self.execution.move(first.pieces(max(1, -(-len(first) // FEW)))[0])
        self.chooser = chooser
        self.deadline, self.examples_per_s = time.monotonic(), math.inf

    def copy(self) -> nn.Module:
        """A network like the one that will be trained, on the device, without dropout: its masks would differ each time."""
        network = self.execution.prepare(deepcopy(self.network)).train()
        for module in network.modules():
            if "dropout" in type(module).__name__.lower():  # of PyTorch or of whoever wrote the network
                module.eval()
        return network

    def batches(self, pieces: int = 1) -> Iterator[Batch]:
        """Batches of the first epoch, or the first of so many pieces of each, varied as training varies them, without end."""
        generator = torch.Generator(self.execution.device).manual_seed(self.plan.seed)
        while True:
            for picked in self.picked:
                piece = self.feed.batch(picked).pieces(pieces)[0]
                yield self.task.augment(self.execution.move(piece), self.facts, generator)

    def train(
        self, network: nn.Module, batches: Iterable[Batch], rate: Callable[[int], float]
    ) -> Iterator[dict[str, float]]:
        """Take a step on each batch, with no weight decay, at the rates given by the step's number; each step's losses."""
        state = State(network, replace(self.plan, ema=None, weight_decay=0.0), self.feed, self.execution)
        before: dict[str, tuple[float, float]] = {}
        for batch in batches:
            state.reseed()
            descend(state, self.task, batch, rate(state.step), True)
            state.advance(len(batch))
            sums = dict(state.sums.settle())
            yield {
                player: (total - before.get(player, (0.0, 0.0))[0]) / (count - before.get(player, (0.0, 0.0))[1] or 1.0)
                for player, (total, count) in sums.items()
            }
            before = sums

    @cached_property
    def alone(self) -> bool:
        """Whether there is one player: of several, what one gains the other loses, and no loss needs to fall."""
        with undisturbed():
            return len({loss.player for loss in self.task.losses(self.copy(), self.few)}) == 1

    def loss(self, network: nn.Module) -> Loss:
        """The first player's loss on the few examples; the same randomness each time."""
        torch.manual_seed(self.plan.seed)
        return next(self.task.losses(network, self.few))

    def allow(self, seconds: float, examples_per_s: float = math.inf) -> None:
        """Say how long all checks together should take, from now on, and how quick training is; the cheap ones are made in any
        case."""
        self.deadline, self.examples_per_s = time.monotonic() + seconds, examples_per_s

    def left(self) -> float:
        """Seconds until the checks should have ended."""
        return self.deadline - time.monotonic()


def fitting(network: nn.Module, task: Task, batch: Batch) -> None:
    """Raise OptionError where a network of the caller's own does not take a batch, or the loss not what it gives."""
    few = batch.pieces(max(1, len(batch) // FEW))[0]
    try:
        next(task.losses(deepcopy(network), few))
    except (RuntimeError, IndexError, ValueError, TypeError, KeyError, AttributeError) as error:
        given = ", ".join(f"{name} {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in few.inputs.items())
        raise OptionError(
            f"the network does not run on a batch, or the loss does not take what it gives ({error}).",
            "network",
            f"It is given {given.replace('torch.', '')}, and must give what {type(task).__name__}.losses takes.",
        ) from error


def tells_each(network: nn.Module, task: Task, facts: Facts, batch: Batch) -> bool:
    """Whether the loss of each example of a batch is told, as training would vary it, where a feed asks for it."""
    few = batch.pieces(max(1, len(batch) // FEW))[0]
    asked = Batch(few.inputs, few.targets | {"row": torch.arange(len(few))})
    with undisturbed(), torch.no_grad():
        loss = next(task.losses(deepcopy(network), task.augment(asked, facts, torch.Generator())))
    return loss.each is not None


def uniform(inputs: Tensors) -> tuple[int, Tensors]:
    """The longest of some examples, its index first, in place of all: so shapes and padding stay the same."""
    lengths = [tensor for name, tensor in inputs.items() if name.endswith("_lengths")]
    index = int(torch.stack(lengths).sum(0).argmax()) if lengths else 0
    repeated = {name: tensor[index : index + 1].expand_as(tensor).contiguous() for name, tensor in inputs.items()}
    return index, repeated


def outputs(trial: Trial, network: nn.Module, inputs: Tensors) -> Tensor:
    """What a network says of inputs, float32 on the CPU, as when it is evaluated."""
    with torch.inference_mode():
        return trial.task.outputs(network.eval(), inputs).float().cpu()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave the randomness of the process as it was: checks change nothing of the training that follows."""
    with torch.random.fork_rng(devices=[]):  # on accelerators each step seeds anew
        yield
