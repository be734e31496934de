"""State: all that changes while a network is trained, and how it becomes bytes and comes back.

All randomness is a function of (seed, step) or (seed, epoch), so no random state has to be kept: a resumed run shuffles,
augments and drops out exactly as the one that was never interrupted.
"""

import hashlib
import json
import math
import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.optim import Optimizer

from lamina import optimizers
from lamina.errors import RunError
from lamina.findings import Finding
from lamina.plan import Plan
from lamina.run import Run

KEPT = 2
"""Checkpoints in a run: when the newest turns out to be damaged, the one before serves."""


class State:
    """Weights, optimizers, averaged weights, and the position in the data."""

    def __init__(self, network: nn.Module, plan: Plan, rows: Tensor) -> None:
        self.network = network
        self.plan = plan
        self.rows = rows  # of the store; those that train
        self.optimizers: dict[str, Optimizer] = {}
        self.average = deepcopy(network).requires_grad_(False) if plan.ema else None
        self.step = 0  # optimizer steps taken
        self.epoch = 0  # epochs finished
        self.position = 0  # batches done in the epoch under way
        self.examples = 0  # seen in the epoch under way
        self.seconds = 0.0  # of training, over all parts of a resumed run
        self.epoch_began = 0.0  # at which of those seconds
        self.train_seconds = 0.0  # of the epoch under way, evaluation left out
        self.best: float | None = None  # validation score of the best epoch
        self.stale = 0  # epochs since then
        self.sums: dict[str, Tensor] = {}  # by player, (total, count) of the losses in the epoch under way
        self._started = time.monotonic()

    def t(self) -> float:
        """The share of the budget that is spent: in steps, or in time where that is more."""
        spent = self.step / (self.plan.epochs * batches_per_epoch(len(self.rows), self.plan))
        return spent if self.plan.budget is None else min(1.0, max(spent, self.tick() / self.plan.budget))

    def finished(self) -> bool:
        """Whether the budget is spent, or the validation score has not improved for too long."""
        return self.t() >= 1 or (self.plan.patience is not None and self.stale >= self.plan.patience)

    def tick(self) -> float:
        """Seconds of training up to now."""
        self.seconds = time.monotonic() - self._started
        return self.seconds

    def batches(self) -> list[Tensor]:
        """This epoch's batches: every row once, in an order of its own, in pieces of nearly equal length."""
        order = np.random.default_rng([self.plan.seed, self.epoch]).permutation(len(self.rows))
        return list(self.rows[torch.from_numpy(order)].tensor_split(batches_per_epoch(len(self.rows), self.plan)))

    def generator(self, device: torch.device) -> torch.Generator:
        """Randomness of this step's augmentation; dropout's is seeded here too."""
        seed_everywhere(stream(self.plan.seed, 1, self.step), device)
        return torch.Generator(device).manual_seed(stream(self.plan.seed, 2, self.step))

    def advance(self, examples: int) -> None:
        """A step is done: average the weights, count."""
        self.step += 1
        self.position += 1
        self.examples += examples
        if self.average is not None and self.plan.ema is not None:
            average(self.average, self.network, min(self.plan.ema, self.step / (10 + self.step)))  # faster at the start

    def judge(self, score: float, better: str) -> bool:
        """Whether a validation score is the best so far."""
        sign = 1 if better == "higher" else -1
        best = not math.isnan(score) and (self.best is None or sign * score > sign * self.best)
        self.best, self.stale = (score, 0) if best else (self.best, self.stale + 1)
        return best

    def close(self) -> tuple[int, float, float]:
        """Go to the next epoch; this one's examples, seconds, and seconds without evaluation."""
        closed = self.examples, self.tick() - self.epoch_began, self.train_seconds
        self.epoch, self.position, self.examples, self.sums = self.epoch + 1, 0, 0, {}
        self.epoch_began, self.train_seconds = self.seconds, 0.0
        return closed

    def optimizer(self, player: str) -> Optimizer:
        """The optimizer of a player's parameters: a submodule of that name, or all of the network."""
        if player not in self.optimizers:
            module = self.network if player == "network" else self.network.get_submodule(player)
            self.optimizers[player] = optimizers.build(module, self.plan)
        return self.optimizers[player]

    def update(self, player: str, count: Tensor | float, lr: float) -> Tensor:
        """Take one step on the gradient of a sum over ``count`` examples; the norm of its mean, before clipping."""
        optimizer = self.optimizer(player)
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients: list[Tensor] = [p.grad for p in parameters]
        norm = nn.utils.get_total_norm(gradients) / count
        scale = 1 / torch.as_tensor(count, dtype=norm.dtype, device=norm.device)
        if self.plan.clip is not None:
            scale = scale * (self.plan.clip / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, scale)
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("lr_factor", 1.0)
        optimizer.step()
        self.network.zero_grad(set_to_none=True)
        return norm

    def finite(self) -> bool:
        """Whether training can go on from here: one number that is not finite spoils all that come after."""
        averaged = [] if self.average is None else list(self.average.state_dict().values())
        tensors = [*self.network.state_dict().values(), *averaged, *self.sums.values()]
        return all(bool(tensor.isfinite().all()) for tensor in tensors if tensor.is_floating_point())

    @property
    def judged(self) -> nn.Module:
        """The network that is evaluated and kept: the one with averaged weights where the plan averages."""
        return self.network if self.average is None else self.average

    def to_bytes(self, log_size: int) -> bytes:
        """One safetensors file; numbers are JSON in its header."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for player, optimizer in self.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                for slot, value in slots.items():
                    if value is not None:
                        tensors[f"optimizer.{player}.{index}.{slot}"] = torch.as_tensor(value)
        tensors |= {f"sums.{player}": sums for player, sums in self.sums.items()}
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        header = {"numbers": numbers, "players": list(self.optimizers), "log_size": log_size}
        plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        data = save(plain, {"state": json.dumps(header), "seal": _UNSEALED})
        return data.replace(_UNSEALED.encode(), _seal(data).encode(), 1)

    def restore(self, data: bytes) -> int:
        """Become the state that ``to_bytes`` kept; the size the log had. Raises ValueError when the bytes are damaged."""
        header = _header(data)  # raises before anything is changed
        tensors = load(data)
        for name, value in header["numbers"].items():
            setattr(self, name, value)
        self._started = time.monotonic() - self.seconds
        self.sums = _below("sums.", tensors)
        self.network.load_state_dict(_below("network.", tensors))
        if self.average is not None:
            self.average.load_state_dict(_below("average.", tensors))
        for player in header["players"]:
            optimizer = self.optimizer(player)
            slots: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _below(f"optimizer.{player}.", tensors).items():
                index, _, slot = name.partition(".")
                slots.setdefault(int(index), {})[slot] = tensor
            optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        return int(header["log_size"])


def save_checkpoint(run: Run, state: State) -> None:
    """Keep the state in the run, and the one before it; one that is not finite is not worth keeping."""
    if not state.finite():
        return
    run.write(f"checkpoints/{state.step:09d}.safetensors", state.to_bytes(run.log_size()))
    for old in _checkpoints(run)[:-KEPT]:
        old.unlink()


def restore_checkpoint(run: Run, state: State) -> bool:
    """Continue from the newest checkpoint that is whole; False when the run has none. A damaged one is set aside and said.

    Raises RunError when there are checkpoints and none is whole, or when they are of another network or plan.
    """
    files = _checkpoints(run)
    damaged: list[Path] = []
    for file in reversed(files):
        try:
            data = file.read_bytes()
            _header(data)
        except (ValueError, OSError):
            damaged.append(file.rename(file.with_suffix(".damaged")))
            continue
        try:
            size = state.restore(data)
        except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise RunError(
                f"the checkpoint is whole, but of another network or plan ({error}).",
                str(file),
                "Resume with the network and the recipe that the run began with.",
            ) from None
        run.cut_log(size)
        if damaged:
            run.log(_set_aside(damaged, state.step))
        return True
    if files or list((run.path / "checkpoints").glob("*.damaged")):
        raise RunError("its checkpoints are damaged.", str(run.path), "Train again: `lamina train --recipe RUN`.")
    return False


def batches_per_epoch(rows: int, plan: Plan) -> int:
    """How many batches a pass over so many rows has; none is dropped."""
    return max(1, -(-rows // plan.batch_size))


def average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move averaged weights towards the network's by the share 1 - ``decay`` (Polyak & Juditsky 1992); counters are copied."""
    past, present = averaged.state_dict(), network.state_dict()
    floats = [name for name, tensor in present.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([past[name] for name in floats], [present[name] for name in floats], 1 - decay)
    for name in present.keys() - set(floats):
        past[name].copy_(present[name])


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


_UNSEALED = "0" * 64  # stands in the header while the digest is computed
_NUMBERS = ("step", "epoch", "position", "examples", "seconds", "epoch_began", "train_seconds", "best", "stale")


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _checkpoints(run: Run) -> list[Path]:
    return sorted((run.path / "checkpoints").glob("*.safetensors"))


def _header(data: bytes) -> dict[str, Any]:
    """The JSON that ``to_bytes`` put into the file's header (8 bytes of length, then the header itself).

    Raises ValueError when the bytes are not those that were sealed.
    """
    length = int.from_bytes(data[:8], "little")
    try:
        metadata: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
        seal, header = metadata["seal"].encode(), metadata["state"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the header is damaged ({error})") from None
    if _seal(data.replace(seal, _UNSEALED.encode(), 1)).encode() != seal:
        raise ValueError("the content is damaged")
    state: dict[str, Any] = json.loads(header)
    return state


def _seal(data: bytes) -> str:
    """A digest of a checkpoint: a truncated file is no safetensors file, but one with a wrong bit is."""
    return hashlib.blake2b(data, digest_size=len(_UNSEALED) // 2).hexdigest()


def _set_aside(damaged: list[Path], step: int) -> Finding:
    """What is said of checkpoints that could not be used."""
    return Finding(
        "checkpoint.damaged",
        "warning",
        f"{len(damaged)} damaged checkpoint{'s were' if len(damaged) > 1 else ' was'} set aside; "
        f"training goes on from the one at step {step}.",
        "Nothing is lost but time: the steps since are taken again. Check the disk.",
        tuple(file.name for file in damaged),
        len(damaged),
        {"step": step},
    )
