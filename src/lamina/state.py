"""State: all that changes while a network is trained.

All randomness is a function of (seed, step) or (seed, epoch), so no random state has to be kept: a resumed run shuffles,
augments and drops out exactly as the one that was never interrupted.
"""

import hashlib
import math
import time
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lamina import optimizers
from lamina.account import Account
from lamina.batch import Loss, Tensors
from lamina.data.feed import Feed
from lamina.data.sparing import sparing
from lamina.execution import Execution
from lamina.inspection import Inspected, Inspection, inspectable
from lamina.memory import where_it_fits
from lamina.plan import Plan

LARGEST_SCALE = 2.0**16  # of float16 losses, to begin with
GROWTH = 2000  # steps without an overflow after which the scale is doubled


class State:
    """Weights, optimizers, averaged weights, and the position in the data."""

    def __init__(self, network: nn.Module, plan: Plan, feed: Feed, execution: Execution | None = None) -> None:
        self.network = network
        self.plan = plan
        self.feed = sparing(feed, plan.spare)  # of the examples that train
        self.execution = execution or Execution()
        self.worker = self.execution.worker(network)  # what runs forward and backward; mostly the network itself
        self.buffers = list(self.worker.buffers())
        self._parameters = [*network.parameters(), *(self.worker.parameters() if self.worker is not network else ())]
        self.optimizers: dict[str, Optimizer] = {}
        self.average = deepcopy(network).requires_grad_(False) if plan.ema else None
        self.account = Account(self.execution.device)
        self.step = 0  # optimizer steps taken
        self.epoch = 0  # epochs finished
        self.position = 0  # batches done in the epoch under way
        self.examples = 0  # seen in the epoch under way
        self.micro_batches = plan.micro_batches  # pieces of a batch; more once memory ran out
        self.scale = LossScale(LARGEST_SCALE if self.execution.precision == "float16" else 1.0)
        self.evaluated = 0.0  # examples at the end of each epoch, in those of training
        self.reserve = 0.0  # seconds of a budget in time that the last evaluation will need
        self.seconds = 0.0  # of training, over all parts of a resumed run
        self.epoch_began = 0.0  # at which of those seconds
        self.train_seconds = 0.0  # of the epoch under way, evaluation left out
        self.best: float | None = None  # validation score of the best epoch
        self.stale = 0  # epochs since then
        self.sums = Sums({})  # of the losses in the epoch under way
        self.inspected: Inspected | None = None  # what a step did to each layer; None where nobody asks
        self.norms: dict[str, float] = {}  # likewise, how far its batch lay from the running statistics
        self._inspectable = inspectable(network)
        buffers = network.named_buffers(remove_duplicate=False)
        self._infinite = {name for name, buffer in buffers if not _is_finite(buffer)}  # such as masks
        self.told: Tensor | None = None  # each example's loss in the last step, where the task says it
        self.carried: Tensors = {}  # what the network remembers of the batch before
        self._generator: torch.Generator | None = None
        self.started = time.monotonic()

    def t(self) -> float:
        """The share of the budget that is spent: in steps, or in time where that is more."""
        spent = self.step / (self.plan.epochs * self.feed.steps(self.plan.batch_size))
        if self.plan.budget is None:
            return spent
        return min(1.0, max(spent, (self.tick() + self.reserve) / self.plan.budget))

    def finished(self) -> bool:
        """Whether the budget is spent, or the validation score has not improved for too long; never within an epoch, which is
        to be scored, and never before the first."""
        if self.epoch == 0 or self.position:
            return False
        return self.t() >= 1 or (self.plan.patience is not None and self.stale >= self.plan.patience)

    def tick(self) -> float:
        """Seconds of training up to now."""
        self.seconds = time.monotonic() - self.started
        return self.seconds

    def batches(self) -> list[Tensor]:
        """This epoch's batches, as the feed picks them."""
        return self.feed.batches(self.plan.batch_size, np.random.default_rng([self.plan.seed, self.epoch]))

    def generator(self, device: torch.device) -> torch.Generator:
        """Randomness of this step's augmentation; dropout's is seeded here too."""
        self.reseed()
        if self._generator is None:
            self._generator = torch.Generator(device)
        return self._generator.manual_seed(stream(self.plan.seed, 2, self.step))

    def reseed(self) -> None:
        """Seed what the network draws in this step, such as dropout's masks."""
        seed_everywhere(stream(self.plan.seed, 1, self.step), self.execution.device)

    def advance(self, examples: int) -> None:
        """A step is done: average the weights, count."""
        self.step += 1
        self.position += 1
        self.examples += examples
        if self.average is not None and self.plan.ema is not None:
            average(self.average, self.network, min(self.plan.ema, self.step / (10 + self.step)))  # faster at the start

    def judge(self, score: float, better: str) -> bool:
        """Whether the weights are the best so far, by their validation score; until one is a number, the latest are."""
        sign = 1 if better == "higher" else -1
        best = not math.isnan(score) and (self.best is None or sign * score > sign * self.best)
        self.best, self.stale = (score, 0) if best else (self.best, self.stale + 1)
        return best or self.best is None

    def close(self) -> tuple[int, float, float, dict[str, float]]:
        """Go to the next epoch; this one's examples, seconds, seconds without evaluation, and seconds by phase."""
        closed = self.examples, self.tick() - self.epoch_began, self.train_seconds, self.account.close()
        self.epoch, self.position, self.examples, self.sums = self.epoch + 1, 0, 0, Sums({})
        self.carried = {}
        self.feed.turn(self.t())
        self.epoch_began, self.train_seconds = self.seconds, 0.0
        return closed

    def optimizer(self, player: str) -> Optimizer:
        """The optimizer of a player's parameters: a submodule of that name, or all of the network."""
        if player not in self.optimizers:
            module = self.network if player == "network" else self.network.get_submodule(player)
            self.optimizers[player] = optimizers.build(module, self.plan)
        return self.optimizers[player]

    def update(self, player: str, count: Tensor | float, lr: float, measured: bool = True) -> Tensor | None:
        """Take one step on the gradient of a sum over ``count`` examples.

        Args:
            player: whose weights move.
            count: what the gradient is divided by, beside the scale of the losses.
            lr: learning rate.
            measured: whether the gradient's norm is wanted; reading it costs a pass over the gradients.

        Returns:
            The norm of the mean's gradient, before clipping; None when nobody needs it.
        """
        optimizer = self.optimizer(player)
        self.execution.collect(self.worker, self.network)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients: list[Tensor] = [p.grad for p in parameters]
        half = self.execution.precision == "float16"
        norm, divisor = None, count * self.scale.value
        if measured or half or self.plan.clip is not None:
            norm = nn.utils.get_total_norm(gradients) / divisor
        if half and norm is not None and not self.scale.sound(norm):
            norm = None
        else:
            factor: Tensor | float = 1 / divisor
            if self.plan.clip is not None and norm is not None:
                factor = factor * (self.plan.clip / (norm + 1e-6)).clamp(max=1.0)
            if isinstance(factor, Tensor) or factor != 1:
                torch._foreach_mul_(gradients, factor)
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get("lr_factor", 1.0)
            wanted = self.inspected is not None
            inspection = where_it_fits(lambda: Inspection(self._weights_of(optimizer))) if wanted else None
            optimizer.step()
            if inspection is not None and self.inspected is not None:
                self.inspected |= where_it_fits(inspection.end) or {}
            self.execution.hand_out(self.network, self.worker)
        self.forget()
        return norm

    def _weights_of(self, optimizer: Optimizer) -> dict[str, nn.Parameter]:
        """What can be inspected of one player's weights."""
        own = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        return {name: weight for name, weight in self._inspectable.items() if id(weight) in own}

    def forget(self) -> None:
        """Drop all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def finite(self) -> bool:
        """Whether training can go on from here: one number that is not finite spoils all that come after."""
        networks = [self.network] if self.average is None else [self.network, self.average]
        numbers = [number for pair in self.sums.settle().values() for number in pair]
        return all(map(math.isfinite, numbers)) and all(
            _is_finite(tensor)
            for network in networks
            for name, tensor in network.state_dict().items()
            if name not in self._infinite
        )

    @property
    def judged(self) -> nn.Module:
        """The network that is evaluated and kept: the one with averaged weights where the plan averages."""
        return self.network if self.average is None else self.average


class Sums:
    """By player, (total, count) of losses. Their values are read late, since reading one waits for the device."""

    def __init__(self, values: dict[str, tuple[float, float]]) -> None:
        self.values = values
        self.highest: tuple[int, float] | None = None  # step and loss of the first player, since it was last asked for
        self._noted: list[tuple[int, Loss]] = []

    def note(self, loss: Loss, step: int) -> None:
        """Remember a loss that has no gradient any more."""
        self._noted.append((step, loss))

    def settle(self) -> dict[str, tuple[float, float]]:
        """Read what was noted, and add it: one by one, so that it does not matter when they are read."""
        if self._noted:
            totals = torch.stack([loss.total for _, loss in self._noted]).tolist()
            tensors = [loss.count.detach() for _, loss in self._noted if isinstance(loss.count, Tensor)]
            read = iter(torch.stack(tensors).tolist() if tensors else [])
            by_step: dict[int, tuple[float, float]] = {}
            for (step, loss), total in zip(self._noted, totals, strict=True):
                before = self.values.get(loss.player, (0.0, 0.0))
                count = next(read) if isinstance(loss.count, Tensor) else loss.count
                self.values[loss.player] = before[0] + total, before[1] + count
                if loss.player == self._noted[0][1].player:
                    known = by_step.get(step, (0.0, 0.0))
                    by_step[step] = known[0] + total, known[1] + count
            means = [(total / (count or 1.0), step) for step, (total, count) in by_step.items()]
            value, step = max(means, key=lambda pair: math.inf if math.isnan(pair[0]) else pair[0])
            if self.highest is None or not value <= self.highest[1]:
                self.highest = step, value
            self._noted.clear()
        return self.values


def mean(sums: tuple[float, float], before: tuple[float, float] | None = None) -> float:
    """From (total, count) to the mean; of what was added since ``before``."""
    total, count = (new - old for new, old in zip(sums, before or (0.0, 0.0), strict=True))
    return total / count if count else math.nan


class LossScale:
    """What float16 losses are multiplied with, so that small gradients do not become zero (Micikevicius et al. 2018)."""

    def __init__(self, value: float, unspoilt: int = 0) -> None:
        self.value = value
        self.unspoilt = unspoilt  # steps since it changed

    def sound(self, norm: Tensor) -> bool:
        """Whether no gradient overflowed: otherwise this step is to be left out, and the scale is halved."""
        sound = bool(norm.isfinite())
        self.unspoilt = self.unspoilt + 1 if sound else 0
        if not sound:
            self.value = max(1.0, self.value / 2)
        elif self.unspoilt % GROWTH == 0:
            self.value *= 2
        return sound


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move averaged weights towards the network's by the share 1 - ``decay`` (Polyak & Juditsky 1992); counters are copied."""
    past, present = ([*module.parameters(), *module.buffers()] for module in (averaged, network))
    pairs = list(zip(past, present, strict=True))
    floats, counters = ([pair for pair in pairs if pair[1].is_floating_point() == wanted] for wanted in (True, False))
    with torch.no_grad():
        torch._foreach_lerp_([old for old, _ in floats], [new for _, new in floats], 1 - decay)
        if counters:
            torch._foreach_copy_([old for old, _ in counters], [new for _, new in counters])


def seed_everywhere(seed: int, device: torch.device) -> None:
    """``torch.manual_seed`` for the CPU and one device; it, itself, spends a millisecond on devices that are not there."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def stream(seed: int, *path: int) -> int:
    """A seed of its own for each use of randomness."""
    digest = hashlib.blake2b(repr((seed, *path)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
